"""Units for a run that logs no steps: from one line of its log to the next of the same kind."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..stacks.traces import Floats, Range
from .steady import BEFORE_S
from .steplog import StepLog
from .units import Units, units_of

LEAST_LINES = 20  # around the window
LONGEST_S = 15.0  # between two lines, in the median
AT_ONCE_S = 1e-3  # lines that came so close together were written together
LINE = "logged line"


def with_lines(log: StepLog, history: History, window: Range, rank: int = 0, around_s: float = BEFORE_S) -> StepLog:
    """The log with its lines as units, if it has no others and lines come often enough; else as it is.

    The lines of the series with most values count, else those that are most often written: they differ in their numbers only.
    """
    if log.units is not None or history.is_service:
        return log
    around = window[0] - around_s, window[1] + around_s
    for time_s in (_values(history, rank, around), history.line_times(around)):
        units = _units(time_s)
        if units is not None:
            units = units.until(min(around[1], history.profiled_until() or 0.0))
            return log._replace(units=units, steps=units, unit_name=LINE)
    return log


def _values(history: History, rank: int, around: Range) -> Floats:
    """When the series without steps that has most values got them."""
    stepless = [series for series in history.series(rank) if series.first_step is None and series.points >= LEAST_LINES]
    most = max(stepless, key=lambda series: series.points, default=None)
    return history.points([most], around)[most.id].place if most else np.zeros(0)


def _units(time_s: Floats) -> Units | None:
    time_s = np.sort(time_s[np.isfinite(time_s)])
    if len(time_s) < LEAST_LINES:
        return None
    last = np.flatnonzero(np.diff(time_s, append=np.inf) > AT_ONCE_S)  # of those that came together
    units = units_of(time_s[last], (last + 1).astype(np.float64), np.zeros(len(last), np.int64))
    return units if len(units.end_s) > 1 and float(np.median(units.end_s - units.start_s)) <= LONGEST_S else None
