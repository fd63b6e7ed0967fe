"""Runs attempts on this host, each below a keeper of its own that outlives the daemon.

It keeps nothing in memory that it could not find again: `look` answers from what the kernel and files say, so that a daemon that was killed
goes on where it was. (Slurm plans by itself: `slurm_driver.py`.)
"""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import deepseek.log
from collectors.machine.exit_reason import reason_of
from collectors.machine.proc import adopt_orphans, alive, boot_id, printable

from . import lease
from .attempt import SPEC_FILE, LaunchSpec
from .processes import ProcessTable, group_of, make_once, send
from .queue import OpenAttempt
from .state_folder import ATTEMPTS, QueueError, bytes_of


class ProcessName(NamedTuple):
    """Unique over reboots."""

    boot_id: str
    pid: int
    ticks: int  # of the boot's clock, at its start


class AttemptEnd(NamedTuple):
    code: int | None  # negative for a signal; None: not known
    ended_s: float | None = None
    said: str = ""  # a sentence, "" where the code says it all
    begun: bool = True  # whether the command was executed at all


class AttemptStatus(NamedTuple):
    """What has become of an attempt."""

    state: Literal["starting", "running", "ended"]
    process: ProcessName | None = None  # once it is known
    end: AttemptEnd | None = None  # where it has ended


class NotNow(QueueError):
    """An attempt could not be started, and it is not the job's fault: it is tried again."""


# An attempt has a folder, `attempts/7.1` of job 7's first:
#
#     attempt.json   what is to be executed, before there is a process
#     token          {"boot_id", "pid", "ticks"} of the keeper. It is made in one step and only once: of two processes that would start this
#                    attempt one can, and where the daemon has made it (`void`), none will
#     started.json   {"boot_id", "pid", "ticks"} of the program, before its first instruction
#     exit.json      how it ended
#
# What has become of an attempt follows from these files and from the kernel (`look`), so a daemon that starts anew adopts what runs by the same
# code. If the keeper was killed, the program runs on and is found by its pid and start ticks; it writes `output.log` itself. Its exit code is
# known then if it became the child of this daemon (a subreaper), else not. Where the attempt's own files are lost, or could not be written, the
# run's started.json and exit.json say the same.

MAIN = Path(__file__).parent / "__main__.py"
DEEPSEEK_LOG = Path(deepseek.log.__file__).parents[2]  # the folder of `deepseek.log`
OWN_FILES = (SPEC_FILE, "token", "started.json", "exit.json", "keeper.log")
KEPT_S = 60.0  # files of an attempt that has ended: its keeper may be at its last words
LEFT_S = 5.0  # that what a program leaves behind has after SIGTERM
VOID = "void"
NEVER = (
    errno.ENAMETOOLONG,
    errno.E2BIG,
)  # no waiting helps; a folder that is not there may be on a disk that is about to come
MAX_STATUSES = 1000  # of children that ended and belonged to no attempt that is asked about
MAX_INTEGER = 2**63 - 1  # an INTEGER of SQLite
MAX_BYTES = 8 << 20  # of a file about an attempt: that which says how it began has all of its command
MAX_CODE = 1 << 16  # of an exit code, or a signal
LAST_WORDS = 300  # characters


