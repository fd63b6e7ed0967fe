"""Find the process that opens its file anew for each line: no look at open files sees it, but what it writes rises with the file.

Of the Python processes of the file's owner, one that has written less than the file has grown is not the writer. After some looks the
writer is the only one left whose command line names the file or a folder of it, else the only one left, if it works in a folder above.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .activity import TEXT_SUFFIXES, RunActivity, is_text
from .launchers import is_launcher, started
from .proc import PROC, ancestors, command_of, folder_of, runs_python, uid_of, written_bytes
from .writers import EVENT_FILE

LOOKS, MOST_LOOKS = (
    5,
    20,
)  # in which the file has grown: before a process is taken for the writer, and until the search is given up
FEW_LOOKS = 3  # ... where only one process is left that can be it: some files grow once an epoch
MOST_ASKED = 3600  # looks in all
LOOK_EVERY_S = 1.0
MOST_SEARCHES = 4  # at a time: each costs about 2 ms a look; who is not found makes room for others
REST = 5  # looks that a run is left alone before its next search
SUFFIXES = (".jsonl", ".csv", ".tsv", *TEXT_SUFFIXES)
WHOLE = re.compile(r"trainer_state\.json|(all|train|eval|test)_results\.json")
CHECKPOINT = re.compile(r"checkpoint-\d+")


@dataclass
class _Search:
    """Of one run. What the file has grown between two looks was written after the first one's end and before the second one's begin."""

    written: dict[int, int]  # by pid of those who may be the writer: bytes, before `size` was asked for
    size: int  # bytes of the run's files
    looked_s: float  # CLOCK_MONOTONIC
    asked: int
    looks: int  # those before which the file had grown

    @property
    def is_over(self) -> bool:
        """It leads nowhere: nothing is written, or too many may be the writer."""
        return self.asked >= MOST_ASKED or self.looks >= MOST_LOOKS

    @property
    def makes_room(self) -> bool:
        """Its file grows so seldom that others go first."""
        return self.asked >= LOOKS and self.looks * LOOKS < self.asked


class Appenders:
    """The search goes on over several calls, for runs that write and whose process nothing else names."""

    def __init__(self, proc: Path = PROC, *, every_s: float = LOOK_EVERY_S) -> None:
        self._proc, self._every_s = proc, every_s
        self._searches: dict[str, _Search] = {}
        self._ended_s: dict[str, float] = {}  # by run, its last search, CLOCK_MONOTONIC

    def keep_only(self, runs: Collection[str]) -> None:
        self._searches = {run: search for run, search in self._searches.items() if run in runs}
        self._ended_s = {run: ended_s for run, ended_s in self._ended_s.items() if run in runs}

    def find(self, activity: RunActivity, taken: Collection[int]) -> int | None:
        """The pid, once it is sure; `taken` are the processes of other runs and our own. 10 us a Python process, 10 us any at first."""
        run, now_s = activity.run, time.monotonic()
        search = self._searches.get(run)
        if search is None:
            if self._has_room(run, now_s):
                owners = {uid for path in _files_of(activity) if (uid := _owner_of(path)) is not None}
                self._searches[run] = self._looked_at(activity, self._candidates(owners, taken), 0, 0)
            return None
        if now_s - search.looked_s < self._every_s:
            return None
        grown = _bytes_of(activity) - search.size
        left = set(search.written)
        if grown > 0:
            written = self._written(pid for pid in left if pid not in taken)
            left = {pid for pid, now in written.items() if now - search.written[pid] >= grown}
        search = self._looked_at(activity, left, search.asked + 1, search.looks + (grown > 0))
        self._searches[run] = search
        found = self._sure(left, activity) if search.looks >= (FEW_LOOKS if len(left) == 1 else LOOKS) else None
        if found is not None or not left or grown < 0 or search.is_over:
            del self._searches[run]
            self._ended_s[run] = now_s
        return found

    def _sure(self, left: Collection[int], activity: RunActivity) -> int | None:
        tops = [
            pid
            for pid in left
            if not {*left}.intersection(ancestors(pid, self._proc)) and not is_launcher(pid, self._proc)
        ]
        by_name = [pid for pid in tops if self._names(pid, activity)]
        sure = by_name or [pid for pid in tops if self._works_above(pid, activity)]
        return sure[0] if len(sure) == 1 and (by_name or len(tops) == 1) else None

    def _has_room(self, run: str, now_s: float) -> bool:
        if now_s - self._ended_s.get(run, -math.inf) < REST * self._every_s:
            return False
        if len(self._searches) < MOST_SEARCHES:
            return True
        slow = next((other for other, search in self._searches.items() if search.makes_room), None)
        if slow is not None:
            del self._searches[slow]
            self._ended_s[slow] = now_s
        return slow is not None

    def _names(self, pid: int, activity: RunActivity) -> bool:
        """Whether a word of its command line is the run's folder, or a file in it: `--output_dir=runs/x`."""
        words, folder = command_of(pid, self._proc)[1:], folder_of(pid, self._proc)
        values = [word.partition("=")[2] if word.startswith("-") else word for word in words]
        paths = {os.path.normpath(os.path.join(folder, value)) for value in values if value}  # noqa: PTH118
        if activity.single_file or activity.files:
            return not paths.isdisjoint(map(str, _files_of(activity)))
        return any(path == str(activity.folder) or path.startswith(f"{activity.folder}/") for path in paths)

    def _works_above(self, pid: int, activity: RunActivity) -> bool:
        folder = folder_of(pid, self._proc)
        return len(folder) > 1 and activity.folder.is_relative_to(folder)

    def _looked_at(self, activity: RunActivity, pids: Iterable[int], asked: int, looks: int) -> _Search:
        written = self._written(pids)
        return _Search(written, _bytes_of(activity), time.monotonic(), asked, looks)

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
    if activity.files:
        return [activity.folder / name for name in activity.files]
    if activity.single_file:
        return [activity.folder / f"{activity.run}{suffix}" for suffix in SUFFIXES]
    files: list[Path] = []
    for folder in (activity.folder, *(activity.folder / part for part in activity.parts)):
        with suppress(OSError), os.scandir(folder) as entries:
            found = list(entries)
            files += [Path(entry.path) for entry in found if _is_read(entry.name)]
            checkpoints = (Path(entry.path) for entry in found if CHECKPOINT.fullmatch(entry.name) and entry.is_dir())
            files += [state for folder in checkpoints for state in folder.glob("trainer_state.json")]
    return files


def _is_read(name: str) -> bool:
    is_numbers = name.endswith(SUFFIXES[:3]) or name.startswith(EVENT_FILE) or WHOLE.fullmatch(name) is not None
    return not name.startswith(".") and (is_numbers or is_text(name))


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
