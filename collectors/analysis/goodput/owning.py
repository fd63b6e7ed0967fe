"""Whose each moment is: attempts that overlap share no second."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..stacks.traces import Floats, Ints
from .spans import AttemptSpan


class Stretches(NamedTuple):
    """From the first start to the last end, without gap or overlap, in order."""

    start_s: Floats
    end_s: Floats
    attempt: Ints  # -1 between attempts


def usable(attempts: Sequence[AttemptSpan]) -> list[AttemptSpan]:
    """By their start, those with finite times; one that ends before it begins ends where it begins."""
    known = (span for span in attempts if math.isfinite(span.start_s) and math.isfinite(span.end_s))
    return sorted((span._replace(end_s=max(span.start_s, span.end_s)) for span in known), key=tuple)


def stretches_of(attempts: Sequence[AttemptSpan]) -> Stretches:
    """A moment belongs to the attempt that began last, of those that have not ended. `attempts` are in order of their start."""
    bounds = sorted({bound for span in attempts for bound in (span.start_s, span.end_s)})
    waiting: list[int] = []  # the newest on top
    following = 0
    found: list[tuple[float, float, int]] = []
    for start_s, end_s in pairwise(bounds):
        while following < len(attempts) and attempts[following].start_s <= start_s:
            heapq.heappush(waiting, -following)
            following += 1
        while waiting and attempts[-waiting[0]].end_s <= start_s:
            heapq.heappop(waiting)
        owner = -waiting[0] if waiting else -1
        if found and found[-1][2] == owner:
            found[-1] = (found[-1][0], end_s, owner)
        else:
            found.append((start_s, end_s, owner))
    columns = np.array(found, np.float64).reshape(-1, 3)
    return Stretches(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int64))
