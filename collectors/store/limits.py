"""Limits of a store: what is deleted, paused or made coarser, by age and by size."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple


class Thinning(NamedTuple):
    """How samples of the machine become coarser with age. Sums, counts, least and greatest values of each cell stay; runs are left alone."""

    after_s: float  # age
    kept: Callable[
        [float, float], Sequence[tuple[float, float]]
    ]  # of a range, the windows whose samples stay as they are
    whole: Collection[str] = ()  # series that have no mean, such as bit masks: all of their points stay
    counters: Collection[str] = ()  # series whose last value stands for a cell, not their mean


class Limits(NamedTuple):
    """Limits of age and size. Runs are never deleted."""

    retention_s: float | None = None  # age of the machine's samples
    max_bytes: int | None = None  # of all files of the store
    pause: bool = True  # collection, where they are larger and nothing is left to delete
    thinning: Thinning | None = None  # None: nothing is thinned


NO_LIMITS = Limits()
