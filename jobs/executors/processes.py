"""The processes of an attempt: all that carry its mark in their environment, whatever their group or session, and who has adopted them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from collectors.process.proc import PROC, start_ticks

MARK = "DEEPSEEK_JOBS_ATTEMPT"  # the attempt's folder, in the environment of all its processes
ENVIRONMENT_BYTES = 1 << 20


def marked(mark: str, proc: Path = PROC) -> list[int]:
    """Living processes of this user that carry the mark. About 20 us for each process of the user."""
    return by_mark(proc).get(mark, [])


def by_mark(proc: Path = PROC) -> dict[str, list[int]]:
    """All processes of this user that belong to an attempt, in one look."""
    found = dict[str, list[int]]()
    for entry in os.scandir(proc):
        if entry.name.isdecimal() and (mark := mark_of(int(entry.name), proc)) and start_ticks(int(entry.name), proc) is not None:
            found.setdefault(mark, []).append(int(entry.name))
    return found


def mark_of(pid: int, proc: Path = PROC) -> str:
    """The folder of its attempt; "" where it has none, or is another user's."""
    start = f"{MARK}=".encode()
    return next((word[len(start) :].decode() for word in environment_words(pid, proc) if word.startswith(start)), "")


def environment_words(pid: int, proc: Path = PROC) -> list[bytes]:
    """`NAME=value` as the process was started; none of other users'."""
    try:
        descriptor = os.open(f"{proc}/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        data = b""
        while (part := os.read(descriptor, 1 << 16)) and len(data) < ENVIRONMENT_BYTES:
            data += part
    except OSError:
        return []
    finally:
        os.close(descriptor)
    return data.split(b"\0")


def group_of(pid: int, number: signal.Signals) -> bool:
    """Send to the process group that a program of the keeper leads; False where it is gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_all(mark: str, number: signal.Signals) -> list[int]:
    """Send to what is left of an attempt; the pids."""
    left = marked(mark)
    for pid in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return left
