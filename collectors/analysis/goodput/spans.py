"""What goodput is computed from: attempts, rows of the step log, and stretches that phases and events name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ..stacks.traces import Floats

StartedBy: TypeAlias = Literal["start event", "process seen", "run.json", "first line"]
EndedBy: TypeAlias = Literal["end event", "process exit", "last line", "alive"]
SpanKind: TypeAlias = Literal["validation", "checkpoint", "initialisation"]
SPAN_KINDS: tuple[SpanKind, ...] = ("checkpoint", "validation", "initialisation")  # an earlier one takes its time first


class AttemptSpan(NamedTuple):
    """One process of the run's lowest rank, from its start to its end. Times are Unix seconds."""

    start_s: float
    end_s: float
    started_by: StartedBy = "start event"
    ended_by: EndedBy = "end event"
    run: str = ""

    @property
    def alive(self) -> bool:
        return self.ended_by == "alive"


class StepRows(NamedTuple):
    """Lines of the step log, or neighbouring ones together. All columns have the same length."""

    first_s: Floats  # when the first of its lines was logged
    time_s: Floats  # and the last
    step: Floats  # of the last; NaN where it has none
    lines: Floats


NO_ROWS = StepRows(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))


class NamedSpans(NamedTuple):
    """Stretches that took `seconds` of the time from `start_s` to `end_s`, in any order."""

    start_s: Floats
    end_s: Floats
    seconds: Floats


NO_SPANS = NamedSpans(np.zeros(0), np.zeros(0), np.zeros(0))


class Named(NamedTuple):
    """All that is said of one kind of time."""

    phases: NamedSpans = NO_SPANS  # of the step log
    events: NamedSpans = NO_SPANS
    marks_s: Floats = np.zeros(0)  # when one ended whose duration is not logged


def rows_of(time_s: Floats, step: Floats) -> StepRows:
    """A row a line."""
    return StepRows(time_s, time_s, step, np.ones(len(time_s)))


def whole_spans(ranges: Sequence[tuple[float, float]]) -> NamedSpans:
    """Stretches all of whose time is meant."""
    bounds = np.asarray(ranges, np.float64).reshape(-1, 2)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    return NamedSpans(bounds[:, 0], bounds[:, 1], bounds[:, 1] - bounds[:, 0])


def sorted_rows(rows: StepRows) -> StepRows:
    """By time, those with a time; rows that end at one moment are one."""
    known = np.isfinite(rows.time_s)
    rows = StepRows(*(column[known] for column in rows))
    order = np.lexsort((np.where(np.isnan(rows.step), -np.inf, rows.step), rows.time_s))
    rows = StepRows(*(column[order] for column in rows))
    if not len(rows.time_s):
        return NO_ROWS
    last = np.r_[np.diff(rows.time_s) > 0, True]
    first = np.flatnonzero(np.r_[True, last[:-1]])
    first_s = np.where(np.isfinite(rows.first_s), np.minimum(rows.first_s, rows.time_s), rows.time_s)
    return StepRows(
        np.minimum.reduceat(first_s, first),
        rows.time_s[last],
        rows.step[last],
        np.add.reduceat(np.maximum(rows.lines, 1.0), first),
    )


def seconds_until(spans: NamedSpans, moments: Floats, *, joined: bool) -> Floats:
    """Of these stretches, the seconds before each of the moments, which are in order.

    Overlapping stretches are never counted twice: `joined` makes one of them, else each begins where the one before ends.
    """
    good = np.isfinite(spans.start_s) & np.isfinite(spans.end_s) & (spans.end_s > spans.start_s)
    good &= np.isfinite(spans.seconds) & (spans.seconds > 0)
    if not good.any():
        return np.zeros(len(moments))
    start_s, end_s, seconds = (column[good] for column in spans)
    order = np.lexsort((seconds, end_s, start_s) if joined else (seconds, start_s, end_s))
    start_s, end_s, seconds = start_s[order], end_s[order], seconds[order]
    reach = np.maximum.accumulate(end_s)
    if joined:
        first = np.r_[True, start_s[1:] > reach[:-1]]
        start_s, end_s = start_s[first], reach[np.r_[np.flatnonzero(first)[1:] - 1, len(reach) - 1]]
        seconds = end_s - start_s
    else:
        start_s = np.maximum(start_s, np.r_[-np.inf, reach[:-1]])
        kept = end_s > start_s
        start_s, end_s, seconds = start_s[kept], end_s[kept], np.minimum(seconds, end_s - start_s)[kept]
    places = np.column_stack((start_s, end_s)).ravel()
    passed = np.cumsum(seconds)
    counted = np.column_stack((np.r_[0.0, passed[:-1]], passed)).ravel()
    found: Floats = np.interp(moments, places, counted)
    return found
