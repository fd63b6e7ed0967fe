"""Finds the processes that write a run's files: who holds them open, or whose output a program collects."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from .proc import (
    PROC,
    ancestors,
    boot_id,
    command_of,
    cpu_ticks,
    descendants,
    environment_of,
    folder_of,
    is_for_writing,
    parent,
    runs_python,
    start_ticks,
    uid_of,
    written_bytes,
)
from .ranks import identity_of, is_launcher, is_launchers_command, started
from .run_state import TEXT_SUFFIXES, RunActivity, is_text, whole

EVENT_FILE = "events.out.tfevents."
OUTPUT = ("1", "2")  # descriptors
MAX_FILES = 1_000  # of a folder that are looked at
MAX_STARTED_BYTES = 1 << 20
WRITES_BESIDE = 0.2  # of a walk in which one that never handed its log on was seen to write it: it waited for a child since the last one
WRITES_ALONE = (
    3.0  # walks in which one that has handed its log on is seen to write it itself before it counts as the writer
)
LIVES_ON = 2  # times its own work that its ended children have done
MAX_PIPES = 8  # programs between a training and its log: python | grep | ts | tee


class OpenFiles(NamedTuple):
    """What one walk over /proc has found. About 3 us an open file."""

    files: dict[str, list[int]]  # by path, who holds it open for writing; files of the folders asked for only
    feeders: dict[str, list[int]]  # by pipe, who writes to it
    fed_by: dict[int, str]  # by pid, the pipe that is its standard input
    carried: dict[int, list[int]]  # by holder, the processes below it whose output it reads from pipes


class Launchers:
    """Who holds a log open for the processes that it starts, one after the other: remembered from walk to walk, since such a process is
    no more the run when none of them is there. One that lives on its children's work is taken for such until it is seen to write."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._held: dict[tuple[int, int | None, str], _Held] = {}  # by pid, start ticks and path

    def only_hands_on(self, pid: int, path: str, *, has_it: bool) -> bool:
        """`has_it`: a process below it has the file as its output now."""
        key = pid, start_ticks(pid, self._proc), path
        before, size, (own_ticks, waited_ticks) = self._held.get(key), _size_of(path), cpu_ticks(pid, self._proc)
        if before is None and not has_it and waited_ticks < LIVES_ON * max(1, own_ticks):
            return False
        was_handed_on = has_it or (before is not None and before.was_handed_on)
        if before is None or has_it:
            left = WRITES_ALONE if has_it else 1.0
        elif size <= before.size:
            left = before.left
        else:  # what it has waited for since then may have written, too
            alone = waited_ticks == before.waited_ticks
            left = before.left - (1.0 if alone else 0.0 if was_handed_on else WRITES_BESIDE)
        self._held[key] = _Held(size, waited_ticks, left, was_handed_on)
        return left > 0.01

    def keep_only(self, holders: Mapping[str, Collection[int]]) -> None:
        """Forget who does not hold its file any more."""
        self._held = {key: held for key, held in self._held.items() if key[0] in holders.get(key[2], ())}


class _Held(NamedTuple):
    size: int  # of the file
    waited_ticks: int  # of a core, that ended processes of its have used
    left: float  # walks in which it has to be seen to write
    was_handed_on: bool


def walk(folders: Collection[str], proc: Path = PROC, launchers: Launchers | None = None) -> OpenFiles:
    """`folders` are resolved paths; files whose names begin with a dot are left out."""
    return _Walk(folders, proc, launchers or Launchers(proc)).found


def writers_of(paths: Iterable[str], found: OpenFiles, proc: Path = PROC) -> list[int]:
    """The processes that a run consists of: without their children, launchers, shells and programs that carry their output."""
    holders = {path: found.files.get(path, []) for path in paths}
    with_numbers = {pid for path, pids in holders.items() if _holds_numbers(path) for pid in pids}
    sources = {source for pid in _pids(holders) for source in _sources(pid, with_numbers, found, proc)}
    pythons = [pid for pid in sources if runs_python(pid, proc)]
    able = {pid for pid in pythons if not is_launcher(pid, proc) or _writes_alone(pid, holders, proc)}
    able = able or (sources if not pythons else set())
    return sorted(pid for pid in able if not able.intersection(ancestors(pid, proc)))


