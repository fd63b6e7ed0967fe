"""Units for a run that logs values and no steps: from one of its log lines to the next."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..stacks.traces import Range
from .steady import BEFORE_S
from .steplog import StepLog
from .units import Units, units_of

LEAST_LINES = 20  # around the window
LONGEST_S = 15.0  # between two lines, in the median
AT_ONCE_S = 1e-3  # lines that came so close together were written together
LINE = "logged line"


def with_lines(log: StepLog, history: History, window: Range, rank: int = 0, around_s: float = BEFORE_S) -> StepLog:
    """The log with its lines as units, if it has no others and lines come often enough; else as it is."""
    if log.units is not None or history.is_service:
        return log
    stepless = [series for series in history.series(rank) if series.first_step is None and series.points >= LEAST_LINES]
    most = max(stepless, key=lambda series: series.points, default=None)
    if most is None:
        return log
    points = history.points([most], (window[0] - around_s, window[1] + around_s))[most.id]
    time_s, segment = points.place[np.isfinite(points.place)], points.segment[np.isfinite(points.place)]
    last = np.flatnonzero(np.diff(time_s, append=np.inf) > AT_ONCE_S)  # of those that came together
    units = units_of(time_s[last], last + 1.0, segment[last])
    if units.units.sum() < LEAST_LINES or float(np.median(units.end_s - units.start_s)) > LONGEST_S:
        return log
    units = _until(units, history, window[1] + around_s)
    first = (most.first_time_s or 0.0) >= window[0] - around_s
    return log._replace(units=units, steps=units, unit_name=LINE, first=first)


def _until(units: Units, history: History, end_s: float) -> Units:
    return units.until(min(end_s, history.profiled_until() or 0.0))
