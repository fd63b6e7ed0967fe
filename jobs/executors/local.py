"""Run attempts on this host, each below a keeper of its own that outlives the daemon.

An attempt has a folder, `attempts/7.1` of job 7's first:

    attempt.json   what is to be executed, before there is a process
    token          {"boot_id", "pid", "ticks"} of the keeper. It is made in one step and only once: of two processes that would start this
                   attempt one can, and where the daemon has made it (`void`), none will
    started.json   {"boot_id", "pid", "ticks"} of the program, before its first instruction
    exit.json      how it ended

What has become of an attempt follows from these files and from the kernel (`look`), so a daemon that starts anew adopts what runs by the same
code. If the keeper was killed, the program runs on and is found by its pid and start ticks; it writes `output.log` itself. Its exit code is
known then if it became the child of this daemon (a subreaper), else not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from collectors.process.proc import adopt_orphans, alive, boot_id

from ..errors import QueueError
from ..host import lease
from ..queue import OpenAttempt
from ..state_folder import ATTEMPTS
from .executor import AttemptEnd, AttemptSeen, ProcessName, WantedAttempt
from .processes import group_of, kill_all, marked

MAIN = Path(__file__).parents[1] / "__main__.py"
OWN_FILES = ("attempt.json", "token", "started.json", "exit.json", "keeper.log")
KEPT_S = 60.0  # files of an attempt that has ended: its keeper may be at its last words
LEFT_S = 5.0  # that what a program leaves behind has after SIGTERM
VOID = "void"


class LocalExecutor:
    """For a process of one thread."""

    def __init__(self, folder: Path, leases: Path | None = None) -> None:
        """`folder` is that of the queue; `leases` that of GPUs that other users respect."""
        self._folder, self._leases = folder / ATTEMPTS, leases
        self._keepers: dict[int, tuple[int, int]] = {}  # by pid, children of this daemon
        self._statuses: dict[int, int] = {}  # of programs that became children, as of waitpid
        self._left_s: dict[Path, float] = {}  # when what an attempt left behind was asked to end
        adopt_orphans()

    def folder_of(self, job: int, number: int) -> Path:
        return self._folder / f"{job}.{number}"

    def start(self, wanted: WantedAttempt) -> None:
        folder = self.folder_of(wanted.job, wanted.number)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            written = wanted._asdict() | {
                "environment": dict(wanted.environment), "run": str(wanted.run or ""), "log_dir": str(wanted.log_dir or ""),
                "leases": str(self._leases or ""),
            }  # fmt: skip
            (folder / "attempt.json").write_text(json.dumps(written))
            with (folder / "keeper.log").open("ab") as log:
                keeper = subprocess.Popen(
                    [sys.executable, str(MAIN), "attempt", str(folder)], cwd=wanted.cwd, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise QueueError(f"cannot start it: {error.strerror}: {error.filename}") from None
        keeper.returncode = 0  # it is reaped below, and no fault of this object's
        self._keepers[keeper.pid] = (wanted.job, wanted.number)

    def reap(self) -> None:
        """Take the statuses of children: keepers, and programs that lost theirs."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if not self._keepers.pop(found[0], None):
                    self._statuses[found[0]] = found[1]

    def forget(self, pid: int) -> None:
        """A child of the daemon that was no attempt's has ended."""
        self._statuses.pop(pid, None)

    def clean(self, is_open: Container[tuple[int, int]], now_s: float) -> None:
        """Remove what is left of attempts that have ended; the output of a job without a run stays."""
        for folder in self._folder.iterdir():
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

    def look(self, attempt: OpenAttempt) -> AttemptSeen:
        self.reap()
        folder = self.folder_of(attempt.job, attempt.number)
        seen = self._seen(folder, attempt)
        if seen.state == "ended" and not self._is_alone(folder):
            return AttemptSeen("running", seen.process)  # what it has left behind still holds its slots
        if seen.process and self._leases and seen.state == "running":
            lease.renew(self._leases, attempt.slots, folder, seen.process.pid, seen.process.ticks)
        return seen

    def ask_to_end(self, attempt: OpenAttempt) -> bool:
        program = _named(self.folder_of(attempt.job, attempt.number) / "started.json")
        return bool(program and _lives(program) and group_of(program.pid, signal.SIGTERM))

    def kill(self, attempt: OpenAttempt) -> None:
        kill_all(str(self.folder_of(attempt.job, attempt.number)), signal.SIGKILL)

    def _seen(self, folder: Path, attempt: OpenAttempt) -> AttemptSeen:
        token, program = _named(folder / "token"), _named(folder / "started.json")
        lives = token is not None and _lives(token)  # before the files are read that it writes last
        if end := _end(folder / "exit.json"):
            return AttemptSeen("ended", program, end)
        if program := program or _named(folder / "started.json"):
            return self._of_program(program, lives)
        if lives or (attempt.job, attempt.number) in self._keepers.values():
            return AttemptSeen("starting")
        if token is None and _void(folder / "token"):
            return AttemptSeen("ended", None, AttemptEnd(None, None, "it was not started: the daemon ended before", begun=False))
        if token is None and (token := _named(folder / "token")) and _lives(token):
            return AttemptSeen("starting")
        if (folder / "started.json").exists() or (folder / "exit.json").exists():
            return AttemptSeen("starting")  # written meanwhile: the next look knows it
        return AttemptSeen("ended", None, AttemptEnd(None, None, "it was not started: its keeper was killed before", begun=False))

    def _of_program(self, program: ProcessName, keeper_lives: bool) -> AttemptSeen:
        if program.boot_id != boot_id():
            return AttemptSeen("ended", program, AttemptEnd(None, None, "the host was started anew"))
        if _lives(program) or keeper_lives:  # which is about to write how it ended
            return AttemptSeen("running", program)
        if (status := self._statuses.pop(program.pid, None)) is not None:
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            return AttemptSeen("ended", program, AttemptEnd(code, time.time(), "its keeper was killed"))
        return AttemptSeen("ended", program, AttemptEnd(None, None, "its keeper was killed, so how it ended is not known"))

    def _is_alone(self, folder: Path) -> bool:
        """Whether nothing is left of an attempt whose program has ended; what is left is asked to end, and killed."""
        since_s = self._left_s.get(folder)
        number = signal.SIGTERM if since_s is None else signal.SIGKILL
        waits = since_s is not None and time.monotonic() - since_s < LEFT_S
        left = marked(str(folder)) if waits else kill_all(str(folder), number)
        if left:
            self._left_s.setdefault(folder, time.monotonic())
            return False
        self._left_s.pop(folder, None)
        return True


def make_once(path: Path, value: Mapping[str, object]) -> bool:
    """A file with its content, in one step; False where it is there already."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value))
    try:
        os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def _void(token: Path) -> bool:
    """Whether no keeper can start this attempt any more, because the token is ours now, or was before."""
    token.parent.mkdir(mode=0o700, exist_ok=True)
    return make_once(token, {VOID: True}) or bool(_read(token).get(VOID))


def _named(path: Path) -> ProcessName | None:
    found = _read(path)
    try:
        return ProcessName(str(found["boot_id"]), int(found["pid"]), int(found["ticks"]))
    except (KeyError, TypeError, ValueError):
        return None


def _lives(name: ProcessName) -> bool:
    return name.boot_id == boot_id() and alive(name.pid, name.ticks)


def _end(path: Path) -> AttemptEnd | None:
    found = _read(path)
    if "refused" in found:
        return AttemptEnd(None, None, str(found["refused"]), begun=False)
    if "ended_s" not in found:
        return None
    number, code = found.get("signal"), found.get("code")
    known = -int(number) if number else None if code is None else int(code)
    said = str(found.get("last_line") or "") if known is not None and known > 0 else ""  # a signal comes from without
    return AttemptEnd(known, float(found["ended_s"]), said)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