def held_files(pid: int, proc: Path = PROC) -> set[tuple[int, int]]:
    """Device and inode of the regular files that the process holds open for writing; of a process of another user none."""
    held = set()
    for number, target in open_files(pid, proc):
        if target.startswith("/") and is_for_writing(proc, pid, number):
            with suppress(OSError):
                found = os.stat(f"{proc}/{pid}/fd/{number}")  # noqa: PTH116
                if stat.S_ISREG(found.st_mode):
                    held.add((found.st_dev, found.st_ino))
    return held


def files_in(folder: Path) -> list[Path]:
    """The first files of a run's folder."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in islice(entries, MAX_FILES) if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []


def started_in(folder: Path) -> tuple[int, int] | None:
    """Pid and start ticks of the program that `deepseek-dashboard run` has started for this folder; on this boot."""
    try:
        descriptor = os.open(folder / "started.json", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            fields = json.loads(file.read(MAX_STARTED_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b"")
        pid, ticks = whole(fields["pid"]), whole(fields["ticks"])
        return (pid, ticks) if pid is not None and ticks is not None and fields["boot_id"] == boot_id() else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_read(name: str) -> bool:
    return is_text(name) or _holds_numbers(name)


def _holds_numbers(path: str) -> bool:
    return path.endswith(".jsonl") or path.rpartition("/")[2].startswith(EVENT_FILE)


def _pids(holders: Mapping[str, Collection[int]]) -> set[int]:
    return {pid for pids in holders.values() for pid in pids}


def _writes_alone(pid: int, holders: Mapping[str, Collection[int]], proc: Path) -> bool:
    """Whether it holds a file of numbers that no rank below it does: it trains, although it starts others as a launcher would."""
    alone = [pids for path, pids in holders.items() if _holds_numbers(path) and pid in pids]
    if not alone or is_launchers_command(command_of(pid, proc)):
        return False
    ranks = {child for child in descendants(pid, proc) if identity_of(environment_of(child, proc)).rank is not None}
    return any(ranks.isdisjoint(pids) for pids in alone)


def _sources(holder: int, with_numbers: Collection[int], found: OpenFiles, proc: Path) -> Iterator[int]:
    """The process that holds a file; if that is not Python, or a launcher, also those that feed its pipe and the Pythons below it.

    A process that only copies the output of others does not count: those others do.
    """
    waiting, known = [holder], {holder}
    for _ in range(MAX_PIPES):
        above: list[int] = []
        for pid in waiting:
            if pid in found.carried and pid not in with_numbers:
                above += found.carried[pid]
                continue
            yield pid
            if not runs_python(pid, proc) or is_launcher(pid, proc):
                above += found.feeders.get(found.fed_by.get(pid, ""), ())
                above += [child for child in descendants(pid, proc) if runs_python(child, proc)]
        waiting = [pid for pid in above if pid not in known]
        known.update(waiting)


class _Walk:
    """One look at all processes."""

    def __init__(self, folders: Collection[str], proc: Path, launchers: Launchers) -> None:
        self._folders, self._proc, self._launchers = folders, proc, launchers
        self._pipes: dict[str, list[tuple[int, str]]] = {}  # who holds each, at which number
        self._outputs: dict[int, dict[str, str]] = {}  # by pid and number, where standard output and error go
        self._by_inode: dict[tuple[int, int], str] | None = (
            None  # the folders' files, by device and inode, once asked for
        )
        self._mounts = mounts_of("self", proc)
        self._contained: dict[int, bool] = {}
        self.found = found = OpenFiles({}, {}, {}, {})
        with os.scandir(proc) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
        for pid in pids:
            self._look_at(pid)
        launchers.keep_only(found.files)
        for path, holders in found.files.items():
            found.files[path] = [pid for pid in holders if not self._only_handed_on(pid, path)]
        for pid in _pids(found.files):
            self._follow_pipes(pid)
        for pid in _pids(found.files) | _pids(found.feeders):
            if below := self._carried_by(pid):
                found.carried[pid] = below

    def _look_at(self, pid: int) -> None:
        for number, target in open_files(pid, self._proc):
            if target.startswith("/"):
                target = self._look_at_file(pid, number, target)
            elif target.startswith("pipe:"):
                if number == "0":
                    self.found.fed_by[pid] = target
                self._pipes.setdefault(target, []).append((pid, number))
            if number in OUTPUT:
                self._outputs.setdefault(pid, {})[number] = target

    def _look_at_file(self, pid: int, number: str, path: str) -> str:
        """Its path outside its container."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders and _is_read(name) and self._is_contained(pid):
            path = self._path_here(f"{self._proc}/{pid}/fd/{number}") or path
            folder, _, name = path.rpartition("/")
        if folder in self._folders and not name.startswith(".") and is_for_writing(self._proc, pid, number):
            self.found.files.setdefault(path, []).append(pid)
        return path

    def _is_contained(self, pid: int) -> bool:
        """Whether it sees other mounts than we do."""
        if pid not in self._contained:
            self._contained[pid] = mounts_of(pid, self._proc) not in (None, self._mounts)
        return self._contained[pid]

    def _path_here(self, descriptor: str) -> str:
        """Of a file of the folders; "" for any other."""
        if self._by_inode is None:
            self._by_inode = dict(_by_inode(self._folders))
        with suppress(OSError):
            found = os.stat(descriptor)  # noqa: PTH116  # the file itself, whatever it is called there
            return self._by_inode.get((found.st_dev, found.st_ino), "")
        return ""

    def _only_handed_on(self, pid: int, path: str) -> bool:
        """Whether it has opened the file for a process below it, whose output it is: a script that starts several trainings."""
        if path in self._outputs.get(pid, {}).values():
            return False
        has_it = any(path in self._outputs.get(child, {}).values() for child in descendants(pid, self._proc))
        return self._launchers.only_hands_on(pid, path, has_it=has_it)

    def _carried_by(self, pid: int) -> list[int]:
        """The processes below whose whole output it reads; one that is asked through a pipe and answers is its helper."""
        below = [child for child in descendants(pid, self._proc) if len(self._outputs.get(child, {})) == len(OUTPUT)]
        return [
            child
            for child in below
            if all(self._holds(pid, pipe, for_writing=False) for pipe in self._outputs[child].values())
            and not self._holds(pid, self.found.fed_by.get(child, ""), for_writing=True)
        ]

    def _holds(self, pid: int, pipe: str, *, for_writing: bool) -> bool:
        held = (number for holder, number in self._pipes.get(pipe, ()) if holder == pid)
        return any(is_for_writing(self._proc, pid, number) == for_writing for number in held)

    def _follow_pipes(self, pid: int) -> None:
        """The processes that feed the standard input of a process, and those that feed these."""
        pipe = self.found.fed_by.get(pid)
        if pipe is None or pipe in self.found.feeders:
            return
        held = [(holder, number) for holder, number in self._pipes[pipe] if holder != pid]
        self.found.feeders[pipe] = [holder for holder, number in held if is_for_writing(self._proc, holder, number)]
        for feeder in self.found.feeders[pipe]:
            self._follow_pipes(feeder)


