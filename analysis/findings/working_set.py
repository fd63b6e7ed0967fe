"""The recent records of each run and of the machine that rules look at, updated as the store takes them in."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from collectors.machine.run_state import LIFETIMES
from collectors.records import Event, Finding, Labels, LogLine, Offset, Points, Record
from collectors.step_axis import StepAxis
from collectors.store.store import RawPoints, Series, Store, TooMuch

from ..history import History
from .rule import CAPACITY, MAX_TRACKED, STEPS, MachineSubject, RecentPoints, RunSubject, is_result, is_validation
from .rules import RUN_RULES, is_tracked
from .watch import REST_S, WITH_RUN, FindingTracker

MAX_EVENTS = 500  # of a run
MAX_TRACKS = MAX_TRACKED
MAX_FILES = 1000  # of a run, of which it is known how far they are stored
MAX_RUNS = 2000  # at hand; those that were silent for longest are let go
NEWS_S = 60.0  # before the first look, of which moments are news; those that were said are known by their ids
WARM_S = 1800.0  # before the first look, that are read from the store
STALE_S = 900.0  # points older than that are those of a log that was there before
RUNS_OWN = {"host/run_cpu_pct", "host/run_memory_bytes", "host/run_read_bytes_per_s", "host/run_write_bytes_per_s"}
MACHINE = {
    *(
        "host/memory_used_bytes",
        "host/memory_total_bytes",
        "host/cgroup_memory_used_bytes",
        "host/cgroup_memory_limit_bytes",
    ),
    *("host/disk_free_bytes", "host/disk_total_bytes"),
    *(
        "gpu/utilization_pct",
        "gpu/sm_active_pct",
        "gpu/tensor_active_pct",
        "gpu/memory_used_bytes",
        "gpu/memory_total_bytes",
    ),
    *("gpu/sm_clock_mhz", "gpu/sm_clock_max_mhz", "gpu/clock_event_reasons", "gpu/temperature_c", "gpu/xid"),
    *(
        "gpu/slowed_by_heat_s",
        "gpu/slowed_by_hw_heat_s",
        "gpu/slowed_by_power_brake_s",
        "gpu/pcie_generation",
        "gpu/pcie_width",
    ),
    *("gpu/ecc_corrected", "gpu/ecc_uncorrected", "gpu/remap_pending", "gpu/remap_failed"),
}
SPARSE_S = {"gpu/utilization_pct": 1.0, "gpu/sm_active_pct": 1.0, "gpu/tensor_active_pct": 1.0, "host/memory_used_bytes": 2.0,
            "host/run_memory_bytes": 2.0, "gpu/memory_used_bytes": 2.0, "host/cgroup_memory_used_bytes": 2.0}  # fmt: skip  # half an hour and more fits into a track


class KnownRun:
    """What the rules need of one run."""

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.tracks: dict[tuple[str, int], RecentPoints] = {}
        self.axes: defaultdict[int, StepAxis] = defaultdict(StepAxis)  # by rank
        self.lives: deque[Event] = deque(maxlen=MAX_EVENTS)  # starts and ends, which many checkpoints do not push out
        self.others: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.sign_s = since_s  # when anything of it last came
        self.is_warm = False
        self.ended = False  # its end was judged
        self.memory: dict[str, object] = {}
        self.reached: dict[
            str, int
        ] = {}  # stored bytes of each of its files that are read on, by the key of its offset
        self.seen: dict[
            str, dict[tuple[str, int], int]
        ] = {}  # by rule and track, how many points there were at its last look

    @property
    def events(self) -> list[Event]:
        return [*self.lives, *self.others]

    def add(self, event: Event) -> bool:
        """Whether it is new."""
        kept = self.lives if event.kind in LIFETIMES else self.others
        if event in kept:
            return False
        kept.append(event)
        return True

    def of_kind(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def track(self, name: str, rank: int) -> RecentPoints | None:
        found = self.tracks.get((name, rank))
        if found is None and len(self.tracks) < MAX_TRACKS:
            found = self.tracks[name, rank] = RecentPoints()
        return found


class KnownSubjects:
    """Of all runs that are awake."""

    def __init__(self, of_the_past: Callable[[str, float], None] = lambda run, now_s: None) -> None:
        """`of_the_past` is called with the run of a point that is older than what is judged as it comes."""
        self._of_the_past = of_the_past
        self.runs: dict[str, KnownRun] = {}
        self.machine: dict[tuple[str, Labels], RecentPoints] = {}
        self._is_tracked: dict[str, bool] = {}
        self._ranks: dict[Labels, int] = {}

    def take(self, records: Iterable[Record], now_s: float) -> None:
        """In the order in which they were stored."""
        for record in records:
            match record:
                case Points() if record.run is None:
                    self._machine(record, now_s)
                case Points():
                    self._points(record, now_s)
                case Event():
                    run = self._run(record.run, now_s, wakes=record.time_s > now_s - STALE_S)
                    if run is not None and run.add(record):
                        run.ended = run.ended and record.kind not in ("start", "process", "end", "exit")
                case LogLine():
                    self._run(record.run, now_s, wakes=record.time_s > now_s - STALE_S)
                case Offset():
                    self._reached(record)
                case Finding():
                    pass

    def warm(self, name: str, history: History, now_s: float) -> None:
        """Read what the store has of a run from before it was looked at."""
        run = self.runs[name]
        if run.is_warm:
            return
        run.is_warm = True
        known, run.lives, run.others = run.events, deque(maxlen=MAX_EVENTS), deque(maxlen=MAX_EVENTS)
        for event in [*history.events(MAX_EVENTS, LIFETIMES), *history.events(MAX_EVENTS), *known]:
            run.add(event)
        stored = history.series()
        for row in stored:
            if row.last_step is not None:
                run.axes[self._rank(row.labels)].take((row.name,), (row.name,), row.points, row.last_step)
        series = [row for row in stored if is_tracked(row.name)][:MAX_TRACKS]
        fresh, run.tracks = run.tracks, {}
        until_s = min(run.since_s, now_s)
        found = history.points([row for row in series if not is_result(row.name)], (now_s - WARM_S, until_s))
        found |= history.points([row for row in series if is_result(row.name)], (0.0, until_s))  # a best one of all
        for row, points in ((row, found[row.id]) for row in series):
            rank = int(dict(row.labels).get("rank", "0"))
            track = run.track(row.name, rank)
            if track is not None:
                columns = points.place.tolist(), points.step.tolist(), points.value.tolist()
                rows = [
                    (time_s, None if step != step else int(step), value)
                    for time_s, step, value in zip(*columns, strict=True)
                ]
                track.take_all(rows[-CAPACITY:])
                track.fresh = int(np.count_nonzero(track.time_s > now_s - NEWS_S))
                self._warm_steps(run, row.name, rank, rows[-CAPACITY:])
        for (label, rank), track in fresh.items():
            kept = run.track(label, rank)
            if kept is not None:
                after = float(np.nanmax(kept.time_s, initial=-np.inf))
                late = [row for row in track.rows() if row[0] is None or row[0] > after]
                kept.take_all(late)

    @staticmethod
    def _warm_steps(
        run: KnownRun, name: str, rank: int, rows: Sequence[tuple[float | None, int | None, float]]
    ) -> None:
        """Those of the longest series."""
        known = run.tracks.get((STEPS, rank))
        if (known is None or len(known) < len(rows)) and not is_validation(name):
            run.tracks[STEPS, rank] = steps = RecentPoints()
            steps.take_all((time_s, step, float(step)) for time_s, step, _ in rows if step is not None)
            steps.looked_at()

    def let_go(self, name: str) -> None:
        self.runs.pop(name, None)

    def _run(self, name: str, now_s: float, *, wakes: bool) -> KnownRun | None:
        run = self.runs.get(name)
        if run is None:
            if not wakes or len(self.runs) >= MAX_RUNS:
                return None
            run = self.runs[name] = KnownRun(now_s)
        if wakes:
            run.sign_s = now_s
        return run

    def _points(self, record: Points, now_s: float) -> None:
        time_s = now_s if record.time_s is None else record.time_s
        if time_s <= now_s - STALE_S:
            self._of_the_past(str(record.run), now_s)
            return
        run = self._run(str(record.run), now_s, wakes=True)
        if run is None:
            return
        rank = self._rank(record.labels)
        if record.step is not None and not all(
            map(is_validation, record.names)
        ):  # those may count epochs, and others do
            is_step = run.axes[rank].take(record.names, record.names, 1, record.step)
            steps = run.track(STEPS, rank) if is_step else None
            if steps is not None and steps.last() != record.step:
                steps.take(time_s, record.step, float(record.step))
        for name, value in zip(record.names, record.values, strict=True):
            if self._tracks(name) and (track := run.track(name, rank)) is not None:
                track.take(time_s, record.step, value)

    def _reached(self, record: Offset) -> None:
        if (run := self.runs.get(record.run)) is None:
            return
        if record.trouble:
            run.reached.pop(record.path, None)
        elif record.path in run.reached or len(run.reached) < MAX_FILES:
            run.reached[record.path] = record.offset

    def _machine(self, record: Points, now_s: float) -> None:
        for name, value in zip(record.names, record.values, strict=True):
            if not math.isfinite(value):  # no counter says that
                continue
            if name in RUNS_OWN:
                labels = dict(record.labels)
                run = self.runs.get(labels.get("run", ""))
                track = run.track(name, self._rank(record.labels)) if run is not None else None
            elif name in MACHINE:
                key = name, record.labels
                track = self.machine.get(key)
                if track is None:
                    track = self.machine[key] = RecentPoints()
            else:
                continue
            if track is None:
                continue
            least_s = SPARSE_S.get(name, 0.0)
            if least_s and len(track) and record.time_s is not None and record.time_s - track.time_s[-1] < least_s:
                continue
            track.take(record.time_s, None, value)

    def _tracks(self, name: str) -> bool:
        found = self._is_tracked.get(name)
        if found is None:
            if len(self._is_tracked) > 50_000:
                self._is_tracked.clear()
            found = self._is_tracked[name] = is_tracked(name)
        return found

    def _rank(self, labels: Labels) -> int:
        found = self._ranks.get(labels)
        if found is None:
            text = dict(labels).get("rank", "0")
            if len(self._ranks) > 10_000:
                self._ranks.clear()
            found = self._ranks[labels] = int(text) if text.isdecimal() else 0
        return found


# Runs of the past are judged by their numbers once, a piece at a time.
#
# Logs that were there before the dashboard raise no alert. Findings that an earlier collector left open when their run ended are closed.

LOOKS: Final = {
    *("nan", "nan_lasting", "loss_spike", "gradient_blow_up", "gradient_vanishing", "scaler_collapse"),
    *("slow_steps", "checkpoint_stall"),
}  # what the numbers of a log say without stacks and processes
SETTLED_S = 5.0  # without a further point: its log has been read
PIECE = 512  # points of a series between two looks
MAX_POINTS = 200_000  # of a series, the newest; and
MAX_SERIES = 32  # of a run
WORK_S = 0.04  # of one turn
MAX_PAST_RUNS = 1000  # that wait


class PastRunScanner:
    """`work` is called by one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, float] = {}  # runs, and when a point of theirs last came, Unix seconds
        self._left_open: dict[str, Sequence[Finding]] = {}  # by run
        self._rules = [rule for rule in RUN_RULES if rule.name in LOOKS]
        self._at_work: Iterator[list[Finding]] | None = None

    def came(self, run: str, now_s: float) -> None:
        """A point of the run's past was stored."""
        if run in self._waiting or len(self._waiting) < MAX_PAST_RUNS:
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
        history, watch = History(self._store, run), FindingTracker()
        series = [row for row in history.series() if is_tracked(row.name) and row.last_time_s is not None][:MAX_SERIES]
        if not series:
            return
        first_s, last_s = min(row.first_time_s or 0.0 for row in series), max(row.last_time_s or 0.0 for row in series)
        most = max(row.points for row in series)
        count = max(1, -(-min(most, MAX_POINTS) // PIECE))
        width_s = max((last_s - first_s) / count, 1e-3)
        if most > MAX_POINTS:
            first_s = last_s - (last_s - first_s) * MAX_POINTS / most
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
