"""Close a process's open logs before it ends: at its normal end, by an exception, by SIGTERM."""

from __future__ import annotations

import atexit
import functools
import opcode
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Protocol

from .files import warn


class Log(Protocol):
    def close(self, status: str = ..., reason: str = ...) -> None: ...

    def close_after(self, error: BaseException | None) -> None: ...

    def disown(self) -> None: ...


SAVED = 75  # EX_TEMPFAIL: exit code of a job that was asked to make room and has saved; it is to be started again
NOTHING_SAVED = 66  # EX_NOINPUT: that of a job that was to resume and has no checkpoint; it is to begin anew
NOT_CLOSED = "ended", "the log was not closed, and the exit code is not known"
_open_logs: set[Log] = set()
_forking = threading.local()


def watch(log: Log) -> None:
    """Close it when the process ends; SIGTERM is handled only where nothing else handles it, and still kills."""
    _open_logs.add(log)
    _install_hooks()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _close_and_die)


def forget(log: Log) -> None:
    _open_logs.discard(log)


def of(error: BaseException | None) -> tuple[str, str]:
    """Status and reason of a run that ends with this exception."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished", ""
    if isinstance(error, KeyboardInterrupt):
        return "finished", "stopped by SIGINT"
    if isinstance(error, SystemExit):
        return ("killed", "stopped by exit code 75") if error.code == SAVED else ("crashed", f"exit {error.code}")
    return "crashed", f"{type(error).__qualname__}: {error}"


@functools.cache
def _install_hooks() -> None:
    previous = sys.excepthook

    def close_after(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _each(lambda log: log.close_after(error))
        previous(kind, error, trace)

    sys.excepthook = close_after
    atexit.register(_close_at_exit, _frame_of_script())
    os.register_at_fork(before=_hold_sigterm, after_in_parent=_release_sigterm, after_in_child=_disown_all)


def _close_at_exit(script: FrameType | None) -> None:
    """Nothing tells a hook the exit code, nor shows it the `SystemExit`. But a script that ran to its end stands at a return."""
    status, reason = of(None) if script is not None and _has_returned(script) else NOT_CLOSED
    _each(lambda log: log.close(status, reason))


def _frame_of_script() -> FrameType | None:
    """The frame of what Python was started with, a file, `-m` or `-c`; None in a thread of it."""
    frame: FrameType | None = sys._getframe()
    found = None
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            found = frame
        frame = frame.f_back
    return found


def _has_returned(frame: FrameType) -> bool:
    code = frame.f_code.co_code
    return 0 <= frame.f_lasti < len(code) and opcode.opname[code[frame.f_lasti]].startswith("RETURN")


def _each(close: Callable[[Log], None]) -> None:
    """A log that cannot be closed must not end a script otherwise than without it: a handler of SIGTERM runs anywhere in it."""
    for log in list(_open_logs):
        try:
            close(log)
        except Exception as error:
            warn(f"cannot close a log; its end is missing ({type(error).__name__}: {error})")


def _close_and_die(signum: int, frame: FrameType | None) -> None:
    _each(lambda log: log.close(reason=f"stopped by {signal.Signals(signum).name}"))
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


def _hold_sigterm() -> None:
    """Python drops a signal that reaches a child's handler at the moment of the fork: held back, it still ends the child."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _disown_all() -> None:
    for log in list(_open_logs):
        log.disown()
    _open_logs.clear()
    if signal.getsignal(signal.SIGTERM) is _close_and_die:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release_sigterm()