def _by_inode(folders: Collection[str]) -> Iterator[tuple[tuple[int, int], str]]:
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if _is_read(entry.name):
                    found = entry.stat()
                    yield (found.st_dev, found.st_ino), entry.path


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def mounts_of(pid: int | str, proc: Path = PROC) -> int | None:
    """The inode of a process's mount namespace; None where it is gone or another user's."""
    try:
        return os.stat(f"{proc}/{pid}/ns/mnt").st_ino  # noqa: PTH116
    except OSError:
        return None


def open_files(pid: int, proc: Path = PROC) -> Iterator[tuple[str, str]]:
    """The descriptors of a process and what each of them is; none where it is gone, or another user's."""
    base = f"{proc}/{pid}/fd"
    try:
        with os.scandir(base) as entries:
            numbers = [entry.name for entry in entries]
    except OSError:
        return
    for number in numbers:
        try:
            target = os.readlink(f"{base}/{number}")  # noqa: PTH115  # a Path costs twice the call
        except OSError:  # closed meanwhile
            continue
        yield number, target


def is_shown(pid: int, proc: Path = PROC) -> bool:
    """Whether the kernel shows us what the process holds open: not that of another user, or of one that it protects."""
    try:
        with os.scandir(f"{proc}/{pid}/fd"):
            return True
    except OSError:
        return False


