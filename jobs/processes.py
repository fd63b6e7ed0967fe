"""The processes of an attempt: all that carry its mark in their environment, whatever their group or session, the program that is known by
its pid, its process group, what these have started, and the orphans that its keeper has adopted.

The mark alone would not do: a program that writes a long title over its arguments writes over its environment, too, and `env -i` has none.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from collectors.machine.proc import DEAD_STATES, PROC

MARK = "DEEPSEEK_JOBS_ATTEMPT"  # the attempt's folder, in the environment of all its processes
DAEMON = "DEEPSEEK_JOBS_DAEMON"  # in that of a daemon, and of its own children: they are no job's, wherever they were started
ENVIRONMENT_BYTES, STAT_BYTES = 1 << 20, 1 << 12


class ProcessInfo(NamedTuple):
    parent: int
    group: int
    ticks: int  # of the boot's clock, at its start
    mark: str
    is_queues: bool  # a daemon or a keeper


class ProcessTable:
    """One look at /proc. About 30 us for each process."""

    def __init__(self, proc: Path = PROC) -> None:
        self.processes: dict[int, ProcessInfo] = {}
        self._marked: dict[str, list[int]] = {}
        self._children: dict[int, list[int]] = {}
        self._groups: dict[int, list[int]] = {}
        for entry in os.scandir(proc):
            if not entry.name.isdecimal() or not (stat := _stat(int(entry.name), proc)):
                continue
            pid, words = int(entry.name), environment_words(int(entry.name), proc)
            seen = ProcessInfo(
                int(stat[1]), int(stat[2]), int(stat[19]), _value(words, MARK), bool(_value(words, DAEMON))
            )
            self.processes[pid] = seen
            self._marked.setdefault(seen.mark, []).append(pid)
            self._children.setdefault(seen.parent, []).append(pid)
            self._groups.setdefault(seen.group, []).append(pid)

    def of_attempt(
        self,
        mark: str,
        program: tuple[int, int] | None = None,
        keeper: tuple[int, int] | None = None,
        known: Mapping[int, int] = MappingProxyType({}),
    ) -> dict[int, int]:
        """Living processes of an attempt with their start ticks. Program and keeper are pids with theirs, and so are those that were `known` to
        be of it; the keeper itself is none of them. Nor is what belongs to another attempt, or to a queue that was started in this one."""
        waiting = [*self._marked.get(mark, ()), *(pid for pid, ticks in known.items() if self.is_alive(pid, ticks))]
        if program and (
            program[0] not in self.processes or self.is_alive(*program)
        ):  # else the number is another's, and so may be the group
            waiting += [pid for pid in self._groups.get(program[0], ()) if self.processes[pid].ticks >= program[1]]
            waiting += [program[0]]
        if keeper and self.is_alive(*keeper):
            waiting += self.children(keeper[0])
        found = dict[int, int]()
        while waiting:
            pid = waiting.pop()
            if pid not in found and (self._may_be(pid, mark) or (program and (pid, self._ticks(pid)) == program)):
                found[pid] = self.processes[pid].ticks
                waiting += self.children(pid)
        return found

    def _ticks(self, pid: int) -> int | None:
        return self.processes[pid].ticks if pid in self.processes else None

    def is_alive(self, pid: int, ticks: int) -> bool:
        return pid in self.processes and self.processes[pid].ticks == ticks

    def children(self, pid: int) -> list[int]:
        return self._children.get(pid, [])

    def _may_be(self, pid: int, mark: str) -> bool:
        seen = self.processes.get(pid)
        return seen is not None and pid != os.getpid() and not seen.is_queues and seen.mark in ("", mark)


def mark_of(pid: int, proc: Path = PROC) -> str:
    """The folder of its attempt; "" where it has none, or is another user's."""
    return _value(environment_words(pid, proc), MARK)


def environment_words(pid: int, proc: Path = PROC) -> list[bytes]:
    """`NAME=value` as the process was started; none of other users'."""
    return _read(f"{proc}/{pid}/environ", ENVIRONMENT_BYTES).split(b"\0")


def group_of(pid: int, number: signal.Signals) -> bool:
    """Send to the process group that a program of the keeper leads; False where it is gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _value(words: list[bytes], name: str) -> str:
    """Bytes that are no UTF-8 stay what they are, as in a path."""
    start = f"{name}=".encode()
    return next((os.fsdecode(word[len(start) :]) for word in words if word.startswith(start)), "")


def _stat(pid: int, proc: Path) -> list[bytes]:
    """Fields 3 and up of its stat; none where it is gone, or a zombie."""
    fields = _read(f"{proc}/{pid}/stat", STAT_BYTES).rpartition(b")")[2].split()
    return fields if fields and fields[0].decode() not in DEAD_STATES else []


def _read(path: str, most_bytes: int) -> bytes:
    """b"" where the process is gone, or another user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = b""
        while len(data) < most_bytes and (part := os.read(descriptor, 1 << 16)):
            data += part
        return data
    except OSError:
        return b""
    finally:
        os.close(descriptor)


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
