"""Ledgers of whole stored runs: what is read of them, and what their time costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.directions import is_held_out
from analysis.history import History
from analysis.ledger.attempts import AttemptSpan, RunTimes, attempts_of, extent_of
from analysis.ledger.device import cards_of
from analysis.ledger.evidence import PHASES
from analysis.ledger.kinds import IN_RUN, TimeKind
from analysis.ledger.run_ledger import (
    SPAN_KINDS,
    KindSpans,
    NamedSpans,
    ResourceUse,
    RunLedger,
    RunLedgerInput,
    SpanKind,
    StepRows,
    run_ledger,
    whole_spans,
)
from analysis.ledger.text import NO_TIME, missing_of, run_sentence_of
from analysis.stacks.spans import Interval
from analysis.step_log import COMPILATIONS, PHASE, UNITS
from collectors.arrays import Floats
from collectors.folders import LogTree
from collectors.machine.run_state import AHEAD_S, LIFETIMES
from collectors.message import Message, phrase
from collectors.step_axis import stepper
from collectors.store.store import Run, Series, Store, TooMuch, check

from ..stacks.ledgers import Ledgers
from ..user_files.settings import settings_of
from .columns import Facts
from .previous_run import RunAttempts
from .runs import ALIVE, Runs

# What is read of a run: its attempts, its step log, and what phases and events name.

MAX_POINTS = 300_000  # of one series; of a longer one neighbouring points are read together
BUCKETS = 5_000  # so many are answered from summaries
MAX_EVENTS = 20_000  # of a run, the newest of each kind
MAX_ATTEMPTS = 20  # whose first step's phases are read
MAX_CARDS = 64
MAX_WATCHED = 200
EARLIEST_S = 946_684_800.0  # the year 2000: older times are those of a clock that was not set, where there are others
WATCHED_S = 90.0  # a collector that was at work has left a value of the host in so many seconds
ENERGY = "gpu/energy_j"
ENERGY_BUCKETS = 4_000
KINDS: Mapping[SpanKind, tuple[str, ...]] = {
    "checkpoint": ("checkpoint",),
    "validation": ("validation",),
    "initialisation": COMPILATIONS,
}


class SeriesTrack(NamedTuple):
    """The points of a series, or neighbouring ones together. Columns have the same length, in order of time."""

    first_s: Floats
    time_s: Floats
    step: Floats
    segment: Floats
    seconds: Floats  # the sum of the values
    lines: Floats


NO_TRACK = SeriesTrack(*[np.zeros(0)] * 6)


class RunReader:
    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, run: str, *, alive: bool, now_s: float) -> RunLedgerInput:
        """Of one run folder. Raises what the store raises."""
        lifetimes = self._store.events(run, kinds=LIFETIMES, most=MAX_EVENTS)
        rank = str(min((event.rank for event in lifetimes if event.kind == "start"), default=0))
        everything = self._store.series(run)
        mine = [series for series in everything if dict(series.labels).get("rank", "0") == rank] or everything
        steps = _step_log(mine)
        track, whole = self._track(steps) if steps else (NO_TRACK, True)
        stored = self._store.run(run)
        signs_s = self._signs(stored)
        lo, hi = believable([*(event.time_s for event in lifetimes), *signs_s.tolist()], now_s)
        lifetimes = [event for event in lifetimes if lo <= event.time_s <= hi]
        track = SeriesTrack(*(column[(track.time_s >= lo) & (track.time_s <= hi)] for column in track))
        signs_s = np.sort(np.r_[track.time_s, signs_s[(signs_s >= lo) & (signs_s <= hi)]])
        times = RunTimes(
            run,
            track.time_s,
            track.step,
            track.segment,
            signs_s,
            alive,
            now_s,
            self._watching(),
            stored.info if stored else {},
        )
        attempts = attempts_of(lifetimes, times)
        rows = StepRows(track.first_s, track.time_s, track.step, track.lines)
        phases = [series for series in mine if series.name.startswith(PHASE)]
        named = {kind: self._named(run, kind, phases) for kind in KINDS}
        if not any(len(part.start_s) for part in named["validation"][:2]) and not len(named["validation"].marks_s):
            named["validation"] = named["validation"]._replace(marks_s=self._held_out(mine))
        return RunLedgerInput(attempts, rows, named, self._first_steps(attempts, rows, phases), whole)

    def energy(self, run: str, window: Interval, ranks: int) -> tuple[Floats, Floats]:
        """Joules that the run's cards have used since the first value, and when; empty where no counter is stored."""
        history = History(self._store, run)
        cards: dict[int, Series] = {}
        known = {series.labels: series for series in history.machine_series() if series.name == ENERGY}
        for rank in range(min(ranks, MAX_CARDS)) if known else ():
            busy = cards_of(history, window, rank).busy
            if busy is not None and busy.labels in known:
                cards[known[busy.labels].id] = known[busy.labels]
        found = self._store.range(list(cards), *window, buckets=ENERGY_BUCKETS) if cards else {}
        return _added([(part.t_end, part.last) for part in found.values()])

    def _signs(self, stored: Run | None) -> Floats:
        """Its first and last line of any kind, and the end of its stacks, until which it was surely there."""
        times = (stored.first_time_s, stored.last_time_s, self._store.profiled_until(stored.name)) if stored else ()
        known = [time_s for time_s in times if time_s is not None]
        return np.array(known, np.float64)

    def _track(self, series: Series) -> tuple[SeriesTrack, bool]:
        """Of its points that have a time. With whether every point was read."""
        check()
        if series.points <= MAX_POINTS:
            points = self._store.points([series.id], None, None)[series.id]
            ones = np.ones(len(points.place))
            track = SeriesTrack(
                points.place, points.place, points.step, points.segment.astype(np.float64), points.value, ones
            )
        else:
            part = self._store.range([series.id], None, None, buckets=BUCKETS)[series.id]
            finite = np.maximum(part.count - part.non_finite, 0)
            sums = np.where(finite > 0, np.nan_to_num(part.mean) * finite, np.nan)
            track = SeriesTrack(
                part.t,
                part.t_end,
                part.step,
                *(column.astype(np.float64) for column in (part.segment, sums, part.count)),
            )
        known = np.isfinite(track.time_s)
        track = SeriesTrack(*(column[known] for column in track))
        order = np.argsort(track.time_s, kind="stable")
        track = SeriesTrack(*(column[order] for column in track))
        return track, series.points <= MAX_POINTS

    def _named(self, run: str, kind: SpanKind, phases: Sequence[Series]) -> KindSpans:
        spans = [self._phase(series) for series in phases if PHASES.get(_phase_name(series)) == kind]
        together = (
            NamedSpans(*(np.concatenate(columns) for columns in zip(*spans, strict=True)))
            if spans
            else KindSpans().phases
        )
        events = self._store.events(run, kinds=KINDS[kind], most=MAX_EVENTS)
        ranges = [
            (event.time_s - event.seconds, event.time_s)
            for event in events
            if event.seconds is not None and event.seconds > 0
        ]
        marks = [event.time_s for event in events if event.seconds is None]
        return KindSpans(together, whole_spans(ranges), np.array(marks, np.float64))

    def _phase(self, series: Series) -> NamedSpans:
        """Each line's seconds end where it was logged."""
        track, _ = self._track(series)
        seconds = np.where(np.isfinite(track.seconds), np.maximum(track.seconds, 0.0), 0.0)
        return NamedSpans(np.minimum(track.first_s, track.time_s - seconds), track.time_s, seconds)

    def _held_out(self, mine: Sequence[Series]) -> Floats:
        """When values of the validation were logged: something that ended then, and took as long as the gap before it."""
        series = max(
            (row for row in mine if is_held_out(row.name) and row.last_time_s), key=lambda row: row.points, default=None
        )
        return self._track(series)[0].time_s if series else np.zeros(0)

    def _first_steps(
        self, attempts: Sequence[AttemptSpan], rows: StepRows, phases: Sequence[Series]
    ) -> dict[float, float]:
        """How long the first step of each attempt took by its phases, without validation and checkpoint."""
        own = [series.id for series in phases if PHASES.get(_phase_name(series)) not in ("validation", "checkpoint")]
        found: dict[float, float] = {}
        for span in attempts[:MAX_ATTEMPTS] if own and len(rows.time_s) else ():
            check()
            place = int(np.searchsorted(rows.time_s, span.start_s))
            if place == len(rows.time_s) or rows.first_s[place] > span.end_s:
                continue
            at_s = float(rows.first_s[place])
            values = [part.value for part in self._store.points(own, at_s - 1e-6, at_s + 1e-6).values()]
            if any(len(value) for value in values):
                found[span.start_s] = float(sum(np.nan_to_num(value[:1]).sum() for value in values))
        return found

    def _watching(self) -> Callable[[float], bool]:
        """Whether a collector was at work just before a moment: it is asked a few times only, for ends that were noticed late."""
        host = next((series for series in self._store.series(None, "host/") if series.name.startswith("host/")), None)
        asked = 0

        def watched(time_s: float) -> bool:
            nonlocal asked
            asked += 1
            if host is None or asked > MAX_WATCHED:
                return False
            return len(self._store.points([host.id], time_s - WATCHED_S, time_s - 2.0)[host.id].place) > 0

        return watched