# Find the process that opens its file anew for each line: no look at open files sees it, but what it writes rises with the file.
#
# Of the Python processes of the file's owner, one that has written less than the file has grown is not the writer. After some looks the
# writer is the only one left whose command line names the file or a folder of it, else the only one left, if it works in a folder above;
# after many more looks the only one of those left that does.

LOOKS, MAX_LOOKS = (
    5,
    20,
)  # in which the file has grown: before a process is taken for the writer, and until the search is given up
FEW_LOOKS = 3  # ... where only one process is left that can be it: some files grow once an epoch
MANY_LOOKS = (
    15  # ... where others are left, but only one of them works in a folder above: others write as steadily elsewhere
)
MAX_ASKED = 3600  # looks in all
LOOK_EVERY_S = 1.0
MAX_SEARCHES = 4  # at a time: each costs about 2 ms a look; who is not found makes room for others
REST = 5  # looks that a run is left alone before its next search
SUFFIXES = (".jsonl", ".csv", ".tsv", *TEXT_SUFFIXES)
WHOLE = re.compile(r"trainer_state\.json|(all|train|eval|test)_results\.json")
CHECKPOINT = re.compile(r"checkpoint-\d+")


class _Search(NamedTuple):
    """Of one run. What the file has grown between two looks was written after the first one's end and before the second one's begin."""

    written: dict[int, int]  # by pid of those who may be the writer: bytes, before `size` was asked for
    size: int  # bytes of the run's files
    looked_s: float  # CLOCK_MONOTONIC
    asked: int
    looks: int  # those before which the file had grown

    @property
    def is_over(self) -> bool:
        """It leads nowhere: nothing is written, or too many may be the writer."""
        return self.asked >= MAX_ASKED or self.looks >= MAX_LOOKS

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
        found = (
            self._sure(left, activity, search.looks)
            if search.looks >= (FEW_LOOKS if len(left) == 1 else LOOKS)
            else None
        )
        if found is not None or not left or grown < 0 or search.is_over:
            del self._searches[run]
            self._ended_s[run] = now_s
        return found

    def _sure(self, left: Collection[int], activity: RunActivity, looks: int) -> int | None:
        able = {pid for pid in left if not is_launcher(pid, self._proc)}
        tops = [pid for pid in able if able.isdisjoint(ancestors(pid, self._proc))]
        by_name = [pid for pid in tops if self._names(pid, activity)]
        sure = by_name or [pid for pid in tops if self._works_above(pid, activity)]
        return sure[0] if len(sure) == 1 and (by_name or len(tops) == 1 or looks >= MANY_LOOKS) else None

    def _has_room(self, run: str, now_s: float) -> bool:
        if now_s - self._ended_s.get(run, -math.inf) < REST * self._every_s:
            return False
        if len(self._searches) < MAX_SEARCHES:
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
        able = [pid for pid in pids if runs_python(pid, self._proc) and uid_of(pid, self._proc) in owners]
        dashboards = self._dashboards(able)
        return [pid for pid in able if pid not in taken and pid not in dashboards]

    def _dashboards(self, pids: Iterable[int]) -> set[int]:
        """Collectors and the servers that have started them: they write whenever a line comes."""
        collectors = {pid for pid in pids if started(command_of(pid, self._proc))[0] == "collector"}
        return collectors | {above for pid in collectors if (above := parent(pid, self._proc)) is not None}


def _files_of(activity: RunActivity) -> list[Path]:
    if activity.files:
        return [activity.folder / name for name in activity.files]
    if activity.single_file:
        return [activity.folder / f"{activity.run}{suffix}" for suffix in SUFFIXES]
    files: list[Path] = []
    for folder in (activity.folder, *(activity.folder / part for part in activity.parts)):
        with suppress(OSError), os.scandir(folder) as entries:
            found = list(entries)
            files += [Path(entry.path) for entry in found if _is_reader(entry.name)]
            checkpoints = (Path(entry.path) for entry in found if CHECKPOINT.fullmatch(entry.name) and entry.is_dir())
            files += [state for folder in checkpoints for state in folder.glob("trainer_state.json")]
    return files


def _is_reader(name: str) -> bool:
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
