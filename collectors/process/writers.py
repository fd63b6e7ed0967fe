"""Find the processes that write a run's files: those that hold them open, or feed the pipe or terminal of a program that does."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..host.proc import PROC, ancestors, descendants, runs_python
from .launchers import is_launcher

MOST_PIPES = 8  # programs between a training and its log: python | grep | ts | tee


class Open(NamedTuple):
    """What one walk over /proc has found. About 3 us an open file."""

    files: dict[str, list[int]]  # by path, who holds it open for writing; files of the folders asked for only
    feeders: dict[str, list[int]]  # by pipe, who writes to it
    fed_by: dict[int, str]  # by pid, the pipe that is its standard input


def walk(folders: Collection[str], proc: Path = PROC) -> Open:
    """`folders` are resolved paths; files whose names begin with a dot are left out."""
    found = Open({}, {}, {})
    pipes: dict[str, list[tuple[int, str]]] = {}
    with os.scandir(proc) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    for pid in pids:
        _look_at(pid, proc, folders, found, pipes)
    for pid in {pid for pids in found.files.values() for pid in pids}:
        _follow_pipes(pid, proc, found, pipes)
    return found


def writers_of(paths: Iterable[str], found: Open, proc: Path = PROC) -> list[int]:
    """The processes that a run consists of: without their own children, without launchers, shells and what carries their output."""
    holders = {pid for path in paths for pid in found.files.get(path, ())}
    sources = {source for holder in holders for source in _sources(holder, found, proc)}
    pythons = [pid for pid in sources if runs_python(pid, proc)]
    able = {pid for pid in pythons if not is_launcher(pid, proc)} or (sources if not pythons else set())
    return sorted(pid for pid in able if not able.intersection(ancestors(pid, proc)))


def _sources(holder: int, found: Open, proc: Path) -> Iterator[int]:
    """The process that holds a file; where that is no Python, or a launcher, those that feed its pipe and the Pythons below it, too."""
    waiting, known = [holder], {holder}
    for _ in range(MOST_PIPES):
        above: list[int] = []
        for pid in waiting:
            yield pid
            if not runs_python(pid, proc) or is_launcher(pid, proc):
                above += found.feeders.get(found.fed_by.get(pid, ""), ())
                above += [child for child in descendants(pid, proc) if runs_python(child, proc)]
        waiting = [pid for pid in above if pid not in known]
        known.update(waiting)


def _look_at(pid: int, proc: Path, folders: Collection[str], found: Open, pipes: dict[str, list[tuple[int, str]]]) -> None:
    base = f"{proc}/{pid}/fd"
    try:
        with os.scandir(base) as entries:
            numbers = [entry.name for entry in entries]
    except OSError:  # gone, or another user's
        return
    for number in numbers:
        try:
            target = os.readlink(f"{base}/{number}")  # noqa: PTH115  # a Path costs twice the call
        except OSError:  # closed meanwhile
            continue
        if target.startswith("pipe:"):
            if number == "0":
                found.fed_by[pid] = target
            pipes.setdefault(target, []).append((pid, number))
        elif target.startswith("/"):
            folder, _, name = target.rpartition("/")
            if folder in folders and not name.startswith(".") and _for_writing(proc, pid, number):
                found.files.setdefault(target, []).append(pid)


def _follow_pipes(pid: int, proc: Path, found: Open, pipes: dict[str, list[tuple[int, str]]]) -> None:
    """Who feeds the standard input of a process, and of whoever feeds it."""
    pipe = found.fed_by.get(pid)
    if pipe is None or pipe in found.feeders:
        return
    found.feeders[pipe] = [one for one, number in pipes[pipe] if one != pid and _for_writing(proc, one, number)]
    for feeder in found.feeders[pipe]:
        _follow_pipes(feeder, proc, found, pipes)


def _for_writing(proc: Path, pid: int, number: str) -> bool:
    with suppress(OSError, IndexError, ValueError):  # closed meanwhile
        flags = Path(f"{proc}/{pid}/fdinfo/{number}").read_text().split("flags:", 1)[1].split(maxsplit=1)[0]
        return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
    return False
