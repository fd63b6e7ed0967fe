"""What a fix saves at most, where the device is the CPU: all that may go with a row, wherever else the ledger has counted it.

A function's calls into C are computing, and where it was without the GIL or a core, its lines are in the rows of these. Threads and
processes of the run that a wait is for take cores from its main thread, and from PyTorch's threads, which slows what that computes.
What is left is faster without the row, too: it finds its data in the caches.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from ..stacks.traces import Bools, Floats, Ints, Traces
from . import rules
from .account import CostRange
from .evidence.cores import CoreUse
from .evidence.stands import Stand
from .kinds import BUSY, KINDS, NUMBER, Charged, TimeKind

BESIDE: Final[tuple[TimeKind, ...]] = (
    "data",
    "wait",
    "lock",
    "collective",
    "gil",
    "cpu_own",
)  # whose causes are at work beside the main thread
VICTIMS: Final[tuple[TimeKind, ...]] = ("gil", "cpu_own", "cpu_taken")  # their lines lost the time, and did not take it


class Entries(NamedTuple):
    """Seconds of spans, each at a place; a span may have several."""

    places: list[Charged]
    place: Ints
    seconds: Floats
    span: Ints


class _Unit(NamedTuple):
    """What would go as a whole: a function, of the training loop a line."""

    name: str
    file: str
    line: int


def bounds_of(entries: Entries, main: Traces, stands: list[Stand], cores: CoreUse) -> dict[TimeKind, CostRange]:
    """By kind: nothing is hidden, so that the least and the most are what was counted."""
    kind = np.array([NUMBER[place.kind] for place in entries.places], np.int64)[entries.place]
    sums = np.bincount(kind, entries.seconds, len(KINDS))
    covered_s = float(main.seconds.sum())
    units = _units(main, stands)
    found: dict[TimeKind, CostRange] = {}
    for number in np.flatnonzero(sums > 0).tolist():
        own = KINDS[number]
        gone = kind == number
        if own not in (BUSY, *VICTIMS):
            gone |= _of_same_units(entries, gone, units, main, covered_s)
        gone_s = float(entries.seconds[gone].sum())
        computed_s = float(entries.seconds[(kind == NUMBER[BUSY]) & ~gone].sum())
        if own in BESIDE:
            gone_s += sum(float(entries.seconds[(kind == NUMBER[its]) & ~gone].sum()) for its in ("cpu_own", "gil"))
            gone_s += cores.beside_share * computed_s
        elif own == "cpu_taken":
            gone_s += min(gone_s, cores.others_share * computed_s)
        share = min(1.0, gone_s / covered_s)
        found[own] = CostRange(
            float(sums[number]), float(sums[number]), covered_s * (share + rules.REST.value * share * (1 - share))
        )
    return found


def _of_same_units(entries: Entries, row: Bools, units: list[_Unit | None], main: Traces, covered_s: float) -> Bools:
    """Which entries stand in a unit that has a part of the row worth a row of its own."""
    of_stack: dict[_Unit, list[int]] = {}
    for stack, unit in enumerate(units):
        if unit is not None:
            of_stack.setdefault(unit, []).append(stack)
    of_entry = main.stack[entries.span]
    row_s = np.bincount(of_entry[row], entries.seconds[row], len(units))
    large = [stacks for stacks in of_stack.values() if row_s[stacks].sum() > rules.SMALL.value / 100 * covered_s]
    marked = np.zeros(len(units), bool)
    marked[[stack for stacks in large for stack in stacks]] = True
    found: Bools = marked[of_entry]
    return found


def _units(main: Traces, stands: list[Stand]) -> list[_Unit | None]:
    """Of each stack; None where it waits for others, or in a backward pass, whose line stands for the whole model."""
    loops = _loops(main)
    return [
        _unit(stand, loops)
        if stand.frame is not None and stand.how in ("runs", "computes") and not stand.opaque
        else None
        for stand in stands
    ]


def _unit(stand: Stand, loops: Collection[tuple[str, str]]) -> _Unit:
    assert stand.frame is not None
    name, file, line = stand.frame
    return _Unit(name, file, line if (name, file) in loops else 0)


def _loops(main: Traces) -> set[tuple[str, str]]:
    """The functions that are on all stacks but those of other parts, such as a log between two steps."""
    seconds = np.bincount(main.stack, main.seconds, len(main.stacks))
    total: dict[tuple[str, str], float] = {}
    for stack, its_s in zip(main.stacks, seconds.tolist(), strict=True):
        if its_s:
            for function in {main.frames[frame][:2] for frame in stack}:
                total[function] = total.get(function, 0.0) + its_s
    return {function for function, its_s in total.items() if its_s >= rules.LOOP.value * float(seconds.sum())}
