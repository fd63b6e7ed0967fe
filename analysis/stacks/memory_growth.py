"""Which line keeps the memory by which a process grows, from its stacks and its resident memory at each sample."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeAlias

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame
from collectors.store.store import ResidentMemory, StackColumns

from .frames import are_own, owner_of
from .retention import Retention
from .trust import LineOf

SAME_LOOK_S = 0.002  # the threads of a process are looked at in less, and its memory after them
NEIGHBOURS_S = 0.1  # between two samples: what lies farther apart says nothing about the lines between
STAYS = 0.9  # of the samples: a function that has been on the stack all the time
NEARLY = 0.6  # of the growth that the best line has: others with so much cannot be told from it
MAX_LINES = 3
MAX_SOURCE_LINES, BLANK_LINES = 20_000, 100


_Place: TypeAlias = list[
    tuple[int, str]
]  # line and function of each own frame, from the root: in the order of the source


def keeping_lines(
    stacks: StackColumns, process: int, memory: ResidentMemory, own_folder: str, line_of: LineOf
) -> list[Frame]:
    """At most three lines that cannot be told apart, those with most growth first; [] where the stacks do not say.

    New pages are taken by whoever asks once the free ones are used up, often the statement after the one that keeps them. So the
    growth names functions: each rise of the memory above all that it was before counts for those that the thread was in or came through
    between two samples. The statements in them that keep what they are given (retention.py) are the candidates, and share it.
    """
    mine = stacks.process == process
    own = are_own(stacks.frames, own_folder)
    files: dict[str, Retention] = {}
    grown: dict[Frame, float] = defaultdict(float)
    for tid in np.unique(stacks.tid[mine]).tolist():
        time_s, stack, size = _observed(stacks, mine & (stacks.tid == tid), memory)
        paths, at = _paths(stacks, stack, own)
        always = _always(paths, at)
        kept = [_kept(path, always, files, line_of) for path in paths]
        places = [[(frame.line, frame.name) for frame in path] for path in paths]
        rises = np.diff(np.maximum.accumulate(size))
        near = (rises > 0) & (np.diff(time_s) < NEIGHBOURS_S)
        pairs, number = np.unique(np.stack([at[:-1][near], at[1:][near]], axis=1), axis=0, return_inverse=True)
        for (before, after), rise in zip(
            pairs.tolist(), np.bincount(number.reshape(-1), rises[near]).tolist(), strict=True
        ):
            between = (kept[i] for i, place in enumerate(places) if _is_between(place, places[before], places[after]))
            lines = set().union(*between)
            for line in lines:
                grown[line] += rise / len(lines)
    best = max(grown.values(), default=0.0)
    named = sorted((line for line in grown if grown[line] >= NEARLY * best), key=lambda line: -grown[line])
    return named if len(named) <= MAX_LINES else []


def _paths(stacks: StackColumns, stack: Ints, own: list[bool]) -> tuple[list[list[Frame]], Ints]:
    """The different paths of own frames, from the root, and the number of that of each sample."""
    used, at = np.unique(stack, return_inverse=True)
    numbers: dict[tuple[int, ...], int] = {}
    path = np.array(
        [numbers.setdefault(tuple(i for i in stacks.stacks[one] if own[i]), len(numbers)) for one in used.tolist()],
        np.int64,
    )
    return [[stacks.frames[i] for i in each] for each in numbers], path[at] if len(path) else at


def _kept(path: list[Frame], always: set[tuple[str, str]], files: dict[str, Retention], line_of: LineOf) -> set[Frame]:
    """The keeping statements of the functions on a path."""
    found = set()
    for frame in path:
        if frame.file not in files:
            files[frame.file] = Retention(_source(frame.file, line_of))
        name = owner_of(frame.name) or frame.name
        stays = (name, frame.file) in always
        found |= {Frame(function, frame.file, line) for function, line in files[frame.file].lines(frame.line, stays)}
    return found


def _observed(stacks: StackColumns, chosen: Bools, memory: ResidentMemory) -> tuple[Floats, Ints, Floats]:
    """Time, stack and resident bytes at the samples of one thread at which either had changed, in order."""
    time_s, stack = stacks.time_s[chosen], stacks.stack[chosen]
    end_s = time_s + stacks.duration_s[chosen]
    size = np.searchsorted(memory.time_s, time_s + SAME_LOOK_S, side="right") - 1
    span = np.searchsorted(time_s, memory.time_s, side="right") - 1
    known, inside = size >= 0, span >= 0
    inside[inside] = (memory.time_s[inside] - time_s[span[inside]] > SAME_LOOK_S) & (
        memory.time_s[inside] < end_s[span[inside]]
    )
    when = np.concatenate([time_s[known], memory.time_s[inside]])
    order = np.argsort(when, kind="stable")
    which = np.concatenate([stack[known], stack[span[inside]]]).astype(np.int64)
    return when[order], which[order], np.concatenate([memory.bytes[size[known]], memory.bytes[inside]])[order]


def _is_between(place: _Place, before: _Place, after: _Place) -> bool:
    """Both ends included. Of a loop whose second look is at an earlier line, what comes after the first one or before the second."""
    if before <= after:
        return before <= place <= after
    return place >= before or place <= after


def _always(paths: list[list[Frame]], at: Ints) -> set[tuple[str, str]]:
    """The functions that are on the stack nearly all the time, by name and file."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for path, count in zip(paths, np.bincount(at, minlength=len(paths)).tolist(), strict=True):
        for function in {(frame.name, frame.file) for frame in path}:
            counts[function] += count
    return {function for function, count in counts.items() if count >= STAYS * len(at)}


def _source(file: str, line_of: LineOf) -> str:
    found: list[str] = []
    for number in range(1, MAX_SOURCE_LINES):
        found.append(line_of(file, number))
        if number > BLANK_LINES and not any(found[-BLANK_LINES:]):
            break
    return "\n".join(found)
