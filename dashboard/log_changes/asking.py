"""The lines of a run that its log difference and its crash are judged by: a bounded read of the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from collectors.analysis.logs.columns import TimeRange
from collectors.analysis.logs.crash import AROUND_S, Crash, crash_of
from collectors.analysis.logs.difference import LogDifference, difference
from collectors.process.activity import StateName
from collectors.redaction import may_hold_a_secret, redacted
from collectors.store.protocol import LogPage, LogQuery

from ..auth.viewing import sees_all
from . import kernel
from .masking import MaskedLines

MOST_INSIDE, MOST_BEFORE, MOST_AFTER = 10_000, 20_000, 10_000  # lines of the window, and on its sides
AROUND = 60.0  # of the window's own lengths that are read after it
SOURCES = (".py", ".pyx")  # a log may name any file: only code is shown, under the rules of `/source`
MOST_LAST = 3_000  # lines at the end of a run
CRASHED: frozenset[StateName] = frozenset(("failed", "killed", "ended", "stalled", "preempted", "requeued"))

if TYPE_CHECKING:
    from ..queries import RunDetail

ReadLogs = Callable[[LogQuery], LogPage]


class AskedLines(NamedTuple):
    """What `columns_of` has read."""

    masked: MaskedLines
    before: int | None  # lines before the window, where there are more than these; None where these are all
    too_many: int = 0  # lines in the window, where they are more than are looked at


def columns_of(logs: ReadLogs, run: str, window: TimeRange) -> AskedLines:
    """The lines of a window and around it, as columns. Lines are masked as they are read: 40,000 take about half a second."""
    lo, hi = window
    inside = logs(LogQuery(run, from_s=lo, to_s=hi, limit=MOST_INSIDE))
    if inside.total > len(inside.lines):
        return AskedLines(MaskedLines([]), None, inside.total)
    before = logs(LogQuery(run, to_s=_below(lo), limit=MOST_BEFORE))
    span_s = AROUND * (hi - lo)
    after = logs(LogQuery(run, from_s=_above(hi), to_s=hi + span_s, limit=MOST_AFTER))
    if after.total > len(after.lines):  # the nearest, not the last ones
        span_s *= 0.5 * len(after.lines) / after.total
        after = logs(LogQuery(run, from_s=_above(hi), to_s=hi + span_s, limit=MOST_AFTER))
    lines = [*before.lines, *inside.lines, *after.lines]
    return AskedLines(MaskedLines(lines), len(before.lines) if before.total > len(before.lines) else None)


class LogChanges:
    """Questions about what a run's log says."""

    def __init__(
        self,
        logs: ReadLogs,
        run: Callable[[str], RunDetail],
        show_sources: Callable[[str, Collection[str]], None],
        stepped_since: Callable[[str, float], Sequence[float]],
    ) -> None:
        """`stepped_since` gives when each step of a run was logged that was logged later than a time, in order."""
        self._logs, self._run, self._show_sources, self._stepped_since = logs, run, show_sources, stepped_since

    def difference(self, run: str, window: TimeRange) -> LogDifference:
        """What the log says in a window that it does not say otherwise. Raises NotFound."""
        found = columns_of(self._seen_logs, run, window)
        if found.too_many:
            reason = f"the window holds {found.too_many:,} lines, more than are looked at ({MOST_INSIDE:,}): choose a shorter one"
            return LogDifference("", [], 0, reason)
        masked = found.masked
        return difference(masked.columns, window, masked.templates, masked.values, lines_before=found.before)

    def _seen_logs(self, query: LogQuery) -> LogPage:
        """Without secrets for viewers, before lines are masked: a number of a secret would be a value, its letters a template."""
        page = self._logs(query)
        if sees_all():
            return page
        kept = [
            line._replace(text=redacted(line.text)) if may_hold_a_secret(line.text) else line for line in page.lines
        ]
        return page._replace(lines=kept)

    def crash(self, run: str) -> Crash | None:
        """Why a run ended that did not end by itself; None where it goes on or has finished, and where its lines do not say. Raises NotFound."""
        view = self._run(run).run
        if view.state not in CRASHED:
            return None
        lines = self._seen_logs(LogQuery(run, limit=MOST_LAST)).lines
        latest_s = max([view.stored.last_time_s or 0.0, *(line.time_s for line in lines)])
        kernels = kernel.lines_of(run, view.host, lines)
        went_on_until_s = None if view.state == "failed" else latest_s
        stepped_s = self._stepped_since(run, latest_s - AROUND_S)
        crash = crash_of(lines, kernels, went_on_until_s, stepped_s, uncaught_only=view.state == "ended")
        if crash is not None:
            files = {frame.file for frame in crash.cause.frames}
            self._show_sources(run, {file for file in files if file.endswith(SOURCES)})
        return crash


def _below(time_s: float) -> float:
    return time_s - 1e-6


def _above(time_s: float) -> float:
    return time_s + 1e-6
