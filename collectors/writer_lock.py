"""The lock of a store's folder: one process writes it, says who it is, and is ended before another takes over."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .machine.proc import alive, boot_id, command_of, pid_namespace, start_ticks, user_of

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
