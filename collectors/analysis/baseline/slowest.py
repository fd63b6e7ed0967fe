"""The stretch of a run in which its steps lost the most time, for a look at a run of which no window was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..stacks.traces import Range
from .steady import SLOWEST
from .units import Units

LEAST_LOST_S = 0.5  # less is no stretch that a report is about
LEAST_LOST = 0.005  # of all steps' time


def slowest_stretch(units: Units, left_out: Sequence[Range] = ()) -> Range | None:
    """The units in a row whose seconds beyond 1.5 times the usual add up to most; None where steps are steady.

    `left_out` is what is slow by its nature: the first steps, checkpoints, validations. A stretch does not reach over it.
    """
    if not len(units.end_s):
        return None
    seconds = units.end_s - units.start_s
    lost_s = seconds - SLOWEST * units.usual_s() * units.units
    never = 1.0 + float(np.clip(lost_s, 0, None).sum())
    for lo, hi in left_out:
        lost_s[(units.end_s > lo) & (units.start_s < hi)] = -never
    gap_s = np.r_[0.0, units.start_s[1:] - units.end_s[:-1]]
    ends = np.cumsum(lost_s) - np.cumsum(np.where(gap_s > 0, never, 0.0))  # it does not reach over a restart either
    starts = np.r_[0.0, np.cumsum(lost_s)[:-1]] - np.cumsum(np.where(gap_s > 0, never, 0.0))
    least = np.minimum.accumulate(starts)
    last = int(np.argmax(ends - least))
    if float(ends[last] - least[last]) < max(LEAST_LOST_S, LEAST_LOST * float(seconds.sum())):
        return None
    first = int(np.flatnonzero(starts[: last + 1] == least[last])[-1])
    return float(units.start_s[first]), float(units.end_s[last])
