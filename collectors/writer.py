"""The single writer: locks the store's folder and stores what collectors return, in one thread."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import VERSION, folders
from .control import ControlError, ask
from .machine.proc import alive, boot_id, command_of, is_stopped, pid_namespace, start_ticks, user_of
from .options import CollectorOptions

FILE = "writer.lock"
READ_BYTES = 1 << 16
MODULE = "collector"  # `python -m collector`
WRITTEN_WITHIN_S = 1.0  # from taking the lock to recording its owner
POLL_S = 0.02


@dataclass(frozen=True)
class Writer:
    """The process that holds the lock, as recorded in it."""

    pid: int
    pid_start_ticks: int
    pid_namespace: int  # inode; a pid is valid only inside it
    boot_id: str
    host: str
    parent_pid: int
    parent_start_ticks: int  # with the pid, the parent's identity on this boot
    version: str
    options: dict[str, Any]

    @property
    def is_here(self) -> bool:
        """Whether its pid is that of the same living process for us: only then may it be ended."""
        same = self.boot_id == boot_id() and self.pid_namespace == pid_namespace()
        return same and alive(self.pid, self.pid_start_ticks)

    @property
    def is_orphan(self) -> bool:
        return start_ticks(self.parent_pid) != self.parent_start_ticks


@dataclass(frozen=True)
class UnreadableWriter:
    """A writer whose record cannot be read."""

    sentence: str


class Locked(Exception):
    """Another writer is alive, or the lock cannot be taken; the text is one sentence."""


def take(data_dir: Path, version: str, options: dict[str, Any]) -> int:
    """Become the writer; the descriptor holds the lock until the process ends. Raises Locked."""
    path = data_dir / FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Locked(
            f"cannot write to {path} ({error.strerror}{_owner(path)}); choose another folder with --data-dir"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Locked(f"another collector writes to {data_dir}") from None
    parent = os.getppid()
    writer = Writer(
        pid=os.getpid(),
        pid_start_ticks=start_ticks(os.getpid()) or 0,
        pid_namespace=pid_namespace() or 0,
        boot_id=boot_id(),
        host=socket.gethostname(),
        parent_pid=parent,
        parent_start_ticks=start_ticks(parent) or 0,
        version=version,
        options=options,
    )
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(writer)).encode(), 0)
    return descriptor


def is_held(descriptor: int, data_dir: Path) -> bool:
    """Whether the lock that we hold is still the file of that name; if not, the data folder was removed or replaced."""
    try:
        there = (data_dir / FILE).lstat()
    except OSError:
        return False
    held = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def writer_of(data_dir: Path) -> Writer | UnreadableWriter | None:
    """The live writer of a store; None where there is none. Waits for a lock that was taken this very moment."""
    path = data_dir / FILE
    deadline_s = time.monotonic() + WRITTEN_WITHIN_S
    while True:
        try:
            text = _text_of_held(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            return UnreadableWriter(f"{path} cannot be read ({error.strerror}{_owner(path)})")
        if text is None:
            return None
        try:
            return _writer(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            if time.monotonic() > deadline_s:
                return UnreadableWriter(_unknown(path, text))
        time.sleep(POLL_S)


def last_options(data_dir: Path) -> dict[str, Any]:
    """Those of the last writer, which may live; {} where none is on record."""
    try:
        with (data_dir / FILE).open("rb") as file:
            options = json.loads(file.read(READ_BYTES))["options"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return options if isinstance(options, dict) else {}


def taken_s(data_dir: Path) -> float:
    """When the last writer took the lock, Unix seconds; 0 where none ever did."""
    try:
        return (data_dir / FILE).stat().st_mtime
    except OSError:
        return 0.0


def end(writer: Writer, timeout_s: float) -> bool:
    """End a writer on this host, and wait until it is gone; return whether it is.

    Raises PermissionError if it is another user's, or by its command line no collector: then the record is wrong, whoever wrote it.
    """
    try:
        descriptor = os.pidfd_open(writer.pid)
    except ProcessLookupError:
        return True
    try:
        if not writer.is_here:  # checked after the descriptor was opened: it refers to this process and no later one
            return not alive(writer.pid, writer.pid_start_ticks)
        if not _is_collector(writer.pid):
            raise PermissionError(f"process {writer.pid} is no collector")
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            deadline_s = time.monotonic() + timeout_s
            while time.monotonic() < deadline_s:
                if not alive(writer.pid, writer.pid_start_ticks):
                    return True
                time.sleep(POLL_S)
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_collector(pid: int) -> bool:
    words = command_of(pid)
    return MODULE in words or any(word.endswith(f"/{MODULE}.py") for word in words)


def _text_of_held(path: Path) -> bytes | None:
    """The contents of a lock that is held; None where it is free."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, READ_BYTES, 0)
    finally:
        os.close(descriptor)
    return None


