"""How fast a run's steps are, and whether another run's are slower by more than both vary: medians of stretches, and their interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectors.analysis.baseline.steplog import StepLog
from collectors.analysis.stacks.traces import Range

STRETCHES = 20  # of consecutive steps: neighbouring steps are alike, stretches hardly
LEAST_STEPS = 2 * STRETCHES
WITHIN = 2.09  # standard errors that hold 95 %, of 20 stretches
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean
LEAST_CHANGE = 0.05  # runs of one script differ by less for no reason that anything records (docs/decisions/0202)

Floats = NDArray[np.float64]


class Pace(NamedTuple):
    """Seconds of a step in the steady part of a run; `error` is the standard error of its logarithm."""

    step_s: float
    error: float
    steps: int


class Change(NamedTuple):
    """`ratio` 0.18: a step takes 18 % longer than before; `lo` and `hi` are its 95 % interval, as far as both runs vary in themselves."""

    ratio: float
    lo: float
    hi: float

    @property
    def counts(self) -> bool:
        """Whether it is more than noise."""
        return abs(self.ratio) >= LEAST_CHANGE and (self.lo > 0 or self.hi < 0)


def steady_steps(log: StepLog, window: Range) -> Floats:
    """Seconds of each step of the window in order, without the first ones, checkpoints, validations and compilations."""
    if log.steps is None:
        return np.zeros(0)
    steps = log.steps
    inside = (steps.start_s >= window[0]) & (steps.end_s <= window[1])
    for lo, hi in log.left_out(window):
        inside &= ~((steps.end_s > lo) & (steps.start_s < hi))
    seconds: Floats = steps.seconds[inside]
    return seconds[np.isfinite(seconds) & (seconds > 0)]


def pace_of(seconds: Floats) -> Pace | None:
    """None of fewer steps than 40: they say too little."""
    if len(seconds) < LEAST_STEPS:
        return None
    medians = np.log([float(np.median(part)) for part in np.array_split(seconds, STRETCHES)])
    middle = float(np.median(medians))
    deviation = 1.4826 * float(np.median(np.abs(medians - middle)))
    return Pace(math.exp(middle), MEDIAN_ERROR * deviation / math.sqrt(STRETCHES), len(seconds))


def change_of(now: Pace, before: Pace) -> Change:
    log_ratio = math.log(now.step_s / before.step_s)
    half = WITHIN * math.hypot(now.error, before.error)
    return Change(math.expm1(log_ratio), math.expm1(log_ratio - half), math.expm1(log_ratio + half))
