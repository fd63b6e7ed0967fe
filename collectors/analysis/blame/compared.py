"""A window, its baseline, and the stacks of both, which are read at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...store.protocol import StackColumns
from ...store.question import MOST_SPANS, TooMuch
from ..baseline import mix
from ..baseline.steady import BEFORE_S, WINDOWS, baseline_of, is_part
from ..baseline.steplog import StepLog
from ..history import History
from ..stacks.joining import at_work
from ..stacks.serving import served
from ..stacks.traces import Range, Traces
from ..stacks.trust import LineOf, no_source, traces_of
from . import gpu_look

WHOLE = 0.9  # of the wanted baseline: more need not be looked for
WITHOUT_UNITS_S = 600.0  # how far the baseline may lie where all stacks must be read to find it

AFFORDABLE = MOST_SPANS // 2


class Compared(NamedTuple):
    columns: StackColumns  # of all processes, from the first of the ranges to the last
    asked: Range
    window: Range  # the same, or the whole units that a short one lies in
    baseline: list[Range]  # [] where there is nothing to compare with
    log: StepLog
    period_s: float = 0.0  # without units: how long takes what repeats itself; 0 for under a second


def read(
    history: History, window: Range, log: StepLog, baseline: Range | None = None, windows: int = WINDOWS
) -> Compared:
    """The window beside its run's baseline, or beside `baseline` where that is given.

    Reads first what would be enough if all of it was recorded. Where that is more than may be read at once, as with a hundred
    processes, the nearest of it is enough. Raises TooMuch where the window alone is more than that.
    """
    asked = window
    if baseline is not None:
        return Compared(history.stacks(_hull([window, baseline])), asked, window, [baseline], log)
    paces = log.paces
    if paces is not None and is_part(window, paces):
        window = paces.whole(window)
    left_out = log.left_out(window)
    try:
        if paces is not None:
            wanted = baseline_of(asked, paces, left_out=left_out, windows=windows)
            columns = history.stacks(_hull([window, *wanted]))
            found = baseline_of(asked, paces, left_out=left_out, recorded=columns.covered, windows=windows)
            if _length(found) >= WHOLE * _length(wanted):
                return Compared(columns, asked, window, found, log)
        around_s = BEFORE_S if paces is not None else WITHOUT_UNITS_S
        columns = history.stacks((window[0] - around_s, window[1] + around_s))
    except TooMuch:
        around_s = _affordable_s(history, window)
        columns = history.stacks((window[0] - around_s, window[1] + around_s))
    around = (window[0] - around_s, window[1] + around_s)
    activity = None if paces is not None else gpu_look.activity(history, around)
    mains = _mains(columns) if paces is None and activity is None else None
    found = baseline_of(
        asked, paces, activity=activity, mains=mains, left_out=left_out, recorded=columns.covered, windows=windows
    )
    return Compared(columns, asked, window, found, log, mix.period_s(mains) if mains is not None else 0.0)


def _affordable_s(history: History, window: Range) -> float:
    """How far around the window what was recorded is little enough to be read at once."""
    counts = history.stack_counts((window[0] - BEFORE_S, window[1] + BEFORE_S))
    away = sorted((max(window[0] - start_s, end_s - window[1], 0.0), count) for start_s, end_s, count in counts)
    affordable_s, spans = 0.0, 0
    for far_s, count in away:
        spans += count
        if spans > AFFORDABLE:
            break
        affordable_s = far_s
    return affordable_s


def main_threads(traces: Traces, rank: int) -> Traces:
    """The spans of one rank's main thread."""
    return traces.take(
        traces.main & traces.of([role == "main" and its == rank for _, its, _, role in traces.processes])
    )


def other_threads(traces: Traces, rank: int, line_of: LineOf = no_source) -> Traces:
    """What the other threads of a rank's own process did, without their waits and their sleep."""
    mine = traces.take(
        ~traces.main & traces.of([role == "main" and its == rank for _, its, _, role in traces.processes])
    )
    return at_work(mine, line_of)


def _mains(columns: StackColumns) -> Traces:
    """A run's main threads, as they stand: what they wait for is theirs. Of a service all of its work."""
    traces = traces_of(columns)
    traces = served(traces) if traces.serves else traces
    return traces.take(traces.main & traces.of([role == "main" for *_, role in traces.processes]))


def _hull(ranges: Sequence[Range]) -> Range:
    return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)


def _length(ranges: Sequence[Range]) -> float:
    return sum(hi - lo for lo, hi in ranges)