def _writer(fields: dict[str, Any]) -> Writer:
    """Raises TypeError where a field is missing, unknown, or of another type than in this version."""
    writer = Writer(**fields)
    kinds = {"version": str, "boot_id": str, "host": str, "options": dict}
    for name, value in asdict(writer).items():
        if type(value) is not kinds.get(name, int):
            raise TypeError(f"{name} is {value!r}")
    return writer


def _unknown(path: Path, text: bytes) -> str:
    try:
        fields = json.loads(text)
        version = fields.get("version") if isinstance(fields, dict) else None
    except (ValueError, RecursionError):
        version = None
    whose = (
        f"version {version[:40]} of the dashboard"
        if isinstance(version, str)
        else "a writer that this version does not know"
    )
    return f"{path} is held by {whose}"


def _owner(path: Path) -> str:
    """`; it belongs to anna`, where it is not ours."""
    try:
        uid = path.lstat().st_uid
    except OSError:
        return ""
    return "" if uid == os.geteuid() else f"; it belongs to {user_of(uid)}"


# Keep one collector process alive for a log folder: start it, share a live one, replace one that is stopped or silent, restart a dead one.

ROOT = Path(__file__).parents[1]  # holds the package `collectors`, in a checkout as in site-packages
EXIT_AGAIN = 75  # EX_TEMPFAIL: it asks to be started again at once
EXIT_FOLDER_GONE = 76  # its data folder, or a file in it, was removed
BACK_OFF_S = (0.5, 30.0)
HEALTHY_S = 60.0  # after running this long, a death counts as the first
BRIEF_S = 5.0  # one that requests a restart sooner waits as after a death
LOOK_S = 0.5  # how often the child is checked
ASK_EVERY_S = 5.0
STOPPED_S = 4.0  # a collector that is stopped for this long is replaced
SILENT_S = 30.0  # ... and one that has answered, and does no longer
STARTING_S = 600.0  # ... or that never has: it may have a large store to migrate
NOTE_S = 60.0  # how long the page reports that the data folder was removed
KEEPER_POLL_S = 0.1
STOP_S = 2.0


