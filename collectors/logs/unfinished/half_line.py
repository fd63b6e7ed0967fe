"""The last line of a file that has no newline: half written, or all that its program will ever write of it."""

from __future__ import annotations

import json
import math
import os
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from ...mounts import is_remote
from ...process.proc import PROC
from ...process.writers import is_for_writing, open_files
from ...received import is_received

WHOLE_S = 1.0  # without a change, until a complete JSON object is taken for a line
QUIET_S = 30.0  # without a change, until any other half line is, where no process holds the file open for writing,
UNSEEN_S = 600.0  # or where such a process cannot be seen from here
MOST_S = 60.0  # between two looks while a process holds the file
FRESH_S = 2.0  # how old the look at all processes may be: it costs about 3 us an open file


class HeldFiles:
    """The files of this machine that a process holds open for writing."""

    def __init__(self, proc: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc, self._clock = proc, clock
        self._lock = threading.Lock()
        self._looked_s: float | None = None
        self._by_name: dict[str, list[tuple[int, str]]] = {}  # pid and descriptor, by the name of the file

    def has(self, name: str, found: os.stat_result) -> bool:
        """Whether a process that we may look into holds that file of that name. A container has other folders, but the same names."""
        with self._lock:
            if self._looked_s is None or self._clock() - self._looked_s > FRESH_S:
                self._by_name = self._look()
                self._looked_s = self._clock()
            return any(self._is(pid, number, found) for pid, number in self._by_name.get(name, ()))

    def _is(self, pid: int, number: str, found: os.stat_result) -> bool:
        try:
            held = (self._proc / str(pid) / "fd" / number).stat()
        except OSError:  # closed meanwhile
            return False
        return os.path.samestat(held, found) and is_for_writing(self._proc, pid, number)

    def _look(self) -> dict[str, list[tuple[int, str]]]:
        by_name: dict[str, list[tuple[int, str]]] = {}
        with os.scandir(self._proc) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
        for pid in pids:
            for number, target in open_files(pid, self._proc):
                if target.startswith("/"):
                    by_name.setdefault(target.rpartition("/")[2], []).append((pid, number))
        return by_name


HELD = HeldFiles()


class HalfLine:
    """Of one file. A program that buffers its output leaves the half of a line for minutes: only its end makes a line of it."""

    def __init__(self, path: Path, held: HeldFiles = HELD, clock: Callable[[], float] = time.monotonic) -> None:
        self.again_s: float | None = None  # when it is to be looked at again, from now; None for never
        self._path, self._held, self._clock = path, held, clock
        self._seen, self._since_s, self._pause_s = (0, 0), 0.0, WHOLE_S

    def is_line(self, half: bytes, descriptor: int, *, is_live: bool) -> bool:
        """Whether what stands behind the file's last newline is a line. A carriage return makes it the state of a progress bar."""
        self.again_s = None
        if not half.strip() or b"\r" in half:
            return False
        now_s, found = self._clock(), os.fstat(descriptor)
        if (seen := (len(half), zlib.crc32(half))) != self._seen:
            self._seen, self._since_s, self._pause_s = seen, now_s, WHOLE_S
        quiet_s = now_s - self._since_s
        if not is_live:
            quiet_s = max(quiet_s, time.time() - found.st_mtime)
        if quiet_s >= WHOLE_S and _is_object(half):
            return True
        if quiet_s < QUIET_S:
            self.again_s = max(QUIET_S - quiet_s, 0.0) if quiet_s >= WHOLE_S else WHOLE_S
            return False
        if quiet_s >= self._least_s(found) and not self._held.has(self._path.name, found):
            return True
        self._pause_s = min(2 * self._pause_s, MOST_S)
        self.again_s = self._pause_s
        return False

    def _least_s(self, found: os.stat_result) -> float:
        """Another host may write it, or a user whose processes we cannot look into; what is handed over comes in pieces, for days."""
        if is_received(str(self._path)):
            return math.inf
        return UNSEEN_S if os.geteuid() not in (0, found.st_uid) or is_remote(self._path.parent) else QUIET_S


def _is_object(half: bytes) -> bool:
    """Whether it is a complete JSON object."""
    if not (half.startswith(b"{") and half.rstrip().endswith(b"}")):
        return False
    try:
        return isinstance(json.loads(half), dict)
    except (ValueError, RecursionError):
        return False
