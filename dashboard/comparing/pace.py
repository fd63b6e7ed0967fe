"""How fast a run's steps are, and whether another run's are slower by more than both vary: medians of stretches, and their interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectors.analysis.baseline.steplog import StepLog
from collectors.analysis.history import History
from collectors.analysis.stacks.traces import Range
from collectors.store.protocol import Series

STRETCHES = 20  # of consecutive steps: neighbouring steps are alike, stretches hardly
LEAST_STEPS = 2 * STRETCHES
WITHIN = 2.09  # standard errors that hold 95 %, of 20 stretches
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean
LEAST_CHANGE = 0.05  # runs of one script differ by less for no reason that anything records (docs/decisions/0202)
CORES_TAKEN = 0.25  # by other programs, more than beside the other run: worth a word,
FULL_PCT = 80.0  # and where all cores are so busy, the reason of all that follows (docs/decisions/0095)
BUSY, OF_RUN, OF_CORE = "host/cpu_pct", "host/run_cpu_pct", "host/cpu_core_pct"

Floats = NDArray[np.float64]


class HostLoad(NamedTuple):
    """While a run went on: how busy all cores were, and how many of them other programs kept busy."""

    busy_pct: float
    others_cores: float


class Pace(NamedTuple):
    """Seconds of a unit of work in the steady part of a run; `error` is the standard error of its logarithm."""

    step_s: float
    error: float
    steps: int
    quartiles_s: tuple[float, float]  # of the stretches
    unit: str = "step"  # what is counted; only paces of the same unit can be compared
    window: Range = (0.0, 0.0)
    host: HostLoad | None = None  # None where that was not measured


class Change(NamedTuple):
    """`ratio` 0.18: a step takes 18 % longer than before; `lo` and `hi` are its 95 % interval, as far as both runs vary in themselves."""

    ratio: float
    lo: float
    hi: float
    apart: bool  # the middle halves of both runs' stretches have nothing in common

    @property
    def counts(self) -> bool:
        """Whether it is more than noise."""
        return abs(self.ratio) >= LEAST_CHANGE and (self.lo > 0 or self.hi < 0) and self.apart


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
    low, high = np.exp(np.percentile(medians, [25, 75])).tolist()
    return Pace(math.exp(middle), MEDIAN_ERROR * deviation / math.sqrt(STRETCHES), len(seconds), (low, high))


def change_of(now: Pace, before: Pace) -> Change:
    log_ratio = math.log(now.step_s / before.step_s)
    half = WITHIN * math.hypot(now.error, before.error)
    slower, faster = (now, before) if log_ratio > 0 else (before, now)
    apart = slower.quartiles_s[0] > faster.quartiles_s[1]
    return Change(math.expm1(log_ratio), math.expm1(log_ratio - half), math.expm1(log_ratio + half), apart)


def taken(now: Pace, before: Pace) -> bool:
    """Whether other programs kept the slower run from the cores, and not the faster one: then the two cannot be compared."""
    slower, faster = (now, before) if now.step_s > before.step_s else (before, now)
    if slower.host is None or faster.host is None:
        return False
    more = slower.host.others_cores - faster.host.others_cores
    return more >= CORES_TAKEN and slower.host.busy_pct >= FULL_PCT


def load_of(history: History, window: Range) -> HostLoad | None:
    """None where the machine or the run itself was not measured then."""
    known = history.machine_series()
    cores = len({dict(series.labels).get("core") for series in known if series.name == OF_CORE})
    own = [series for series in known if series.name == OF_RUN and dict(series.labels).get("run") == history.run]
    busy_pct, own_pct = (
        _mean(history, some, window) for some in ([series for series in known if series.name == BUSY], own)
    )
    if not cores or busy_pct is None or own_pct is None:
        return None
    return HostLoad(busy_pct, max(0.0, cores * busy_pct / 100 - len(own) * own_pct / 100))


def _mean(history: History, series: Sequence[Series], window: Range) -> float | None:
    values = history.values(series, [window]) if series else {}
    found = next(iter(values.values()), [np.zeros(0)])[0]
    return float(found.mean()) if len(found) else None
