"""Copies a run from one store into another, with what the machine reported at that time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from itertools import groupby, islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..records import LogLine, Points, Record, RunInfo, Sample, StackRecording, StackSpan
from .store import Axis, LogQuery, Process, RawPoints, Run, SampleQuery, Series, StackColumns, Store, TooMuch

BATCH = 20_000  # records of a commit
SERIES_AT_ONCE = 20
MAX_POINTS = 400_000  # in memory at a time: about 150 bytes each
MINUTE_S = 60.0  # of stacks at a time
NAMES = 5  # that are suggested
PAGE = 5000  # log lines
SAMPLES_AT_ONCE = 200
T = TypeVar("T")
Choose: TypeAlias = Callable[[int, RawPoints], RawPoints]  # some of the points of a series
IN_FILES = "the {0:,} samples whose bytes lie in files of the run's folder"
UNPLACED = "points that have neither a time nor a step"


class UnknownRun(Exception):
    """The text is one sentence with the names that come nearest."""


class CopyResult(NamedTuple):
    """What the copy holds: a run's range of time, Unix seconds, None where nothing has a time; and what it does not hold, in words."""

    from_s: float | None
    to_s: float | None
    left_out: list[str]


def copy_run(
    source: Store,
    target: Store,
    run: str,
    texts: Iterable[str] = (),
    small: Callable[[Sample], Sample] = lambda sample: sample,
) -> CopyResult:
    """`target` is new; `texts` are kept under these names besides those of files on the stacks; `small` puts the bytes of a small file
    into its sample. Raises UnknownRun, and what the stores raise."""
    lo, hi = extent_of(source, run)
    missed: set[str] = set()
    append_all(target, (offset for offset in source.offsets().values() if offset.run == run))
    append_all(target, records_of(source, run, missed, texts, small))
    if lo is not None and hi is not None:
        append_all(target, _points(source, source.series(None), lo, hi, set()))
    return CopyResult(lo, hi, sorted(missed))


def extent_of(source: Store, run: str) -> tuple[float | None, float | None]:
    """When a run was at work, as far as anything says so. Raises UnknownRun."""
    stored = _run(source, run)
    ends = [stored.first_time_s, stored.last_time_s, source.profiled_from(run), source.profiled_until(run)]
    ends += [event.time_s for event in source.events(run)]
    known = [end for end in ends if end is not None and math.isfinite(end)]
    return (min(known), max(known)) if known else (None, None)


def records_of(
    source: Store,
    run: str,
    missed: set[str],
    texts: Iterable[str] = (),
    small: Callable[[Sample], Sample] = lambda sample: sample,
) -> Iterator[Record]:
    """All that is stored of a run, without offsets and findings; arguments as of `copy_run`, `missed` as of `points_of`. Raises UnknownRun."""
    stored, (lo, hi) = _run(source, run), extent_of(source, run)
    files = set(texts)
    yield RunInfo(run, stored.info)
    yield from source.bars(run)
    yield from source.events(run)
    yield from _points(source, source.series(run), None, None, missed)
    if lo is not None and hi is not None:
        yield from _profiles(source, run, lo, hi, str(stored.info.get("host") or ""), files)
    yield from _lines(source, run)
    yield from _samples(source, run, small, missed)
    yield from (text for file in sorted(files) if (text := source.source_text(run, file)) is not None)


def machine_points(source: Store, choose: Choose) -> Iterator[Points]:
    """What the machine reported, as far as `choose` takes it, by time within each group of series."""
    return _points(source, source.series(None), None, None, set(), choose)


def points_of(source: Store, run: str, missed: set[str]) -> Iterator[Points]:
    """All of a run; those of a moment that share their labels are one record, as one line of a log was. Raises UnknownRun.

    `missed` gets the words for what is left out, once all have been taken.
    """
    _run(source, run)
    return _points(source, source.series(run), None, None, missed)