class Keeper(threading.Thread):
    """Owns the collector process; `read_only` says why there is none to own, when another user's writes this store."""

    def __init__(self, options: CollectorOptions) -> None:
        super().__init__(name="keeper", daemon=True)
        self._tree, self._data_dir = options.tree, options.data_dir
        self._options = options.as_json()
        self._command = [sys.executable, "-m", "collector", *options.flags(), "--parent", str(os.getpid())]
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._started_s = self._answered_s = self._asked_s = time.monotonic()
        self._has_answered = False
        self._stopped_since_s: float | None = None
        self._note: tuple[str, float] = ("", 0.0)  # a sentence, and until when it is shown, CLOCK_MONOTONIC
        self._back_off_s = BACK_OFF_S[0]
        self.deaths = 0
        self.read_only: str | None = None
        self._take_over()

    def run(self) -> None:
        while not self._ending.wait(LOOK_S):
            if self._child is None:
                self._take_over()
            elif (code := self._child.poll()) is not None:
                self._restart(code)
            elif reason := self._why_replace(self._child):
                self._say(
                    f"The collector (process {self._child.pid}) {reason}; it was replaced: curves and log lines are complete, stacks have a gap of some seconds."
                )
                self._child.kill()
                self._child.wait()
                self._take_over()

    def stop(self) -> None:
        """End the collector if it is ours, or has no owner."""
        self._ending.set()
        self.join()
        if self._child is not None:
            _end(self._child)

    def note(self) -> str:
        """A sentence on the collector beyond its own report, or ""."""
        if self._stopped_since_s is not None and self._child is not None:
            return f"The collector (process {self._child.pid}) is stopped by a signal; it is replaced after {STOPPED_S:g} s."
        if self._child is None and not self._tree.home.is_dir():
            return f"The log folder {self._tree.home} is gone; collection continues automatically once it is back."
        sentence, until_s = self._note
        if time.monotonic() < until_s:
            return sentence
        missing = [str(top) for top in self._tree.tops[1:] if not top.is_dir()]
        return f"Waiting for the log folder {', '.join(missing)}. It is read as soon as it is there." if missing else ""

    def _restart(self, code: int) -> None:
        lived_s = time.monotonic() - self._started_s
        again = code in (EXIT_AGAIN, EXIT_FOLDER_GONE)
        self.deaths += not again
        if lived_s > HEALTHY_S:
            self._back_off_s = BACK_OFF_S[0]
        if code == EXIT_FOLDER_GONE:
            self._say(
                f"The data folder {self._data_dir}, or a file in it, was removed: the store is reopened and the missing part of the "
                "log files is read again; its machine samples and profiles are lost."
            )
        if not (again and lived_s > BRIEF_S) and self._ending.wait(self._back_off_s):
            return
        self._back_off_s = min(2 * self._back_off_s, BACK_OFF_S[1])
        self._take_over()

    def _why_replace(self, child: subprocess.Popen[bytes]) -> str:
        """Why our own living child is unusable; "" while it works."""
        now_s = time.monotonic()
        if not is_stopped(child.pid):
            self._stopped_since_s = None
        elif self._stopped_since_s is None:
            self._stopped_since_s = now_s
        elif now_s - self._stopped_since_s > STOPPED_S:
            self._stopped_since_s = None
            return "was stopped by a signal"
        if now_s - self._asked_s >= ASK_EVERY_S and self._stopped_since_s is None:
            self._asked_s = now_s
            with contextlib.suppress(ControlError):
                ask(self._data_dir, "ping")
                self._answered_s, self._has_answered = time.monotonic(), True
        silent_s = time.monotonic() - self._answered_s
        return (
            f"did not answer for {silent_s:.0f} s"
            if silent_s > (SILENT_S if self._has_answered else STARTING_S)
            else ""
        )

    def _take_over(self) -> None:
        """One live writer per store: share it if its options equal ours, replace it if its owner is dead, else only read.

        No process is ended on doubt: a writer of another boot, container, user or version may be any process.
        """
        if not self._tree.home.is_dir():
            self._child = None
            return
        self._child, self.read_only = None, None
        if why := folders.not_ours(self._data_dir):
            self.read_only = f"Nothing is written to the data folder {self._data_dir}: {why}. Remove it, or choose another folder with --data-dir."
            return
        writer = writer_of(self._data_dir)
        if writer is None:
            self._start()
        elif isinstance(writer, UnreadableWriter):
            self.read_only = (
                f"{writer.sentence}: this dashboard only reads. End that one, or choose another folder with --data-dir."
            )
        elif not writer.is_here:
            self.read_only = (
                f"A collector in another container or on another host ({writer.host}, process {writer.pid} there) writes this store: "
                "this dashboard only reads. End that one, or choose another folder with --data-dir."
            )
        elif writer.is_orphan:
            self._replace(writer)
        elif writer.options != self._options or writer.version != VERSION:
            self.read_only = (
                f"Another dashboard (process {writer.parent_pid}) collects for this log folder with other options: "
                "this one only reads. End that one to change them."
            )

    def _replace(self, writer: Writer) -> None:
        try:
            gone = end(writer, STOP_S)
        except PermissionError:
            gone = False
        if gone:
            self._start()
        else:
            self.read_only = (
                f"Process {writer.pid} holds the lock of this log folder, and is another user's or no collector: "
                "this dashboard only reads. End it, or choose another folder with --data-dir."
            )

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._started_s = self._answered_s = self._asked_s = time.monotonic()
        self._has_answered, self._stopped_since_s = False, None
        self._child = subprocess.Popen(self._command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL)

    def _say(self, sentence: str) -> None:
        self._note = sentence, time.monotonic() + NOTE_S


def wait_until_it_answers(data_dir: Path, timeout_s: float) -> bool:
    """Whether a collector answers on its socket within the time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ControlError):
            ask(data_dir, "status")
            return True
        time.sleep(KEEPER_POLL_S)
    return False


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
