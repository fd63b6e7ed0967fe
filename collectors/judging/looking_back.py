"""Runs of the past are judged by their numbers once, a piece at a time.

Logs that were there before the dashboard raise no alert. Findings that an earlier collector left open when their run ended are closed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..analysis.findings.recent import RecentPoints
from ..analysis.findings.rules import RUN_RULES, is_tracked
from ..analysis.findings.subjects import STEPS, MachineSubject, RunSubject
from ..analysis.findings.watch import REST_S, WITH_RUN, Watch
from ..analysis.history import History
from ..records import Finding
from ..store.protocol import RawPoints, Series, Store
from ..store.question import TooMuch

LOOKS: Final = {
    *("nan", "nan_lasting", "loss_spike", "gradient_blow_up", "gradient_vanishing", "scaler_collapse"),
    *("slow_steps", "checkpoint_stall"),
}  # what the numbers of a log say without stacks and processes
SETTLED_S = 5.0  # without a further point: its log has been read
PIECE = 512  # points of a series between two looks
MOST_POINTS = 200_000  # of a series, the newest; and
MOST_SERIES = 32  # of a run
WORK_S = 0.04  # of one turn
MOST_RUNS = 1000  # that wait


class LookingBack:
    """`work` is called by one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, float] = {}  # runs, and when a point of theirs last came, Unix seconds
        self._left_open: dict[str, Sequence[Finding]] = {}  # by run
        self._rules = [rule for rule in RUN_RULES if rule.name in LOOKS]
        self._at_work: Iterator[list[Finding]] | None = None

    def came(self, run: str, now_s: float) -> None:
        """A point of the run's past was stored."""
        if run in self._waiting or len(self._waiting) < MOST_RUNS:
            self._waiting[run] = now_s

    def take_over(self, run: str, left_open: Sequence[Finding]) -> None:
        """These findings of a run that is over get a last look and are closed."""
        self._left_open[run] = left_open

    def work(self, now_s: float) -> list[Finding]:
        """What a few milliseconds find."""
        found: list[Finding] = []
        until_s = time.monotonic() + WORK_S
        while time.monotonic() < until_s:
            if self._at_work is None:
                self._at_work = self._next(now_s)
            if self._at_work is None:
                break
            news = next(self._at_work, None)
            if news is None:
                self._at_work = None
            else:
                found += news
        return found

    def _next(self, now_s: float) -> Iterator[list[Finding]] | None:
        if self._left_open:
            return self._closed(*self._left_open.popitem())
        run = next((name for name, came_s in self._waiting.items() if now_s - came_s > SETTLED_S), None)
        if run is None:
            return None
        del self._waiting[run]
        return self._late(run)

    def _late(self, run: str) -> Iterator[list[Finding]]:
        for news in self._pieces(run):
            yield [finding._replace(weight="note", fields={**finding.fields, "late": True}) for finding in news]

    def _closed(self, run: str, left_open: Sequence[Finding]) -> Iterator[list[Finding]]:
        judged: dict[str, Finding] = {}
        for news in self._pieces(run):
            judged |= {finding.id: finding for finding in news}
            yield []
        yield [_last_word(finding, judged.values()) for finding in left_open]

    def _pieces(self, run: str) -> Iterator[list[Finding]]:
        """Findings a piece of the run's time."""
        history, watch = History(self._store, run), Watch()
        series = [row for row in history.series() if is_tracked(row.name) and row.last_time_s is not None][:MOST_SERIES]
        if not series:
            return
        first_s, last_s = min(row.first_time_s or 0.0 for row in series), max(row.last_time_s or 0.0 for row in series)
        most = max(row.points for row in series)
        count = max(1, -(-min(most, MOST_POINTS) // PIECE))
        width_s = max((last_s - first_s) / count, 1e-3)
        if most > MOST_POINTS:
            first_s = last_s - (last_s - first_s) * MOST_POINTS / most
        tracks: dict[tuple[str, int], RecentPoints] = {}
        events = history.events(500)
        for number in range(count):
            lo, hi = first_s + number * width_s, first_s + (number + 1) * width_s
            try:
                points = history.points(series, (lo, last_s if number == count - 1 else hi - 1e-6))
            except TooMuch:
                return
            _feed(tracks, series, points)
            subject = RunSubject(
                run,
                hi,
                history,
                MachineSubject(hi),
                tracks,
                [event for event in events if event.time_s <= hi],
                awake_since_s=first_s,
            )
            news: list[Finding] = []
            for rule in self._rules:
                news += watch.look(rule, run, rule.look(subject), hi)
            for track in tracks.values():
                track.looked_at()
            yield news
        over_s = last_s + 2 * REST_S
        subject = RunSubject(run, over_s, history, MachineSubject(over_s), tracks, events, awake_since_s=first_s)
        holding = {found.rule for found in watch.holding()}
        for rule in self._rules:
            if rule.name in holding:  # what had recovered by the last point is resolved
                yield watch.look(rule, run, rule.look(subject), over_s)
        yield watch.end(run)


def _last_word(before: Finding, judged: Iterable[Finding]) -> Finding:
    """The finding as all points of its run show it; one that they do not show held until its run ended, as far as is known."""
    for found in judged:
        is_same = (found.rule, found.fields.get("key")) == (before.rule, before.fields.get("key"))
        if is_same and found.from_s <= before.to_s and before.from_s <= found.to_s:
            return found._replace(
                id=before.id, from_s=min(before.from_s, found.from_s), weight=before.weight, over=True
            )
    return before._replace(over=True, fields={**before.fields, WITH_RUN: True})


def _feed(tracks: dict[tuple[str, int], RecentPoints], series: list[Series], points: dict[int, RawPoints]) -> None:
    for row in series:
        rank = int(dict(row.labels).get("rank", "0"))
        found = points[row.id]
        track = tracks.setdefault((row.name, rank), RecentPoints())
        rows = zip(found.place.tolist(), found.step.tolist(), found.value.tolist(), strict=True)
        track.take_all((time_s, None if step != step else int(step), value) for time_s, step, value in rows)
        if row is max(series, key=lambda known: known.points):
            steps = tracks.setdefault((STEPS, rank), RecentPoints())
            steps.take_all(
                (time_s, int(step), step)
                for time_s, step in zip(found.place.tolist(), found.step.tolist(), strict=True)
                if step == step
            )
