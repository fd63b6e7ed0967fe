"""The parts that a program consists of, and what they have in common: all take longer where something else takes the cores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np

from ...records import Frame
from .owning import are_own, owner_of
from .traces import Bools, Floats, Ints, Traces

CAP = 0.15  # of all work, by which a part counts at most: what many parts have in common is common, not what a large one does
ALWAYS = 0.9  # of all time
SEEN = 0.005  # of the baseline's work: the growth of a smaller part is not known

Function: TypeAlias = tuple[str, str]  # name and file


def parts_of(sides: Sequence[Traces], own_folder: str, always: Collection[Function]) -> list[Ints]:
    """The number of the part of the program that each stack of each side is in: its deepest own function.

    Functions that are always there, `always`, count line by line; a stack without own code counts by its last function.
    """
    numbers: dict[tuple[str, str, int], int] = {}
    found = []
    for side in sides:
        own = are_own(side.frames, own_folder)
        names = [(owner_of(frame.name) or frame.name, frame.file) for frame in side.frames]
        keys = [(*name, frame.line if name in always else 0) for name, frame in zip(names, side.frames, strict=True)]
        last = [next((i for i in reversed(stack) if own[i]), stack[-1] if stack else None) for stack in side.stacks]
        found.append(
            np.array(
                [numbers.setdefault(keys[i] if i is not None else ("", "", 0), len(numbers)) for i in last], np.int64
            )
        )
    return found


def common_ratio(here: Floats, there: Floats) -> float | None:
    """By which factor most parts of the work differ between two sides, each in seconds per unit of each part; None if too little is seen.

    The median over all parts, large ones counting little more than small ones; of two answers the smaller.
    """
    seen = there >= SEEN * max(float(there.sum()), 1e-12)
    if not seen.any():
        return None
    ratio, weight = here[seen] / there[seen], np.minimum(there[seen], CAP * there.sum())
    order = np.argsort(ratio, kind="stable")
    reached = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(reached, 0.5 * reached[-1])])


def standing(traces: Traces, function: Frame) -> Bools:
    """The spans on whose stacks the function is."""
    stacks = on_stacks(traces, function)
    there: Bools = stacks[traces.stack] if len(stacks) else np.zeros(0, bool)
    return there


def on_stacks(traces: Traces, function: Frame) -> Bools:
    """The stacks on which the function is, itself or by a part of it."""
    places = {i for i, frame in enumerate(traces.frames) if frame[:2] == function[:2]}
    return np.array([not places.isdisjoint(stack) for stack in traces.stacks], bool)


def always_there(traces: Traces) -> set[Function]:
    """The functions that are on the stack nearly all the time."""
    seconds = np.bincount(traces.stack, traces.seconds, len(traces.stacks)).tolist()
    function = [frame[:2] for frame in traces.frames]
    total: dict[Function, float] = defaultdict(float)
    for stack, its_s in zip(traces.stacks, seconds, strict=True):
        if its_s:
            for each in {function[i] for i in stack}:
                total[each] += its_s
    return {each for each, its_s in total.items() if its_s >= ALWAYS * sum(seconds)}