def _run(source: Store, name: str) -> Run:
    if (found := source.run(name)) is not None:
        return found
    names = [run.name for run in source.runs()]
    inside = [known for known in names if name.lower() in known.lower()]
    like = (inside or get_close_matches(name, names, NAMES, 0.5))[:NAMES]
    some = f"did you mean {' or '.join(like)}?" if like else f"runs are, among others: {', '.join(names[:NAMES])}"
    raise UnknownRun(f"there is no run {name!r}; {some if names else 'there is none yet'}")


def append_all(target: Store, records: Iterable[Record]) -> None:
    """In batches."""
    for some in _in_parts(records, BATCH):
        target.append(some)


def _in_parts(items: Iterable[T], length: int) -> Iterator[list[T]]:
    waiting = iter(items)
    while some := list(islice(waiting, length)):
        yield some


def _points(
    source: Store,
    series: list[Series],
    lo: float | None,
    hi: float | None,
    missed: set[str],
    choose: Choose = lambda id_, points: points,
) -> Iterator[Points]:
    """Those without a time, as a file has them that was written before it was followed, by step; then the others, by time."""
    seen: Counter[int] = Counter()
    stepped = [found for found in series if found.first_step is not None and lo is None]
    timed = [found for found in series if found.first_time_s is not None]
    for some in _in_parts(stepped, SERIES_AT_ONCE):
        yield from _points_on(source, some, lo, hi, "step", seen, choose)
    for some in _in_parts(timed, SERIES_AT_ONCE):
        yield from _points_on(source, some, lo, hi, "time", seen, choose)
    if lo is None and any(seen[found.id] < found.points for found in series):
        missed.add(UNPLACED)


def _points_on(
    source: Store,
    series: list[Series],
    lo: float | None,
    hi: float | None,
    axis: Axis,
    seen: Counter[int],
    choose: Choose,
) -> Iterator[Points]:
    """As many at a time as may be in memory; those on the axis of steps have no time."""
    ends = [
        (found.first_time_s, found.last_time_s) if axis == "time" else (found.first_step, found.last_step)
        for found in series
    ]
    least = min((float(first) for first, _ in ends if first is not None), default=0.0)
    most = max((float(last) for _, last in ends if last is not None), default=0.0)

    def read(start: float, end: float) -> dict[int, RawPoints]:
        columns = source.points([found.id for found in series], start, end, axis, untimed=axis == "step")
        if sum(len(points.value) for points in columns.values()) > MAX_POINTS and start < end:
            raise TooMuch("more points than are copied at once")
        return columns

    for columns in _halved(read, least if lo is None else lo, most if hi is None else hi):
        seen.update({id_: len(points.value) for id_, points in columns.items()})
        yield from _lines_of(series, {id_: choose(id_, points) for id_, points in columns.items()}, axis)


def _halved(read: Callable[[float, float], T], lo: float, hi: float) -> Iterator[T]:
    """What `read` returns for a range, or for the parts of it that it can read. Raises TooMuch where a single moment is too much."""
    try:
        yield read(lo, hi)
    except TooMuch:
        middle = (lo + hi) / 2
        if not lo < middle < hi:
            raise
        yield from _halved(read, lo, middle)
        yield from _halved(read, math.nextafter(middle, math.inf), hi)


def _lines_of(series: list[Series], columns: dict[int, RawPoints], axis: Axis) -> Iterator[Points]:
    """Points of series with equal labels that share their moment are one record again."""
    for labels, alike in groupby(sorted(series, key=lambda found: found.labels), key=lambda found: found.labels):
        lines: dict[tuple[int, float, float, int], dict[str, float]] = {}
        for found in alike:
            for segment, place, step, value in zip(
                *(column.tolist() for column in _moments(columns[found.id])), strict=True
            ):
                line, again = (segment, place, -math.inf if math.isnan(step) else step), 0
                while found.name in lines.setdefault((*line, again), {}):  # twice at one moment
                    again += 1
                lines[*line, again][found.name] = value
        for (segment, place, step, _), values in sorted(lines.items()):
            time_s, whole = place if axis == "time" else None, None if step == -math.inf else int(step)
            yield Points(series[0].run, labels, tuple(values), tuple(values.values()), time_s, whole, segment)


