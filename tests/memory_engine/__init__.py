"""A second engine for the contract suite: everything in lists of this process, and each question answered by going through them."""

from __future__ import annotations

import fnmatch
import math
import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import orjson

from collectors.analysis.logs.templates import RunTemplates
from collectors.records import (
    ONE_AFTER_THE_OTHER_S,
    Event,
    Finding,
    Frame,
    Labels,
    LogLine,
    Offset,
    Points,
    Profile,
    ProgressBar,
    Record,
    RunInfo,
    Sample,
    SourceText,
)
from collectors.store import buckets as bucketing
from collectors.store.lines import LineColumns, LineExtent, LineTemplate, LineTexts
from collectors.store.protocol import (
    MOST_SAMPLE_BYTES,
    MOST_SAMPLE_NAMES,
    MOST_SAMPLES,
    Axis,
    Buckets,
    Delta,
    Last,
    Limits,
    LivePoints,
    LogPage,
    LogQuery,
    Maintenance,
    Outcomes,
    Process,
    RawPoints,
    Run,
    SampleName,
    SampleNames,
    SampleQuery,
    Series,
    StackColumns,
    series_id,
)

R = TypeVar("R")
INTERVALS = 100
MOST_SOURCE_BYTES = 20_000_000
USED_UP = "The 20 MB of source text that are kept for a run were used up by other files."


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
        batch = list(records)
        self.rehearse(batch)
        with self._shared.lock:
            self._shared.commits.append(batch)
            return len(self._shared.commits)

    def rehearse(self, records: Iterable[Record]) -> None:
        assert self._write
        for record in records:
            if isinstance(record, Event) and not (isinstance(record.kind, str) and np.isfinite(record.time_s)):
                raise TypeError("an event needs a kind and a time")

    def forget(self, run: str) -> None:
        kept = [[record for record in batch if getattr(record, "run", None) != run] for batch in self._shared.commits]
        self._shared.commits[:] = kept

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
        names = {run for record in records if (run := getattr(record, "run", None)) is not None and not isinstance(record, Profile)}
        return [self._sum_up(name) for name in sorted(names)]

    def run(self, name: str) -> Run | None:
        return next((run for run in self.runs() if run.name == name), None)

    def _sum_up(self, name: str) -> Run:
        lines = [points for points in self._all(Points) if points.run == name]
        times = [line.time_s for line in lines if line.time_s is not None]
        seen = times + [line.time_s for kind in (LogLine, ProgressBar) for line in self._all(kind) if line.run == name]
        seen += [sample.time_s for sample in self._all(Sample) if sample.run == name and sample.time_s is not None]
        steps = [line.step for line in lines if line.step is not None]
        files = [offset for offset in self.offsets().values() if offset.run == name]
        intervals = np.diff(times[-INTERVALS - 1 :]).tolist()
        return Run(
            name,
            dict(next((info.info for info in reversed(self._all(RunInfo)) if info.run == name), {})),
            min(seen, default=None),
            max(seen, default=None),
            steps[-1] if steps else None,
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
        return [_catalogued(one, run, *names[one], rows) for one, rows in found.items() if _matches(names[one][0], match)]

    def points(self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time") -> dict[int, RawPoints]:
        rows: dict[int, list[tuple[float, float, int, float]]] = {one: [] for one in ids}
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        for points in self._all(Points):
            for name, value in zip(points.names, points.values, strict=True):
                one = series_id(points.run, name, points.labels)
                place = points.time_s if axis == "time" else points.step
                if one in rows and place is not None and low <= place <= high:
                    rows[one].append((place, np.nan if points.step is None else points.step, points.segment, value))
        return {one: bucketing.join_points([_columns(found)]) for one, found in rows.items()}

    def range(
        self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time", buckets: int = 2000
    ) -> dict[int, Buckets]:
        return {one: bucketing.bucket(points, [], buckets) for one, points in self.points(ids, lo, hi, axis).items()}

    def last(self, ids: Sequence[int]) -> dict[int, Last]:
        found = {}
        for points in self._all(Points):
            for name, value in zip(points.names, points.values, strict=True):
                if (one := series_id(points.run, name, points.labels)) in ids:
                    found[one] = Last(points.time_s, points.step, value)
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
        lines = [(number, line) for number, line in enumerate(self._all(LogLine), 1) if _asked(line, query)]
        older = [(number, line) for number, line in lines if query.before is None or number < query.before]
        page = older[len(older) - min(query.limit, len(older)) :]
        return LogPage([line for _, line in page], len(lines), page[0][0] if len(older) > len(page) > 0 else None)

    def _lines_of(self, run: str) -> tuple[list[int], list[LogLine], list[int]]:
        """Numbers, lines, and the ids of their templates."""
        numbered = [(number, line) for number, line in enumerate(self._all(LogLine), 1) if line.run == run]
        lines = [line._replace(number=number) for number, line in numbered]
        ids, _ = RunTemplates().group([line.text for line in lines], [line.file for line in lines])
        return [line.number for line in lines], lines, ids

    def line_extents(self, runs: Collection[str] | None = None) -> dict[str, LineExtent]:
        names = {line.run for line in self._all(LogLine) if runs is None or line.run in runs}
        numbers = {name: self._lines_of(name)[0] for name in names}
        return {name: LineExtent(len(found), found[0], found[-1], 0) for name, found in numbers.items()}

    def line_columns(self, run: str, after: int, take: Callable[[LineColumns], None]) -> None:
        rows = [(line, number) for line, number in zip(*self._lines_of(run)[1:], strict=True) if line.number > after]
        if rows:
            files = sorted({line.file for line, _ in rows})
            numbers, levels = [line.number for line, _ in rows], [line.level for line, _ in rows]
            ranks = [-1 if line.rank is None else line.rank for line, _ in rows]
            whole = [levels, [files.index(line.file) for line, _ in rows], ranks, [number for _, number in rows]]
            times_s = np.array([line.time_s for line, _ in rows], float)
            take(LineColumns(run, files, np.array(numbers, np.int64), times_s, *(np.array(column, np.int64) for column in whole)))

    def line_texts(self, run: str, lo: int, hi: int, take: Callable[[LineTexts], bool]) -> None:
        for line in reversed(self._lines_of(run)[1]):
            text = line.text.replace("\n", " ").encode("utf-8", "surrogatepass")
            if lo <= line.number <= hi and not take(LineTexts(np.array([line.number]), text)):
                return

    def lines(self, run: str, numbers: Sequence[int]) -> list[LogLine]:
        return [line for line in self._lines_of(run)[1] if line.number in numbers]

    def templates(self, run: str) -> list[LineTemplate]:
        _, lines, ids = self._lines_of(run)
        _, new = RunTemplates().group([line.text for line in lines], [line.file for line in lines])
        found = []
        for template in new:
            own = [line for line, number in zip(lines, ids, strict=True) if number == template.id]
            times_s = [line.time_s for line in own]
            shown = own[0].text[:1000].encode("utf-8", "replace").decode()
            found.append(
                LineTemplate(
                    template.id,
                    template.text,
                    shown,
                    template.wide,
                    max(line.level for line in own),
                    len(own),
                    min(times_s),
                    max(times_s),
                )
            )
        return found

    def bars(self, run: str) -> list[ProgressBar]:
        newest = {bar.file: bar for bar in self._all(ProgressBar) if bar.run == run}
        return sorted((bar for bar in newest.values() if bar.text), key=lambda bar: bar.time_s)

    def events(
        self, run: str | None = None, lo: float | None = None, hi: float | None = None, kinds: Sequence[str] = (), most: int = -1
    ) -> list[Event]:
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        found = [event for event in self._all(Event) if run in (None, event.run) and (not kinds or event.kind in kinds)]
        ordered = sorted((event for event in found if low <= event.time_s <= high), key=lambda event: event.time_s)
        return ordered if most < 0 else ordered[len(ordered) - min(most, len(ordered)) :]

    def findings(
        self, run: str | None = None, lo: float | None = None, hi: float | None = None, *, holding: bool = False, most: int = -1
    ) -> list[Finding]:
        newest = {found.id: found for found in self._all(Finding) if run is None or (found.run or "") == run}
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        asked = [one for one in newest.values() if one.to_s >= low and one.from_s <= high and not (holding and one.over)]
        ordered = sorted(asked, key=lambda found: (found.from_s, found.id))
        return ordered if most < 0 else ordered[len(ordered) - min(most, len(ordered)) :]

    def sample_names(self, run: str) -> SampleNames:
        kept, left_out = self._kept_samples(run)
        names = sorted({sample.name for sample in kept})
        shown = [_summed_up(name, [sample for sample in kept if sample.name == name]) for name in names[:MOST_SAMPLE_NAMES]]
        return SampleNames(shown, len(names) - len(shown), left_out)

    def samples(self, query: SampleQuery) -> list[Sample]:
        found = [sample for sample in self._kept_samples(query.run)[0] if _is_asked(sample, query)]
        if query.name is not None:
            found.sort(key=lambda sample: (-math.inf if sample.step is None else sample.step, sample.number))
            found = found[max(0, len(found) - query.limit) :]
        return [sample if query.data else sample._replace(data=b"") for sample in found[: query.limit]]

    def _kept_samples(self, run: str) -> tuple[list[Sample], int]:
        """With their numbers, and how many are beyond the limits."""
        kept: list[Sample] = []
        counts: dict[str, int] = defaultdict(int)
        size = left_out = 0
        for number, sample in enumerate(self._all(Sample), 1):
            if sample.run == run:
                fits = counts[sample.kind] < MOST_SAMPLES and size + len(sample.data) <= MOST_SAMPLE_BYTES
                kept += [sample._replace(number=number)] if fits else []
                counts[sample.kind] += fits
                size += len(sample.data) * fits
                left_out += not fits
        return kept, left_out

    def events_after(self, seq: int, kinds: Sequence[str]) -> list[Event]:
        return [event for event in self._all(Event, seq) if event.kind in kinds]

    def stacks(self, lo: float, hi: float, run: str) -> StackColumns:
        profiles = [
            profile for profile in self._all(Profile) if profile.run == run and _span(profile)[0] < hi and _span(profile)[1] > lo
        ]
        frames: dict[Frame, int] = {}
        stacks: dict[tuple[int, ...], int] = {}
        processes: dict[Process, int] = {}
        rows: list[tuple[Any, ...]] = []
        for profile in profiles:
            process = processes.setdefault(Process(run, profile.rank, profile.pid, profile.role), len(processes))
            for sample in profile.samples:
                begun_s = profile.start_s + (sample.mono_ns - profile.start_mono_ns) / 1e9
                start_s, end_s = max(begun_s, lo), min(begun_s + sample.duration_ns / 1e9, hi)
                if start_s >= end_s:
                    continue
                stack = stacks.setdefault(tuple(frames.setdefault(frame, len(frames)) for frame in sample.stack), len(stacks))
                cpu_s = np.nan if sample.cpu_ns is None else sample.cpu_ns / 1e9
                gil = -1 if sample.gil is None else int(sample.gil)
                rows.append((start_s, end_s - start_s, process, sample.tid, stack, sample.resolved, gil, cpu_s))
        columns = list(zip(*sorted(rows, key=lambda row: row[0]), strict=True)) or [()] * 8
        types = (np.float64, np.float64, np.int32, np.int64, np.int32, np.bool_, np.int8, np.float64)
        arrays: list[Any] = [np.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        threads = {(profile.pid, tid): name for profile in profiles for tid, name in profile.threads.items()}
        inside = [_share(profile, lo, hi) for profile in profiles]
        samples = round(sum(profile.count * share for profile, share in zip(profiles, inside, strict=True)))
        covered = _union([(max(_span(profile)[0], lo), min(_span(profile)[1], hi)) for profile in profiles])
        tables = list(frames), list(stacks), list(processes), threads
        return StackColumns._make([*tables, *arrays, samples, max((one.hz for one in profiles), default=0.0), covered])

    def stack_counts(self, lo: float, hi: float, run: str) -> list[tuple[float, float, int]]:
        profiles = [
            profile for profile in self._all(Profile) if profile.run == run and _span(profile)[0] < hi and _span(profile)[1] > lo
        ]
        return [(*_span(profile), len(profile.samples)) for profile in profiles]

    def profiled_from(self, run: str) -> float | None:
        return min((_span(profile)[0] for profile in self._all(Profile) if profile.run == run), default=None)

    def profiled_until(self, run: str) -> float | None:
        ends: dict[tuple[str, int], float] = {}
        for profile in self._all(Profile):
            if profile.run == run:
                process = profile.host, profile.pid
                ends[process] = max(_span(profile)[1], ends.get(process, 0.0))
        return min((end for end in ends.values() if end > max(ends.values()) - ONE_AFTER_THE_OTHER_S), default=None)

    def source_text(self, run: str, path: str) -> SourceText | None:
        kept: dict[str, int] = {}
        found: list[SourceText] = []
        for text in self._all(SourceText):
            if text.run != run:
                continue
            if text.sha and text.sha not in kept and sum(kept.values()) + len(text.text.encode()) > MOST_SOURCE_BYTES:
                text = text._replace(sha="", text="", why=USED_UP)
            if text.sha:
                kept[text.sha] = len(text.text.encode())
            if text.path == path:
                found.append(text)
        newest = [text for text in found if text.since_s > max(one.since_s for one in found) - 1.0]
        return next((text for text in newest if text.sha), newest[0] if newest else None)

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
        bars = {(bar.run, bar.file): bar for bar in self._all(ProgressBar, seq) if lines_of is None or bar.run in lines_of}
        findings = {found.id: found for found in self._all(Finding, seq)}
        return Delta(self.seq(), True, live, lines, self._all(Event, seq), list(bars.values()), list(findings.values()))


def _is_asked(sample: Sample, query: SampleQuery) -> bool:
    name_fits, number_fits = query.name in (None, sample.name), query.number in (None, sample.number)
    lo, hi = query.from_step, query.to_step
    inside = (
        lo is None and hi is None
        if sample.step is None
        else (sample.step if lo is None else lo) <= sample.step <= (sample.step if hi is None else hi)
    )
    return name_fits and number_fits and sample.number > query.after and inside


def _summed_up(name: str, samples: Sequence[Sample]) -> SampleName:
    steps = [sample.step for sample in samples if sample.step is not None]
    times = [sample.time_s for sample in samples if sample.time_s is not None]
    ends = min(steps, default=None), max(steps, default=None), min(times, default=None), max(times, default=None)
    return SampleName(name, tuple(sorted({sample.kind for sample in samples})), len(samples), *ends)


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


def _asked(line: LogLine, query: LogQuery) -> bool:
    return (
        query.run in (None, line.run)
        and query.text.lower() in line.text.lower()
        and line.level >= query.level
        and (query.from_s is None or line.time_s >= query.from_s)
        and (query.to_s is None or line.time_s <= query.to_s)
    )


def _span(profile: Profile) -> tuple[float, float]:
    return profile.start_s, profile.start_s + (profile.end_mono_ns - profile.start_mono_ns) / 1e9


def _share(profile: Profile, lo: float, hi: float) -> float:
    start_s, end_s = _span(profile)
    return (min(end_s, hi) - max(start_s, lo)) / (end_s - start_s)


def _union(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for lo, hi in sorted(ranges):
        if found and lo <= found[-1][1]:
            found[-1] = found[-1][0], max(hi, found[-1][1])
        else:
            found.append((lo, hi))
    return found
