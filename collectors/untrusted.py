"""Reads files of unknown origin in a process of its own, with limits of memory and time: pickles, databases, zips, traces.

Such a file can make its reader take any amount of memory or time, or crash it. Here that costs the reader process, which is replaced.

The limits are on cost, not on rights: the process runs this program's code with this program's rights, and its answers are no less
trusted than the program itself. They are therefore pickles. What a file holds is only ever a value in one; no byte of a file is unpickled
as it is, except by `SafeUnpickler`.
"""

from __future__ import annotations

import os
import pickle
import queue
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from . import rights

ROOT = Path(__file__).parents[1]  # holds the package `collectors`, in a checkout as in site-packages
START = "import sys; from collectors.untrusted import serve; serve(int(sys.argv[1]))"
IDLE_S = 60.0  # without a call; then the process ends
START_S = 30.0  # for starting the process and importing the function: not part of a call's time
GRACE_S = 1.0  # after which a process whose parent is gone ends itself
MAX_ANSWER_BYTES = 32 << 20
CLOSED = "was not read: the program is ending"
LENGTH = struct.Struct("<Q")
T = TypeVar("T")


class OverLimit(Exception):
    """A file cannot be read within the limits, or crashed its reader. The text is the end of a sentence that begins with its name."""


class SafeUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists and tables. Raises UnpicklingError for a pickle that names anything to be imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it has a persistent id")


class ReaderProcess:
    """Runs one call at a time, in the order of the calls. The process starts with the first call and ends when idle.

    May be used from any thread.
    """

    def __init__(self, name: str, *, memory_bytes: int, timeout_s: float) -> None:
        """`memory_bytes` is of address space, in which Python itself and what the function imports take up to 200 MB."""
        self._name, self._memory_bytes, self._timeout_s = name, memory_bytes, timeout_s
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._child: _Child | None = None
        self._is_closed = False

    def read(self, function: Callable[..., T], *arguments: object, timeout_s: float | None = None) -> T:
        """What `function(*arguments)` returns or raises; it is a module's own. Raises OverLimit; OSError where no process can be started."""
        return self.submit(function, *arguments, timeout_s=timeout_s).result()

    def submit(self, function: Callable[..., T], *arguments: object, timeout_s: float | None = None) -> Future[T]:
        """The same without waiting. `timeout_s` counts from when the call begins."""
        limits = Limits(self._memory_bytes, self._timeout_s if timeout_s is None else timeout_s)
        request = limits, rights.looks_at_others(), function, arguments
        call = _Call(Future(), pickle.dumps(request), limits)
        with self._lock:
            if self._is_closed:
                raise RuntimeError(f"the reader process {self._name!r} is closed")
            self._calls.put(call)
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        return call.future

    def close(self) -> None:
        """Ends the process. A call that is running fails with OverLimit; those that wait are cancelled."""
        with self._lock:
            self._is_closed, thread = True, self._thread
            if self._child is not None:
                self._child.process.kill()
        self._calls.put(None)
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                call.future.set_result(self._answer(call))
            except BaseException as error:
                if isinstance(error, OverLimit):
                    self._end_child()
                call.future.set_exception(error)
        self._end_child()

    def _next(self) -> _Call | None:
        """None where the thread is to end."""
        try:
            call = self._calls.get(timeout=IDLE_S)
        except queue.Empty:
            self._end_child()
            with self._lock:
                if self._calls.empty():
                    self._thread = None
                    return None
            call = self._calls.get()
        while call is not None and self._is_closed:
            call.future.cancel()
            call = self._calls.get()
        return call

    def _answer(self, call: _Call) -> Any:
        if self._child is not None and self._child.process.poll() is not None:  # somebody else ended it
            self._end_child()
        with self._lock:
            if self._is_closed:
                raise OverLimit(CLOSED)
            self._child = child = self._child or _Child()
        is_done, value = pickle.loads(child.answer(call))
        if is_done:
            return value
        raise value

    def _end_child(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.end()


class Limits(NamedTuple):
    """Of one call."""

    memory_bytes: int
    timeout_s: float


class _Call(NamedTuple):
    future: Future[Any]
    request: bytes
    limits: Limits


class _Child:
    """The process, as its parent sees it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="deepseek-", ignore_cleanup_errors=True)
        if rights.is_root():  # whoever it reads as may make files there
            Path(self._folder.name).chmod(0o1777)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": self._folder.name, "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def answer(self, call: _Call) -> bytes:
        try:
            self._socket.settimeout(START_S)
            _send(self._socket, call.request)
            _receive(self._socket, time.monotonic() + START_S)  # it has imported the function
            return _receive(self._socket, time.monotonic() + call.limits.timeout_s)
        except TimeoutError:
            raise OverLimit(f"was not read within {call.limits.timeout_s:.3g} s") from None
        except (EOFError, ConnectionError):
            raise OverLimit(f"ended the process that read it{self._signal()}") from None

    def end(self) -> None:
        self._socket.close()
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):  # a file system that hangs
            self.process.wait(1.0)
        self._folder.cleanup()

    def _signal(self) -> str:
        """` (SIGSEGV)`"""
        with suppress(subprocess.TimeoutExpired, ValueError):
            return f" ({signal.Signals(-self.process.wait(1.0)).name})"
        return ""


def _send(stream: socket.socket, data: bytes) -> None:
    stream.sendall(LENGTH.pack(len(data)) + data)


def _receive(stream: socket.socket, until_s: float | None = None) -> bytes:
    """`until_s` is CLOCK_MONOTONIC. Raises TimeoutError, EOFError."""
    (length,) = LENGTH.unpack(_exactly(stream, LENGTH.size, until_s))
    return _exactly(stream, length, until_s)


def _exactly(stream: socket.socket, length: int, until_s: float | None) -> bytes:
    data = bytearray()
    while len(data) < length:
        left_s = None if until_s is None else until_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise TimeoutError
        stream.settimeout(left_s)
        part = stream.recv(min(length - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


# The process itself.


def serve(descriptor: int) -> None:
    """Answers calls until the parent closes its end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=descriptor) as parent, suppress(EOFError, ConnectionError):
        while True:
            data, answer = _receive(parent), b""
            try:
                limits, others, function, arguments = pickle.loads(data)
            except Exception as error:  # of an import
                answer = _dumped(error)
            _send(parent, b"")
            if not answer:
                rights.look_at_others(others)
                answer = _called(function, arguments, limits)
            _send(parent, answer)


def _called(function: Callable[..., Any], arguments: tuple[Any, ...], limits: Limits) -> bytes:
    """`(True, what it returned)` or `(False, what it raised)`, as a pickle."""
    signal.setitimer(signal.ITIMER_REAL, limits.timeout_s + GRACE_S)  # ends the process where the parent cannot
    before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = limits.memory_bytes if soft == resource.RLIM_INFINITY else min(soft, limits.memory_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        answer = pickle.dumps((True, function(*arguments)))
        error: Exception | None = None
    except MemoryError:
        error = OverLimit(f"takes more than {limits.memory_bytes >> 20:,} MiB of memory to read")
    except Exception as raised:
        raised.add_note(f"In the reader process:\n{traceback.format_exc()}")
        error = raised
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if error is not None:
        answer = _dumped(error)
    return answer if len(answer) <= MAX_ANSWER_BYTES else _dumped(OverLimit("holds more than is read of a file"))


def _dumped(error: Exception) -> bytes:
    try:
        return pickle.dumps((False, error))
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
