"""Functions for a reader process: each reads a file badly."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from collectors.logs.open_files import NotMetrics


def own_pid() -> int:
    return os.getpid()


def endless() -> None:
    while True:
        pass


def of_bytes(count: int) -> int:
    return len(bytearray(count))


def answer_of_bytes(count: int) -> bytes:
    return bytes(count)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def fail() -> None:
    raise NotMetrics("is something else")


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def leave_a_file() -> str:
    path = Path(os.environ["TMPDIR"]) / "left"
    path.write_bytes(b"x")
    return str(path)