def _moments(points: RawPoints) -> tuple[NDArray[Any], ...]:
    return points.segment, points.place, points.step, points.value


def _lines(source: Store, run: str) -> Iterator[LogLine]:
    """Oldest first: the pages come newest first, so that their cursors are collected before."""
    cursors: list[int | None] = [None]
    while (before := source.logs(LogQuery(run, before=cursors[-1], limit=PAGE)).before) is not None:
        cursors.append(before)
    for before in reversed(cursors):
        yield from source.logs(LogQuery(run, before=before, limit=PAGE)).lines


def _samples(source: Store, run: str, small: Callable[[Sample], Sample], missed: set[str]) -> Iterator[Sample]:
    """By arrival."""
    after = in_files = 0
    while some := source.samples(SampleQuery(run, after=after, limit=SAMPLES_AT_ONCE, data=True)):
        after = some[-1].number
        copied = [small(sample) for sample in some]
        in_files += sum(sample.path != "" for sample in copied)
        yield from copied
    if in_files:
        missed.add(IN_FILES.format(in_files))


def _profiles(source: Store, run: str, lo: float, hi: float, host: str, files: set[str]) -> Iterator[StackRecording]:
    """What was sampled of each process, a minute at a time; minutes without stacks cost nothing."""
    sampled = source.stack_counts(lo, hi, run)
    minutes = {
        minute
        for start_s, end_s, _ in sampled
        for minute in range(math.floor(start_s / MINUTE_S), math.ceil(end_s / MINUTE_S))
    }
    for minute in sorted(minutes):
        for columns in _halved(
            lambda start, end: source.stacks(start, end, run), minute * MINUTE_S, (minute + 1) * MINUTE_S
        ):
            files.update(frame.file for frame in columns.frames)
            for covered in columns.covered:
                yield from _of_each_process(columns, covered, host)


def _of_each_process(columns: StackColumns, covered: tuple[float, float], host: str) -> Iterator[StackRecording]:
    end_s = columns.time_s + columns.duration_s
    inside = (columns.time_s < covered[1]) & (end_s > covered[0])
    whole_s = float(columns.duration_s.sum()) or 1.0
    for index, process in enumerate(columns.processes):
        chosen = np.flatnonzero(inside & (columns.process == index))
        if len(chosen):
            share = float(columns.duration_s[chosen].sum()) / whole_s
            yield _profile(columns, process, chosen.tolist(), host, round(columns.samples * share))


def _profile(columns: StackColumns, process: Process, chosen: list[int], host: str, count: int) -> StackRecording:
    stacks = {
        at: tuple(columns.frames[frame] for frame in columns.stacks[at]) for at in set(columns.stack[chosen].tolist())
    }
    samples = []
    for at in chosen:
        gil, cpu_s = int(columns.gil[at]), float(columns.cpu_s[at])
        samples.append(
            StackSpan(
                round(float(columns.time_s[at]) * 1e9),
                round(float(columns.duration_s[at]) * 1e9),
                int(columns.tid[at]),
                stacks[int(columns.stack[at])],
                None if gil < 0 else bool(gil),
                None if math.isnan(cpu_s) else round(cpu_s * 1e9),
                bool(columns.resolved[at]),
            )
        )
    start_ns = min(sample.mono_ns for sample in samples)
    end_ns = max(sample.mono_ns + sample.duration_ns for sample in samples)
    threads = {tid: name for (pid, tid), name in columns.threads.items() if pid == process.pid}
    return StackRecording(
        run=process.run,
        rank=process.rank,
        pid=process.pid,
        role=process.role,
        host=host,
        sampler="copied",
        hz=columns.hz,
        start_s=start_ns / 1e9,
        start_mono_ns=start_ns,
        end_mono_ns=end_ns,
        threads=threads,
        samples=samples,
        count=count,
    )
