"""What is kept at hand of each run and of the machine, fed with the records that the store has taken."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..analysis.findings import names
from ..analysis.findings.recent import CAPACITY, RecentPoints
from ..analysis.findings.rules import is_tracked
from ..analysis.findings.subjects import STEPS
from ..analysis.history import History
from ..process.activity import LIFETIMES
from ..records import Event, Finding, Labels, LogLine, Offset, Points, Record
from ..step_axis import StepAxis

MOST_EVENTS = 500  # of a run
MOST_TRACKS = names.MOST_TRACKED
MOST_FILES = 1000  # of a run, of which it is known how far they are stored
MOST_RUNS = 2000  # at hand; those that were silent for longest are let go
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
        self.lives: deque[Event] = deque(maxlen=MOST_EVENTS)  # starts and ends, which many checkpoints do not push out
        self.others: deque[Event] = deque(maxlen=MOST_EVENTS)
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
        if found is None and len(self.tracks) < MOST_TRACKS:
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
        known, run.lives, run.others = run.events, deque(maxlen=MOST_EVENTS), deque(maxlen=MOST_EVENTS)
        for event in [*history.events(MOST_EVENTS, LIFETIMES), *history.events(MOST_EVENTS), *known]:
            run.add(event)
        stored = history.series()
        for row in stored:
            if row.last_step is not None:
                run.axes[self._rank(row.labels)].take((row.name,), (row.name,), row.points, row.last_step)
        series = [row for row in stored if is_tracked(row.name)][:MOST_TRACKS]
        fresh, run.tracks = run.tracks, {}
        until_s = min(run.since_s, now_s)
        found = history.points([row for row in series if not names.is_result(row.name)], (now_s - WARM_S, until_s))
        found |= history.points(
            [row for row in series if names.is_result(row.name)], (0.0, until_s)
        )  # a best one of all
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
        if (known is None or len(known) < len(rows)) and not names.is_validation(name):
            run.tracks[STEPS, rank] = steps = RecentPoints()
            steps.take_all((time_s, step, float(step)) for time_s, step, _ in rows if step is not None)
            steps.looked_at()

    def let_go(self, name: str) -> None:
        self.runs.pop(name, None)

    def _run(self, name: str, now_s: float, *, wakes: bool) -> KnownRun | None:
        run = self.runs.get(name)
        if run is None:
            if not wakes or len(self.runs) >= MOST_RUNS:
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
            map(names.is_validation, record.names)
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
        elif record.path in run.reached or len(run.reached) < MOST_FILES:
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
