"""Whether work takes longer everywhere: in the same proportion in all of its parts, as it does where something else takes the cores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...records import Frame
from ..stacks.joining import at_work
from ..stacks.owning import are_own, owner_of
from ..stacks.traces import Bools, Floats, Ints, Traces
from ..stacks.trust import LineOf

WORK = 0.7  # of the slowdown: less is time spent waiting
OUTSIDE = 0.15  # of the baseline's work, that others than the function must do to be compared with it
AS_MUCH = 0.5  # times its growth, by which the others must grow
IN_PROPORTION = 0.35  # of what the parts would shift if one took all of it
DOUBLED = 2.0  # times a line's share in the baseline
FEW_SAMPLES = 10  # of a line, whose share says nothing
CARRIED = 0.6  # of the growth
LARGEST = 0.75  # of the baseline's work in one function: that it took longer, and that all did, is the same


def grows_everywhere(
    function: Frame,
    window: Traces,
    baseline: Traces,
    divisors: tuple[float, float],
    slowdown_s: float,
    own_folder: str,
    line_of: LineOf,
) -> bool:
    """Whether what is not this function grew as well; where it is all of the work, its parts. `divisors`: units of window and baseline."""
    sides = at_work(window, line_of), at_work(baseline, line_of)
    here, there = (float(side.seconds.sum()) / divisor for side, divisor in zip(sides, divisors, strict=True))
    if not here - there > WORK * slowdown_s > 0 or not there:
        return False
    inside = [float(side.seconds[standing(side, function)].sum()) / divisor for side, divisor in zip(sides, divisors, strict=True)]
    if not inside[1]:
        return False
    if there - inside[1] >= OUTSIDE * there:
        return in_proportion((inside[0], inside[1]), (here - inside[0], there - inside[1]))
    return _parts_grow(*(seconds / units for seconds, units in zip(_by_function(*sides, own_folder), divisors, strict=True)))


def in_proportion(inside: Sequence[float], outside: Sequence[float]) -> bool:
    """Whether the rest grew about as much as what is looked at. Each of window and baseline."""
    if not inside[1] or outside[1] < OUTSIDE * (inside[1] + outside[1]):
        return False
    return outside[0] / outside[1] - 1 >= AS_MUCH * (inside[0] / inside[1] - 1)


def some_lines_grow(here: Floats, there: Floats, samples: int) -> bool:
    """Whether a few lines of a function carry the growth: those whose share of it at least doubled. Seconds per unit of each line."""
    shares = here / here.sum(), there / max(float(there.sum()), 1e-9)
    grown = (shares[0] >= DOUBLED * shares[1]) & (shares[0] * samples >= FEW_SAMPLES)
    return float((here - there)[grown].sum()) >= CARRIED * float(here.sum() - there.sum()) > 0


def _parts_grow(here: Floats, there: Floats) -> bool:
    """Seconds per unit of each part."""
    if there.max(initial=0.0) > LARGEST * there.sum():
        return False
    shifted = 0.5 * float(np.abs(here / here.sum() - there / there.sum()).sum())
    return shifted <= IN_PROPORTION * float(1 - there.sum() / here.sum())


def standing(traces: Traces, function: Frame) -> Bools:
    """The spans on whose stacks the function is."""
    places = {i for i, frame in enumerate(traces.frames) if frame[:2] == function[:2]}
    stacks = np.array([not places.isdisjoint(stack) for stack in traces.stacks], bool)
    there: Bools = stacks[traces.stack] if len(stacks) else np.zeros(0, bool)
    return there


def _by_function(window: Traces, baseline: Traces, own_folder: str) -> tuple[Floats, Floats]:
    """Seconds in each function: the last own one of a stack, or its last where none is."""
    numbers: dict[tuple[str, str], int] = {}
    leaves: list[Ints] = []
    for side in (window, baseline):
        own = are_own(side.frames, own_folder)
        last = [next((i for i in reversed(stack) if own[i]), stack[-1] if stack else None) for stack in side.stacks]
        names = [
            (owner_of(side.frames[i].name) or side.frames[i].name, side.frames[i].file) if i is not None else ("", "") for i in last
        ]
        leaves.append(np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64))
    here, there = (
        np.bincount(leaf[side.stack] if len(leaf) else [], side.seconds, len(numbers)).astype(np.float64)
        for leaf, side in zip(leaves, (window, baseline), strict=True)
    )
    return here, there
