"""Find the process that opens its file anew for each line: no look at open files sees it, but what it writes rises with the file.

Of the Python processes of the file's owner, one that has written less than the file has grown is not the writer. After some looks the
writer is the only one left whose command line names the file or a folder of it, else the only one left, if it works in a folder above.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..proc import PROC, ancestors, command_of, folder_of, runs_python, uid_of, written_bytes
from .activity import RunActivity
from .launchers import is_launcher, started

LOOKS, MOST_LOOKS = 5, 20  # in which the file has grown: before somebody is sure to be the writer, and until the search begins anew
LOOK_EVERY_S = 1.0
SUFFIXES = (".jsonl", ".log")


@dataclass
class _Search:
    """Of one run. What the file has grown between two looks was written after the first one's end and before the second one's begin."""

    written: dict[int, int]  # by pid of those who may be the writer: bytes, before `size` was asked for
    size: int  # bytes of the run's files
    looked_s: float  # CLOCK_MONOTONIC
    looks: int = 0


class Appenders:
    """The search goes on over several calls, for runs that write and whose process nothing else names."""

    def __init__(self, proc: Path = PROC, *, every_s: float = LOOK_EVERY_S) -> None:
        self._proc, self._every_s = proc, every_s
        self._searches: dict[str, _Search] = {}

    def keep_only(self, runs: Collection[str]) -> None:
        self._searches = {run: search for run, search in self._searches.items() if run in runs}

    def find(self, activity: RunActivity, taken: Collection[int]) -> int | None:
        """The pid, once it is sure; `taken` are the processes of other runs and our own. 10 us a Python process, 10 us any at first."""
        search, now_s = self._searches.get(activity.run), time.monotonic()
        if search is not None and now_s - search.looked_s < self._every_s:
            return None
        size = _bytes_of(activity)
        grown = 0 if search is None else size - search.size
        if search is None or grown < 0 or not search.written or search.looks >= MOST_LOOKS:
            owners = {uid for path in _files_of(activity) if (uid := _owner_of(path)) is not None}
            self._searches[activity.run] = self._looked_at(activity, self._candidates(owners, taken), 0)
            return None
        if grown == 0:
            self._searches[activity.run] = self._looked_at(activity, search.written, search.looks)
            return None
        written = self._written(pid for pid in search.written if pid not in taken)
        left = {pid for pid, now in written.items() if now - search.written[pid] >= grown}
        self._searches[activity.run] = self._looked_at(activity, left, search.looks + 1)
        if search.looks + 1 < LOOKS:
            return None
        tops = [pid for pid in left if left.isdisjoint(ancestors(pid, self._proc)) and not is_launcher(pid, self._proc)]
        by_name = [pid for pid in tops if self._names(pid, activity)]
        sure = by_name or [pid for pid in tops if self._works_above(pid, activity)]
        return sure[0] if len(sure) == 1 and (by_name or len(tops) == 1) else None

    def _names(self, pid: int, activity: RunActivity) -> bool:
        """Whether a word of its command line is the run's folder, or a file in it: `--output_dir=runs/x`."""
        words, folder = command_of(pid, self._proc)[1:], folder_of(pid, self._proc)
        values = [word.partition("=")[2] if word.startswith("-") else word for word in words]
        paths = {os.path.normpath(os.path.join(folder, value)) for value in values if value}  # noqa: PTH118
        if activity.single_file:
            return not paths.isdisjoint(map(str, _files_of(activity)))
        return any(path == str(activity.folder) or path.startswith(f"{activity.folder}/") for path in paths)

    def _works_above(self, pid: int, activity: RunActivity) -> bool:
        folder = folder_of(pid, self._proc)
        return len(folder) > 1 and activity.folder.is_relative_to(folder)

    def _looked_at(self, activity: RunActivity, pids: Iterable[int], looks: int) -> _Search:
        written = self._written(pids)
        return _Search(written, _bytes_of(activity), time.monotonic(), looks)

    def _written(self, pids: Iterable[int]) -> dict[int, int]:
        return {pid: written for pid in pids if (written := written_bytes(pid, self._proc)) is not None}

    def _candidates(self, owners: Collection[int], taken: Collection[int]) -> list[int]:
        with os.scandir(self._proc) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
        return [pid for pid in pids if pid not in taken and self._may_write(pid, owners)]

    def _may_write(self, pid: int, owners: Collection[int]) -> bool:
        """No collector of another dashboard: that writes whenever a line comes."""
        if not runs_python(pid, self._proc) or uid_of(pid, self._proc) not in owners:
            return False
        return started(command_of(pid, self._proc))[0] != "collectors"


def _files_of(activity: RunActivity) -> list[Path]:
    if activity.single_file:
        return [activity.folder / f"{activity.run}{suffix}" for suffix in SUFFIXES]
    with suppress(OSError), os.scandir(activity.folder) as entries:
        return [Path(entry.path) for entry in entries if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".")]
    return []


def _bytes_of(activity: RunActivity) -> int:
    total = 0
    for path in _files_of(activity):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _owner_of(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None
