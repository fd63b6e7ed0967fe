"""Find the processes that write a run's files: those that hold them open, or whose output a program carries into them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..proc import PROC, ancestors, command_of, descendants, environment_of, runs_python
from .identity import identity_of
from .launchers import is_launcher, is_launchers_command

NUMBERS = ".jsonl"
OUTPUT = ("1", "2")  # descriptors
MOST_PIPES = 8  # programs between a training and its log: python | grep | ts | tee


class Open(NamedTuple):
    """What one walk over /proc has found. About 3 us an open file."""

    files: dict[str, list[int]]  # by path, who holds it open for writing; files of the folders asked for only
    feeders: dict[str, list[int]]  # by pipe, who writes to it
    fed_by: dict[int, str]  # by pid, the pipe that is its standard input
    carried: dict[int, list[int]]  # by holder, the processes below it whose output it reads from pipes


def walk(folders: Collection[str], proc: Path = PROC) -> Open:
    """`folders` are resolved paths; files whose names begin with a dot are left out."""
    found = Open({}, {}, {}, {})
    pipes: dict[str, list[tuple[int, str]]] = {}
    outputs: dict[int, dict[str, str]] = {}
    with os.scandir(proc) as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    for pid in pids:
        _look_at(pid, proc, folders, found, pipes, outputs)
    for path, pids in found.files.items():
        found.files[path] = [pid for pid in pids if not _only_handed_on(pid, path, outputs, proc)]
    for pid in _pids(found.files):
        _follow_pipes(pid, proc, found, pipes)
    for pid in _pids(found.files) | _pids(found.feeders):
        if below := _carried_by(pid, proc, found, pipes, outputs):
            found.carried[pid] = below
    return found


def writers_of(paths: Iterable[str], found: Open, proc: Path = PROC) -> list[int]:
    """The processes that a run consists of: without their own children, without launchers, shells and what carries their output."""
    holders = {path: found.files.get(path, []) for path in paths}
    with_numbers = {pid for path, pids in holders.items() if path.endswith(NUMBERS) for pid in pids}
    sources = {source for pid in _pids(holders) for source in _sources(pid, with_numbers, found, proc)}
    pythons = [pid for pid in sources if runs_python(pid, proc)]
    able = {pid for pid in pythons if not is_launcher(pid, proc) or _writes_alone(pid, holders, proc)}
    able = able or (sources if not pythons else set())
    return sorted(pid for pid in able if not able.intersection(ancestors(pid, proc)))


def _pids(holders: Mapping[str, Collection[int]]) -> set[int]:
    return {pid for pids in holders.values() for pid in pids}


def _writes_alone(pid: int, holders: Mapping[str, Collection[int]], proc: Path) -> bool:
    """Whether it holds a file of numbers that no rank below it does: it trains, although it starts others as a launcher would."""
    alone = [pids for path, pids in holders.items() if path.endswith(NUMBERS) and pid in pids]
    if not alone or is_launchers_command(command_of(pid, proc)):
        return False
    ranks = {child for child in descendants(pid, proc) if identity_of(environment_of(child, proc)).rank is not None}
    return any(ranks.isdisjoint(pids) for pids in alone)


def _sources(holder: int, with_numbers: Collection[int], found: Open, proc: Path) -> Iterator[int]:
    """The process that holds a file; where that is no Python, or a launcher, those that feed its pipe and the Pythons below it, too.

    One that only copies the output of others is none: these are.
    """
    waiting, known = [holder], {holder}
    for _ in range(MOST_PIPES):
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


def _look_at(
    pid: int,
    proc: Path,
    folders: Collection[str],
    found: Open,
    pipes: dict[str, list[tuple[int, str]]],
    outputs: dict[int, dict[str, str]],
) -> None:
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
        if number in OUTPUT:
            outputs.setdefault(pid, {})[number] = target
        if target.startswith("pipe:"):
            if number == "0":
                found.fed_by[pid] = target
            pipes.setdefault(target, []).append((pid, number))
        elif target.startswith("/"):
            folder, _, name = target.rpartition("/")
            if folder in folders and not name.startswith(".") and _for_writing(proc, pid, number):
                found.files.setdefault(target, []).append(pid)


def _only_handed_on(pid: int, path: str, outputs: Mapping[int, Mapping[str, str]], proc: Path) -> bool:
    """Whether it has opened the file for somebody below it, whose output it is: a script that starts several trainings."""
    if path in outputs.get(pid, {}).values():
        return False
    return any(path in outputs.get(child, {}).values() for child in descendants(pid, proc))


def _carried_by(
    pid: int, proc: Path, found: Open, pipes: Mapping[str, list[tuple[int, str]]], outputs: Mapping[int, Mapping[str, str]]
) -> list[int]:
    """The processes below whose whole output it reads; one that is asked through a pipe and answers is its helper."""

    def reads(pipe: str) -> bool:
        return any(one == pid and not _for_writing(proc, one, number) for one, number in pipes.get(pipe, ()))

    def is_asked(child: int) -> bool:
        return any(one == pid and _for_writing(proc, one, number) for one, number in pipes.get(found.fed_by.get(child, ""), ()))

    below = [child for child in descendants(pid, proc) if len(outputs.get(child, {})) == len(OUTPUT)]
    return [child for child in below if all(map(reads, outputs[child].values())) and not is_asked(child)]


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