class LocalExecutor:
    """For a process of one thread. `start` raises QueueError, with a sentence, where an attempt cannot be started; `look` never does."""

    def __init__(self, folder: Path, leases: Path | None = None) -> None:
        """`folder` is that of the queue; `leases` that of GPUs that other users respect."""
        self._folder, self._leases = folder / ATTEMPTS, leases
        self._keepers: dict[int, tuple[int, int]] = {}  # by pid, children of this daemon
        self._statuses = OrderedDict[int, int]()  # of programs that became children, as of waitpid
        self._known: dict[
            Path, dict[int, int]
        ] = {}  # processes of each attempt when it was last looked at, with their start ticks
        self._lost: set[Path] = set()  # attempts whose keeper was killed
        self._gone_s: dict[
            Path, float
        ] = {}  # when its program was first missed, of an attempt whose end is not written down
        self._left_s: dict[Path, float] = {}  # when what an attempt left behind was asked to end
        adopt_orphans()

    def folder_of(self, job: int, number: int) -> Path:
        return self._folder / f"{job}.{number}"

    def start(self, wanted: LaunchSpec) -> None:
        """The attempt is in the queue's file already. Returns at once. Raises NotNow where another try may help."""
        folder = self.folder_of(wanted.job, wanted.number)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            wanted._replace(leases=str(self._leases or "")).write(folder)
            with (folder / "keeper.log").open("ab") as log:
                keeper = subprocess.Popen(
                    [sys.executable, str(MAIN), "attempt", str(folder), str(DEEPSEEK_LOG)], cwd=wanted.cwd, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=log, start_new_session=True, env=_environment_of_keeper(),
                )  # fmt: skip
        except OSError as error:
            if error.errno in NEVER:
                raise QueueError(f"cannot start it: {error.strerror}: {error.filename}") from None
            raise NotNow(f"it cannot be started ({error.strerror}: {error.filename or folder})") from None
        keeper.returncode = 0  # it is reaped below, and no fault of this object's
        self._keepers[keeper.pid] = (wanted.job, wanted.number)

    def reap(self) -> None:
        """Take the statuses of children: keepers, and programs that lost theirs."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if not self._keepers.pop(found[0], None):
                    self._statuses[found[0]] = found[1]
        while len(self._statuses) > MAX_STATUSES:
            self._statuses.popitem(last=False)

    def forget(self, pid: int) -> None:
        """A child of the daemon that was no attempt's has ended."""
        self._statuses.pop(pid, None)

    def clean(self, is_open: Container[tuple[int, int]], now_s: float) -> None:
        """Remove what is left of attempts that have ended; the output of a job without a run stays."""
        for folder in [*self._folder.iterdir()] if self._folder.is_dir() else []:
            job, _, number = folder.name.partition(".")
            try:
                if (int(job), int(number)) in is_open or now_s - folder.stat().st_mtime < KEPT_S:
                    continue
            except ValueError:
                continue  # no attempt's
            for name in OWN_FILES:
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # its output
                folder.rmdir()

    def look(self, attempt: OpenAttempt) -> AttemptStatus:
        self.reap()
        folder = self.folder_of(attempt.job, attempt.number)
        seen = self._seen(folder, attempt)
        if seen.state == "ended" and not self._is_alone(folder, seen.process):
            return AttemptStatus("running", seen.process)  # what it has left behind still holds its slots
        if seen.state == "ended":
            self._known.pop(folder, None)
            self._gone_s.pop(folder, None)
            self._lost.discard(folder)
            if seen.process:
                self.forget(seen.process.pid)
        if seen.process and self._leases and seen.state == "running":
            lease.renew(self._leases, attempt.slots, folder, seen.process.pid, seen.process.ticks)
        return seen

    def processes(self, attempts: Sequence[OpenAttempt]) -> dict[tuple[int, int], list[int]]:
        """The pids of each, by job and number, in one look."""
        table, found = ProcessTable(), dict[tuple[int, int], list[int]]()
        for attempt in attempts:
            folder = self.folder_of(attempt.job, attempt.number)
            found[attempt.job, attempt.number] = sorted(self._processes(folder, _program(folder, attempt), table))
        return found

    def ask_to_end(self, attempt: OpenAttempt) -> bool:
        """SIGTERM; False where there is nothing to ask: its program has ended."""
        program = _program(self.folder_of(attempt.job, attempt.number), attempt)
        return bool(program and _lives(program) and group_of(program.pid, signal.SIGTERM))

    def withdraw(self, attempt: OpenAttempt) -> None:
        """Its program is not there yet: it is not to come."""
        folder = self.folder_of(attempt.job, attempt.number)
        if _program(folder, attempt) is None:  # a program without a keeper does not begin
            self._kill_keeper(folder, attempt)

    def kill(self, attempt: OpenAttempt) -> None:
        """It was asked, and its time is over."""
        folder = self.folder_of(attempt.job, attempt.number)
        program = _program(folder, attempt)
        if program is None or not _lives(program):
            gone_s = time.monotonic() - self._gone_s.setdefault(folder, time.monotonic())
            if gone_s >= LEFT_S:  # that its keeper had to say how it ended
                self._kill_keeper(folder, attempt)
        send(self._processes(folder, program, ProcessTable()), signal.SIGKILL)

    def _kill_keeper(self, folder: Path, attempt: OpenAttempt) -> None:
        token = _named(_read(folder / "token"))
        named = [token.pid] if token and _lives(token) else []
        send(
            {*named, *(pid for pid, whose in self._keepers.items() if whose == (attempt.job, attempt.number))},
            signal.SIGKILL,
        )

    def _processes(self, folder: Path, program: ProcessName | None, table: ProcessTable) -> dict[int, int]:
        """With their start ticks. An orphan whose keeper was killed came to this daemon: it is known from before, or there is one attempt it can be of."""
        keeper = _named(_read(folder / "token"))
        known = self._known.get(folder, {})
        if program and program.boot_id == boot_id() and self._lost == {folder}:
            orphans = [pid for pid in table.children(os.getpid()) if table.processes[pid].ticks >= program.ticks]
            known = known | {pid: table.processes[pid].ticks for pid in orphans if pid not in self._keepers}
        self._known[folder] = table.of_attempt(str(folder), _here(program), _here(keeper), known)
        return self._known[folder]

    def _seen(self, folder: Path, attempt: OpenAttempt) -> AttemptStatus:
        token, program = _named(_read(folder / "token")), _program(folder, attempt)
        lives = token is not None and _lives(token)  # before the files are read that it writes last
        if token is not None and not lives:
            self._lost.add(folder)
        if end := _end(_read(folder / "exit.json")):
            return AttemptStatus("ended", program, end)
        if program := program or _program(folder, attempt):
            return self._of_program(program, attempt, lives)
        if lives or (attempt.job, attempt.number) in self._keepers.values():
            return AttemptStatus("starting")
        if token is None and _void(folder / "token"):
            why = _last_words(folder) or "the daemon ended before"
            return AttemptStatus("ended", None, AttemptEnd(None, None, f"it was not started: {why}", begun=False))
        if token is None and (token := _named(_read(folder / "token"))) and _lives(token):
            return AttemptStatus("starting")
        if (folder / "started.json").exists() or (folder / "exit.json").exists():
            return AttemptStatus("starting")  # written meanwhile: the next look knows it
        why = _last_words(folder) or "its keeper was killed before"
        return AttemptStatus("ended", None, AttemptEnd(None, None, f"it was not started: {why}", begun=False))

    def _of_program(self, program: ProcessName, attempt: OpenAttempt, keeper_lives: bool) -> AttemptStatus:
        if _lives(program):
            return AttemptStatus("running", program)
        ended = _read(Path(attempt.log_dir) / attempt.run / "exit.json") if attempt.run else {}
        if _named(ended) == program and (end := _end(ended)):
            return AttemptStatus("ended", program, end)
        if program.boot_id != boot_id():
            return AttemptStatus("ended", program, AttemptEnd(None, None, "the host was started anew"))
        if keeper_lives:  # it is about to write how it ended
            return AttemptStatus("running", program)
        if (status := self._statuses.get(program.pid)) is not None:
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            return AttemptStatus("ended", program, AttemptEnd(code, time.time(), "its keeper was killed"))
        folder = self.folder_of(attempt.job, attempt.number)
        gone_s = time.monotonic() - self._gone_s.setdefault(folder, time.monotonic())
        if (
            gone_s < LEFT_S and not (folder / "token").exists()
        ):  # who its keeper is was removed: it may live, and be about to write
            return AttemptStatus("running", program)
        return AttemptStatus(
            "ended", program, AttemptEnd(None, None, "its keeper was killed, so how it ended is not known")
        )

    def _is_alone(self, folder: Path, program: ProcessName | None) -> bool:
        """Whether nothing is left of an attempt whose program has ended; what is left is asked to end, and killed."""
        left, since_s = self._processes(folder, program, ProcessTable()), self._left_s.get(folder)
        if not left:
            self._left_s.pop(folder, None)
            return True
        if since_s is None:
            self._left_s[folder] = time.monotonic()
            send(left, signal.SIGTERM)
        elif time.monotonic() - since_s >= LEFT_S:
            send(left, signal.SIGKILL)
        return False


