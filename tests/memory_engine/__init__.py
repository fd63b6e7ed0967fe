"""A second engine for the contract suite: everything in lists of this process, and each question answered by going through them."""

from __future__ import annotations

import fnmatch
import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import orjson

from collectors.records import (
    Event,
    Finding,
    Labels,
    LogLine,
    Offset,
    Points,
    ProgressBar,
    Record,
    RunInfo,
    Sample,
    SourceText,
    StackRecording,
)
from collectors.step_axis import StepAxis
from collectors.store import buckets as bucketing
from collectors.store.batches import unstored
from collectors.store.store import (
    Axis,
    Buckets,
    Delta,
    LastPoint,
    Limits,
    LineColumns,
    LineExtent,
    LineTemplate,
    LineTexts,
    LivePoints,
    LogPage,
    LogQuery,
    Maintenance,
    Outcomes,
    Process,
    RawPoints,
    ResidentMemory,
    Run,
    SampleNames,
    SampleQuery,
    Series,
    StackColumns,
    series_id,
)

from . import lines, samples, sources, stacks

R = TypeVar("R")
INTERVALS = 100


class Shared:
    """What all stores of one place have in common."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.commits: list[list[Record]] = []  # the cursor is their number


PLACES: dict[str, Shared] = defaultdict(Shared)


def open_store(place: str, *, write: bool, limits: Limits) -> MemoryStore:
    return MemoryStore(PLACES[place], write)


def maintenance(place: str) -> Maintenance:
    raise NotImplementedError("there is nothing to look after")


class MemoryStore:
    """Implements `protocol.Store`."""

    def __init__(self, shared: Shared, write: bool) -> None:
        self._shared, self._write = shared, write
        self._looked = 0

    # Writing

    def append(self, records: Iterable[Record]) -> int:
        batch = list(unstored(list(records), self.offsets().get))
        self.rehearse(batch)
        with self._shared.lock:
            self._shared.commits.append(batch)
            return len(self._shared.commits)

    def rehearse(self, records: Iterable[Record]) -> None:
        assert self._write
        for record in records:
            if isinstance(record, Event) and not (isinstance(record.kind, str) and np.isfinite(record.time_s)):
                raise TypeError("an event needs a kind and a time")

    def delete(self, run: str) -> None:
        kept = [[record for record in batch if getattr(record, "run", None) != run] for batch in self._shared.commits]
        self._shared.commits[:] = kept

    def rename(self, run: str, new: str, paths: Mapping[str, str]) -> bool:
        if any(record.run == new for record in [*self._all(Points), *self._all(LogLine)]):
            return False
        for batch in self._shared.commits:
            for place, record in enumerate(batch):
                if getattr(record, "run", None) == run:
                    moved = {"path": paths.get(record.path, record.path)} if isinstance(record, Offset) else {}
                    batch[place] = record._replace(run=new, **moved)
        return True

    def compact(self, deadline_s: float) -> bool:
        return False

    def close(self) -> None: ...

    # Reading

    def _all(self, kind: type[R], since: int = 0) -> list[R]:
        return [record for batch in list(self._shared.commits)[since:] for record in batch if isinstance(record, kind)]

    def offsets(self) -> dict[str, Offset]:
        return {offset.path: offset for offset in self._all(Offset)}

    def runs(self) -> list[Run]:
        records = self._all(object)
        names = {
            run
            for record in records
            if (run := getattr(record, "run", None)) is not None and not isinstance(record, StackRecording)
        }
        return [self._sum_up(name) for name in sorted(names)]

    def run(self, name: str) -> Run | None:
        return next((run for run in self.runs() if run.name == name), None)

    def size_of(self, run: str) -> int:
        return sum(len(repr(record)) for kind in (Points, LogLine) for record in self._all(kind) if record.run == run)

    def _sum_up(self, name: str) -> Run:
        lines = [points for points in self._all(Points) if points.run == name]
        times = [line.time_s for line in lines if line.time_s is not None]
        seen = times + [line.time_s for kind in (LogLine, ProgressBar) for line in self._all(kind) if line.run == name]
        seen += [sample.time_s for sample in self._all(Sample) if sample.run == name and sample.time_s is not None]
        axis = StepAxis()
        for line in lines:
            if line.step is not None:
                axis.take([(line.labels, name) for name in line.names], line.names, 1, line.step)
        files = [offset for offset in self.offsets().values() if offset.run == name]
        intervals = np.diff(times[-INTERVALS - 1 :]).tolist()
        return Run(
            name,
            dict(next((info.info for info in reversed(self._all(RunInfo)) if info.run == name), {})),
            min(seen, default=None),
            max(seen, default=None),
            axis.step,
            statistics.median(intervals) if len(times) >= 3 else None,
            len(self.series(name)),
            sum(len(line.names) for line in lines),
            bool(times),
            sum(offset.lines_read for offset in files),
            sum(offset.lines_skipped for offset in files),
            sum(offset.fields_skipped for offset in files),
            sum(offset.trouble != "" for offset in files),
            max((offset.trouble for offset in files), default=""),
        )

    def series(self, run: str | None = None, match: str = "") -> list[Series]:
        found: dict[int, list[Points]] = defaultdict(list)
        names: dict[int, tuple[str, Labels]] = {}
        for points in self._all(Points):
            for name in points.names if points.run == run else ():
                one = series_id(run, name, points.labels)
                found[one].append(points)
                names[one] = name, points.labels
        return [
            _catalogued(one, run, *names[one], rows) for one, rows in found.items() if _matches(names[one][0], match)
        ]

    def points(
        self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time", *, untimed: bool = False
    ) -> dict[int, RawPoints]:
        rows: dict[int, list[tuple[float, float, int, float]]] = {one: [] for one in ids}
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        for points in self._all(Points):
            for name, value in (
                zip(points.names, points.values, strict=True) if points.time_s is None or not untimed else ()
            ):
                one = series_id(points.run, name, points.labels)
                place = points.time_s if axis == "time" else points.step
                if one in rows and place is not None and low <= place <= high:
                    rows[one].append((place, np.nan if points.step is None else points.step, points.segment, value))
        return {one: bucketing.join_points([_columns(found)]) for one, found in rows.items()}

    def range(
        self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time", buckets: int = 2000
    ) -> dict[int, Buckets]:
        return {one: bucketing.bucket(points, [], buckets) for one, points in self.points(ids, lo, hi, axis).items()}

    def last(self, ids: Sequence[int]) -> dict[int, LastPoint]:
        found = {}
        for points in self._all(Points):
            for name, value in zip(points.names, points.values, strict=True):
                if (one := series_id(points.run, name, points.labels)) in ids:
                    found[one] = LastPoint(points.time_s, points.step, value)
        return found

    def outcomes(self, runs: Collection[str] | None = None, names: Collection[str] | None = None) -> Outcomes:
        listed = [series for run in self.runs() if runs is None or run.name in runs for series in self.series(run.name)]
        listed = [series for series in listed if names is None or series.name in names]
        last = self.last([series.id for series in listed])
        ends = [self._ends(series.id) for series in listed]
        return Outcomes(
            [str(series.run) for series in listed],
            [series.name for series in listed],
            [series.labels for series in listed],
            np.array([series.id for series in listed], np.int64),
            np.array([series.points for series in listed], np.int64),
            np.array([series.first_time_s for series in listed], float),
            np.array([series.first_step for series in listed], float),
            np.array([last[series.id].time_s for series in listed], float),
            np.array([last[series.id].step for series in listed], float),
            np.array([last[series.id].value for series in listed], float),
            *np.array(ends, float).reshape(-1, 4).T,
        )

    def _ends(self, one: int) -> list[float | None]:
        found = [
            (value, points.step)
            for points in self._all(Points)
            for name, value in zip(points.names, points.values, strict=True)
            if series_id(points.run, name, points.labels) == one and np.isfinite(value)
        ]
        least, most = (
            min(found, key=lambda pair: pair[0], default=(None, None)),
            max(found, key=lambda pair: pair[0], default=(None, None)),
        )
        return [*least, *most]

    def names(self, runs: Collection[str] | None = None) -> dict[str, int]:
        return dict(Counter(self.outcomes(runs).name))

    def configs(self, runs: Collection[str] | None = None) -> dict[str, dict[str, object]]:
        found = {run.name: run.info.get("config") for run in self.runs() if runs is None or run.name in runs}
        return {run: _flat(config) for run, config in found.items() if isinstance(config, dict) and config}

    def logs(self, query: LogQuery) -> LogPage:
        return lines.page(self._all(LogLine), query)

    def _run_lines(self, run: str) -> lines.RunLines:
        return lines.RunLines(run, self._all(LogLine))

    def line_extents(self, runs: Collection[str] | None = None) -> dict[str, LineExtent]:
        names = {line.run for line in self._all(LogLine) if runs is None or line.run in runs}
        return {name: self._run_lines(name).extent() for name in names}

    def line_columns(self, run: str, after: int, take: Callable[[LineColumns], None]) -> None:
        if columns := self._run_lines(run).columns(after):
            take(columns)

    def line_texts(self, run: str, lo: int, hi: int, take: Callable[[LineTexts], bool]) -> None:
        self._run_lines(run).read_texts(lo, hi, take)

    def lines(self, run: str, numbers: Sequence[int]) -> list[LogLine]:
        return [line for line in self._run_lines(run).lines if line.number in numbers]

    def templates(self, run: str) -> list[LineTemplate]:
        return self._run_lines(run).templates()

    def bars(self, run: str) -> list[ProgressBar]:
        newest = {bar.file: bar for bar in self._all(ProgressBar) if bar.run == run}
        return sorted((bar for bar in newest.values() if bar.text), key=lambda bar: bar.time_s)

    def events(
        self,
        run: str | None = None,
        lo: float | None = None,
        hi: float | None = None,
        kinds: Sequence[str] = (),
        most: int = -1,
    ) -> list[Event]:
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        found = [event for event in self._all(Event) if run in (None, event.run) and (not kinds or event.kind in kinds)]
        ordered = sorted((event for event in found if low <= event.time_s <= high), key=lambda event: event.time_s)
        return ordered if most < 0 else ordered[len(ordered) - min(most, len(ordered)) :]

    def finding(self, id_: str) -> Finding | None:
        return next((found for found in self.findings() if found.id == id_), None)

    def findings(
        self,
        run: str | None = None,
        lo: float | None = None,
        hi: float | None = None,
        *,
        holding: bool = False,
        most: int = -1,
    ) -> list[Finding]:
        newest = {found.id: found for found in self._all(Finding) if run is None or (found.run or "") == run}
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        asked = [
            one for one in newest.values() if one.to_s >= low and one.from_s <= high and not (holding and one.over)
        ]
        ordered = sorted(asked, key=lambda found: (found.from_s, found.id))
        return ordered if most < 0 else ordered[len(ordered) - min(most, len(ordered)) :]

    def sample_names(self, run: str) -> SampleNames:
        return samples.RunSamples(run, self._all(Sample)).names()

    def samples(self, query: SampleQuery) -> list[Sample]:
        return samples.RunSamples(query.run, self._all(Sample)).read(query)

    def events_after(self, seq: int, kinds: Sequence[str]) -> list[Event]:
        return [event for event in self._all(Event, seq) if event.kind in kinds]

    def stacks(self, lo: float, hi: float, run: str) -> StackColumns:
        return stacks.columns(self._profiles_within(lo, hi, run), lo, hi)

    def stack_counts(self, lo: float, hi: float, run: str) -> list[tuple[float, float, int]]:
        return [(*stacks.span(profile), len(profile.samples)) for profile in self._profiles_within(lo, hi, run)]

    def resident(self, lo: float, hi: float, run: str) -> dict[Process, ResidentMemory]:
        return stacks.resident(self._profiles_within(lo, hi, run), lo, hi)

    def _profiles_within(self, lo: float, hi: float, run: str) -> list[StackRecording]:
        return [
            profile for profile in self._all(StackRecording) if profile.run == run and stacks.is_within(profile, lo, hi)
        ]

    def profiled_from(self, run: str) -> float | None:
        return min(
            (stacks.span(profile)[0] for profile in self._all(StackRecording) if profile.run == run), default=None
        )

    def profiled_until(self, run: str) -> float | None:
        return stacks.reach([profile for profile in self._all(StackRecording) if profile.run == run])

    def source_text(self, run: str, path: str) -> SourceText | None:
        return sources.newest([text for text in self._all(SourceText) if text.run == run], path)

    # Following

    def seq(self) -> int:
        return len(self._shared.commits)

    def changed(self) -> bool:
        before, self._looked = self._looked, self.seq()
        return self._looked != before

    def since(self, seq: int, lines_of: Collection[str] | None = None) -> Delta:
        rows: dict[tuple[str | None, str, Labels], list[Points]] = defaultdict(list)
        values: dict[tuple[str | None, str, Labels], list[float]] = defaultdict(list)
        for points in self._all(Points, seq):
            for name, value in zip(points.names, points.values, strict=True):
                rows[points.run, name, points.labels].append(points)
                values[points.run, name, points.labels].append(value)
        live = [
            LivePoints(
                *key,
                np.array([np.nan if one.time_s is None else one.time_s for one in found]),
                np.array([np.nan if one.step is None else one.step for one in found]),
                np.array([one.segment for one in found]),
                np.array(values[key]),
            )
            for key, found in rows.items()
        ]
        lines = [line for line in self._all(LogLine, seq) if lines_of is None or line.run in lines_of]
        bars = {
            (bar.run, bar.file): bar for bar in self._all(ProgressBar, seq) if lines_of is None or bar.run in lines_of
        }
        findings = {found.id: found for found in self._all(Finding, seq)}
        return Delta(self.seq(), True, live, lines, self._all(Event, seq), list(bars.values()), list(findings.values()))


def _catalogued(one: int, run: str | None, name: str, labels: Labels, rows: Sequence[Points]) -> Series:
    times = [row.time_s for row in rows if row.time_s is not None]
    steps = [row.step for row in rows if row.step is not None]
    return Series(
        one,
        run,
        name,
        labels,
        len(rows),
        min(times, default=None),
        max(times, default=None),
        min(steps, default=None),
        max(steps, default=None),
    )


def _flat(config: dict[str, Any], before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.")
        elif isinstance(value, list):
            found[before + key] = orjson.dumps(value).decode()
        elif isinstance(value, str | bool | int | float | None):
            found[before + key] = value
    return found


def _columns(rows: Sequence[tuple[float, float, int, float]]) -> RawPoints:
    place, step, segment, value = zip(*rows, strict=True) if rows else ((),) * 4
    return RawPoints(np.array(place, float), np.array(step, float), np.array(segment, np.int64), np.array(value, float))


def _matches(name: str, match: str) -> bool:
    pattern = match.lower()
    return fnmatch.fnmatchcase(name.lower(), pattern) if set("*?") & set(pattern) else pattern in name.lower()