def believable(times_s: Sequence[float], now_s: float) -> Interval:
    """From when to when times prove something: an event of a wrong clock, years from all others, would make the wall time its own."""
    hi = now_s + AHEAD_S
    return (EARLIEST_S if any(EARLIEST_S <= time_s <= hi for time_s in times_s) else -np.inf, hi)


def _step_log(mine: Collection[Series]) -> Series | None:
    """The series on whose axis its steps count, among those with times; one of the phases if there is one that is as long."""
    stepped = [row for row in mine if row.last_step is not None and row.last_time_s is not None and row.name != UNITS]
    found = stepper(stepped)
    long = [row for row in stepped if found is not None and row.points >= 0.99 * found.points]
    return next((row for row in long if row.name.startswith(PHASE)), found)


def _phase_name(series: Series) -> str:
    return series.name.removeprefix(PHASE).removesuffix("_s")


def _added(counters: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Counters that may begin anew, as one that only rises."""
    risen = []
    for time_s, value in counters:
        known = np.isfinite(time_s) & np.isfinite(value)
        time_s, value = time_s[known], value[known]
        if len(time_s) > 1:
            risen.append((time_s, np.r_[0.0, np.cumsum(np.maximum(np.diff(value), 0.0))]))
    if not risen:
        return np.zeros(0), np.zeros(0)
    moments = np.unique(np.concatenate([time_s for time_s, _ in risen]))
    total: Floats = np.sum([np.interp(moments, time_s, value) for time_s, value in risen], axis=0)
    return moments, total


# The ledger of a training: all of its attempts, in one run or in several, with what they cost.

MAX_RUNS = 50  # of one training, the newest
READING_S = 0.5  # on stacks that nothing has added up yet


@dataclass(frozen=True)
class Price:
    per_gpu_hour: float  # 0 where unknown
    currency: str


def price_of(data_dir: Path) -> Price:
    """Of the settings."""
    values = settings_of(data_dir).values
    return Price(float(values["price_per_gpu_hour"]), str(values["currency"]))


@dataclass(frozen=True)
class RunAccount:
    """The ledger of the runs that are attempts of one training; None where nothing of them has a time."""

    runs: tuple[str, ...]
    ledger: RunLedger | None
    missing: list[Message]
    gpus: int | None
    price: Price

    @property
    def message(self) -> Message:
        return run_sentence_of(self.ledger) if self.ledger else NO_TIME


class RunLedgers:
    """May be asked from many threads."""

    def __init__(
        self,
        store: Store,
        ledgers: Ledgers,
        logs: Path | LogTree,
        data_dir: Path,
        attempts: Callable[[str], RunAttempts | None] = lambda run: None,
    ) -> None:
        """`attempts` finds the other runs that are attempts of the same training; without it a run stands alone."""
        self._store, self._reader, self._ledgers, self._attempts = store, RunReader(store), ledgers, attempts
        self._logs, self._data_dir = logs, data_dir

    def account(self, run: str) -> RunAccount:
        """Of the training that the run is an attempt of. A run that is not stored has none."""
        same = self._attempts(run)
        return self.of_runs(same.runs[-MAX_RUNS:] if same else (run,))

    def of_runs(self, names: Sequence[str]) -> RunAccount:
        """Of runs that are attempts of one training, in order of their start."""
        runs, known = (
            Runs(self._store, self._logs),
            [run for name in names if (run := self._store.run(name)) is not None],
        )
        views = [runs.view(stored, self._store.events(stored.name, kinds=LIFETIMES)) for stored in known]
        price = price_of(self._data_dir)
        if not views:
            return RunAccount(tuple(names), None, [], None, price)
        names, newest, now_s = tuple(view.stored.name for view in views), views[-1], time.time()
        records = [self._reader.record(view.stored.name, alive=view.state in ALIVE, now_s=now_s) for view in views]
        gpus = Facts(newest, self._store.configs([names[-1]]).get(names[-1], {}), {}, now_s).gpus
        recorded = _together(records)
        spent = ResourceUse(gpus, price.per_gpu_hour)
        window = extent_of(recorded.attempts)
        if gpus is not None and window is not None:
            ranks = newest.ranks.world_size or max(1, len(newest.ranks.seen))
            at_s, used_j = self._reader.energy(names[-1], window, ranks)
            spent = spent._replace(energy_at_s=at_s, energy_j=used_j)
        found = run_ledger(recorded, spent)
        if found is None:
            return RunAccount(names, None, [], gpus, price)
        if found.goodput is None and (split := self._by_stacks(names[-1], found)):
            found = run_ledger(recorded, spent, split) or found
        missing = missing_of(found, gpus=gpus is not None, priced=price.per_gpu_hour > 0)
        if not recorded.whole:
            missing.append(phrase("The run has too many lines to read each: neighbouring ones were read together."))
        return RunAccount(names, found, missing, gpus, price)

    def _by_stacks(self, run: str, found: RunLedger) -> dict[TimeKind, float]:
        """Of a run that logs no steps: which shares of its time stacks show to be validation or checkpoints."""
        profiled = self._ledgers.profiled(run)
        running_s = sum(row.seconds for row in found.rows if row.kind == "running")
        if profiled is None or not running_s:
            return {}
        inside_s = sum(_overlap(profiled, (row.span.start_s, row.span.end_s)) for row in found.attempts)
        try:
            ledger = self._ledgers.ledger(run, profiled, reading_s=READING_S)
        except TooMuch:
            return {}
        part = min(1.0, inside_s / running_s)
        logged = {row.kind for row in found.rows}
        return {
            kind: row.share / 100 * part
            for row in ledger.rows
            if (kind := IN_RUN.get(row.kind)) is not None and kind not in logged
        }


def _overlap(one: Interval, other: Interval) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def _together(records: Sequence[RunLedgerInput]) -> RunLedgerInput:
    rows = StepRows(*(np.concatenate(columns) for columns in zip(*(record.rows for record in records), strict=True)))
    named = {kind: _named([record.named[kind] for record in records]) for kind in SPAN_KINDS}
    first = {start_s: seconds for record in records for start_s, seconds in record.first_step_s.items()}
    attempts = [span for record in records for span in record.attempts]
    return RunLedgerInput(attempts, rows, named, first, all(record.whole for record in records))


def _named(parts: Sequence[KindSpans]) -> KindSpans:
    def joined(spans: Sequence[NamedSpans]) -> NamedSpans:
        return NamedSpans(*(np.concatenate(columns) for columns in zip(*spans, strict=True)))

    marks_s = np.concatenate([part.marks_s for part in parts])
    return KindSpans(joined([part.phases for part in parts]), joined([part.events for part in parts]), marks_s)