def _environment_of_keeper() -> dict[str, str]:
    """A relative PYTHONPATH, in the folder in which the program runs, has that one's modules in the place of Python's."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _void(token: Path) -> bool:
    """Whether no keeper can start this attempt any more, because the token is ours now, or was before."""
    token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return make_once(token, {VOID: True}) or bool(_read(token).get(VOID))


def _program(folder: Path, attempt: OpenAttempt) -> ProcessName | None:
    """As its keeper wrote it down, as the queue has it, or as its run has it: one of them may have been removed, or not have been written."""
    if found := _named(_read(folder / "started.json")):
        return found
    if attempt.pid is not None and attempt.start_ticks is not None and attempt.boot_id is not None:
        return ProcessName(attempt.boot_id, attempt.pid, attempt.start_ticks)
    started = _read(Path(attempt.log_dir) / attempt.run / "started.json") if attempt.run else {}
    return _named(started) if started.get("attempt") == folder.name else None


def _named(found: Mapping[str, Any]) -> ProcessName | None:
    try:
        name = ProcessName(str(found["boot_id"]), int(found["pid"]), int(found["ticks"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return name if 0 < name.pid <= MAX_INTEGER and 0 <= name.ticks <= MAX_INTEGER else None


def _here(name: ProcessName | None) -> tuple[int, int] | None:
    """Since this boot."""
    return (name.pid, name.ticks) if name and name.boot_id == boot_id() else None


def _lives(name: ProcessName) -> bool:
    return name.boot_id == boot_id() and alive(name.pid, name.ticks)


def _end(found: Mapping[str, Any]) -> AttemptEnd | None:
    """Of an exit.json; None where it does not say how the attempt ended. The program may have written anything into it."""
    if "refused" in found:
        return AttemptEnd(None, None, printable(str(found["refused"])), begun=False)
    try:
        ended_s, number, code = float(found["ended_s"]), found.get("signal"), found.get("code")
        known = -int(number) if number else None if code is None else int(code)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(ended_s) or (known is not None and abs(known) > MAX_CODE):
        return None
    lines = found.get("last_lines", [])
    lines = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    said = printable(reason_of(lines)) if known is not None and known > 0 else ""  # a signal comes from without
    return AttemptEnd(known, ended_s, said)


def _last_words(folder: Path) -> str:
    """What a keeper said that ended before its program began."""
    with suppress(OSError):
        said = (folder / "keeper.log").read_text(errors="replace")[-LAST_WORDS:].strip().rpartition("\n")[2]
        return f"its keeper ended: {said}" if said else ""
    return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(bytes_of(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
