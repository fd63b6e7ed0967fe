"""The writer's lock: who writes this store, with what options, and whose child it is."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .proc import start_ticks

FILE = "writer.lock"


@dataclass(frozen=True)
class Writer:
    """The process that holds, or last held, the lock."""

    pid: int
    parent_pid: int
    parent_start_ticks: int  # with the pid, the parent's identity on this boot
    version: str
    options: dict[str, Any]

    @property
    def is_orphan(self) -> bool:
        return start_ticks(self.parent_pid) != self.parent_start_ticks


class Locked(Exception):
    """Another writer is alive."""


def take(data_dir: Path, version: str, options: dict[str, Any]) -> int:
    """Become the writer; the descriptor holds the lock until the process ends. Raises Locked."""
    descriptor = os.open(data_dir / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Locked(f"another collector writes to {data_dir}") from None
    parent = os.getppid()
    writer = Writer(os.getpid(), parent, start_ticks(parent) or 0, version, options)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(writer)).encode(), 0)
    return descriptor


def writer_of(data_dir: Path) -> Writer | None:
    """The live writer of a store, or None."""
    try:
        descriptor = os.open(data_dir / FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 1 << 16, 0)
        return Writer(**json.loads(text)) if text else None  # empty: it took the lock this very moment
    finally:
        os.close(descriptor)
    return None
