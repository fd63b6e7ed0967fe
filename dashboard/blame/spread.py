"""Whether work takes longer everywhere: in the same proportion in all of its parts, as it does where something else takes the cores."""

from __future__ import annotations

import numpy as np

from ..flame.joining import at_work
from ..flame.owning import kinds_of
from ..flame.traces import Floats, Ints, Traces
from ..flame.trust import LineOf

WORK = 0.7  # of the slowdown: less is time spent waiting
IN_PROPORTION = 0.35  # of what the parts would shift if one took all of it
LARGEST = 0.75  # of normal's work in one function: that it took longer, and that all did, is the same


def grows_everywhere(
    window: Traces, normal: Traces, per: tuple[float, float], slowdown_s: float, own_folder: str, line_of: LineOf
) -> bool:
    """By the own functions in which the main thread works. `per`: units (or seconds) of window and normal."""
    here, there = _by_function(at_work(window, line_of), at_work(normal, line_of), own_folder)
    here, there = here / per[0], there / per[1]
    excess_s = float(here.sum() - there.sum())
    if excess_s <= 0 or excess_s < WORK * slowdown_s or there.max(initial=0.0) > LARGEST * there.sum() or not there.sum():
        return False
    shifted = 0.5 * float(np.abs(here / here.sum() - there / there.sum()).sum())
    return shifted <= IN_PROPORTION * excess_s / float(here.sum())


def _by_function(window: Traces, normal: Traces, own_folder: str) -> tuple[Floats, Floats]:
    """Seconds in each function: the last own one of a stack, or its last where none is."""
    numbers: dict[tuple[str, str], int] = {}
    leaves: list[Ints] = []
    for side in (window, normal):
        kinds = kinds_of(side.frames, own_folder)
        last = [next((i for i in reversed(stack) if kinds[i] == "own"), stack[-1] if stack else None) for stack in side.stacks]
        names = [side.frames[i][:2] if i is not None else ("", "") for i in last]
        leaves.append(np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64))
    here, there = (
        np.bincount(leaf[side.stack] if len(leaf) else [], side.seconds, len(numbers)).astype(np.float64)
        for leaf, side in zip(leaves, (window, normal), strict=True)
    )
    return here, there
