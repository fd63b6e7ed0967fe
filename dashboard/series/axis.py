"""The query of a chart: runs, series, axis and range, and where the points of each run are on that axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Labels, is_progress
from collectors.store.buckets import PointSummaries, bucket, join_points, units_of
from collectors.store.store import Axis, Buckets, RawPoints, Series, Store, TooMuch, check

from .smoothing import Smoothing
from .subscription import is_glob, split_names, wanted

# Which series of a run are the ranks of one (pure).

RankChoice: TypeAlias = Literal["mean", "each"]
RANK, HOST = "rank", "host"  # labels in which the ranks of a run differ


def bundles(series: Sequence[Series], ranks: RankChoice) -> dict[tuple[str, Labels], list[Series]]:
    """By name and the labels that all of a bundle share, in the order of the ranks."""
    found: dict[tuple[str, Labels], list[Series]] = {}
    for one_rank in sorted(series, key=rank_of):
        found.setdefault((one_rank.name, _shared(one_rank.labels, ranks)), []).append(one_rank)
    single = {(key[0], some[0].labels) if len(some) == 1 else key: some for key, some in found.items()}
    return dict(sorted(single.items(), key=lambda item: series.index(item[1][0])))


def rank_of(series: Series) -> int:
    rank = dict(series.labels).get(RANK, "0")
    return int(rank) if rank.isdecimal() else 0


def of_rank(series: Sequence[Series], labels: Labels) -> Series:
    """The one with the same labels, else that of the lowest rank."""
    return next((found for found in series if found.labels == labels), min(series, key=rank_of))


def _shared(labels: Labels, ranks: RankChoice) -> Labels:
    return labels if ranks == "each" else tuple(pair for pair in labels if pair[0] not in (RANK, HOST))


STEP, RELATIVE, TIME = "step", "relative", "time"  # any other axis is the name of a series
Spread: TypeAlias = Literal["minmax", "stderr"]


class CurveQuery(NamedTuple):
    """`lo` and `hi` are inclusive and stand on the axis; None is open."""

    runs: Sequence[str]
    series: Sequence[str]  # names or globs
    x: str = STEP
    lo: float | None = None
    hi: float | None = None
    buckets: int = 600  # of a curve
    smooth: Smoothing | None = None
    group: str | None = None  # a key of the runs' configuration
    spread: Spread = "minmax"
    baseline: str | None = None  # a run
    ranks: RankChoice = "mean"


class XAxis(NamedTuple):
    """`lo` and `hi` are None where no curve has a point."""

    name: str
    unit: str
    lo: float | None
    hi: float | None


@dataclass(frozen=True)
class Curve:
    """`run` is "" where it stands for a group. The places of `buckets` lie on the asked axis.

    `points_total` is the number of points of its series (in the asked range, where there is one), `points_read` of those that the
    buckets stand for: the others have no place on the axis, or nothing to be compared with, or are superseded in a group.
    """

    run: str
    group: str
    runs: list[str]
    series: str
    labels: Labels
    buckets: Buckets
    smooth: Floats | None
    superseded: Bools
    points_total: int
    points_read: int


class NoCurve(NamedTuple):
    """What was asked for and is not in the answer; the reason is one sentence. `absent`: the run has no such series, which is usual."""

    run: str
    series: str
    reason: str
    absent: bool = False


@dataclass(frozen=True)
class Overlay:
    """`cursor` is the newest commit that the curves surely hold: deltas after it continue them."""

    cursor: int
    x: XAxis
    curves: list[Curve]
    left_out: list[NoCurve]


class SharedTag(NamedTuple):
    """A series' name in some runs."""

    name: str
    points: int
    runs: int
    ranks: int  # of the run that has the most
    progress: bool = False  # nothing but counters that were read from text


# Attempts of a run: where a newer segment wrote the steps of an older one again, the newer one counts (pure).

Attempts: TypeAlias = Mapping[int, tuple[float, float]]
"""Of each segment its first and its last step."""


def attempts_of(found: Buckets) -> Attempts:
    """By buckets on the step axis."""
    steps: dict[int, tuple[float, float]] = {}
    for segment, first, last in zip(found.segment.tolist(), found.t.tolist(), found.t_end.tolist(), strict=True):
        before = steps.get(segment, (first, last))
        steps[segment] = min(first, before[0]), max(last, before[1])
    return steps


def superseded(step: Floats, segment: Ints, attempts: Attempts) -> Bools:
    """Which steps lie between the first and the last step of any later segment. A missing step (NaN) lies nowhere.

    Steps 0 1 2 3 4 of segment 0 and 2 3 of segment 1: 2 and 3 of segment 0 are superseded.
    """
    found = np.zeros(len(step), np.bool_)
    for later, (first, last) in attempts.items():
        found |= (segment < later) & (step >= first) & (step <= last)
    return found


# Any series as the x axis: it gives each step its place, by straight lines between its points (pure).
#
# Where the series goes back (an epoch that starts anew, a resumed run), a new stretch begins, and with it a new segment of the curve. A
# series that goes back often is no clock: then points are ordered by their place alone, in one stretch a segment.

MAX_TURNS = 64  # of a segment; beyond that the series is no clock


class Stretch(NamedTuple):
    """Steps of one segment, from `first_step` to `last_step`, and where they stand; `rises` unless the series is no clock."""

    segment: int
    first_step: float
    last_step: float
    step: Floats
    place: Floats
    rises: bool

    def places(self, step: Floats) -> Floats:
        """NaN outside of the stretch: nothing is guessed beyond the ends of the series."""
        found = np.interp(step, self.step, self.place)
        found[(step < self.first_step) | (step > self.last_step) | np.isnan(step)] = np.nan
        return found

    def steps(self, lo: float | None, hi: float | None) -> tuple[float, float] | None:
        """Where the steps lie that stand between two places, or a bit beyond; None where there are none."""
        if not self.rises:
            return self.first_step, self.last_step
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        if high < self.place[0] or low > self.place[-1]:
            return None
        first = max(int(np.searchsorted(self.place, low)) - 1, 0)
        last = int(np.searchsorted(self.place, high, "right"))
        return float(self.step[first]), float(self.step[last]) if last < len(self.step) else self.last_step


def stretches_of(points: RawPoints, segments: Iterable[int], attempts: Attempts) -> list[Stretch]:
    """For curves with these segments. `points` are those of the series, by segment and step; `attempts` are its own.

    A segment that the series does not have stands where its newest points say.
    """
    known = np.isfinite(points.value) & ~np.isnan(points.step)
    points = RawPoints._make(column[known] for column in points)
    newest = RawPoints._make(column[~superseded(points.step, points.segment, attempts)] for column in points)
    found = []
    for segment in sorted(segments):
        own = RawPoints._make(column[points.segment == segment] for column in points)
        found += _of_segment(own if len(own.step) else newest, segment)
    return found


def _of_segment(points: RawPoints, segment: int) -> list[Stretch]:
    if not len(points.step):
        return []
    order = np.argsort(points.step, kind="stable")
    step, place = points.step[order], points.value[order]
    last = np.append(step[1:] != step[:-1], True)  # of a step that comes twice
    step, place = step[last], place[last]
    turns = np.flatnonzero(place[1:] < place[:-1]) + 1
    if len(turns) > MAX_TURNS:
        return [Stretch(segment, float(step[0]), float(step[-1]), step, place, rises=False)]
    parts = zip(np.split(step, turns), np.split(place, turns), strict=True)
    ends = [
        *(np.nextafter(step[turns], -np.inf)).tolist(),
        float(step[-1]),
    ]  # up to the turn they stay at the last place
    return [
        Stretch(segment, float(steps[0]), end, steps, places, rises=True)
        for (steps, places), end in zip(parts, ends, strict=True)
    ]


# Values as the per cent difference from a baseline at the same place on the axis (pure).
#
# `100 (v - b) / |b|`: positive where the value is larger, whatever the sign of the baseline. There is no difference where the baseline is 0,
# nor beyond its ends.


class ReferenceCurve(NamedTuple):
    """`place` rises; between two places the line is straight."""

    place: Floats
    value: Floats

    def at(self, place: Floats) -> Floats:
        if not len(self.place):
            return np.full(len(place), np.nan)
        return np.interp(place, self.place, self.value, left=np.nan, right=np.nan)

    def difference(self, place: Floats, value: Floats) -> Floats:
        base = self.at(place)
        base[base == 0] = np.nan
        with np.errstate(over="ignore", invalid="ignore"):
            return 100 * (value - base) / np.abs(base)


def base_line(units: PointSummaries) -> ReferenceCurve:
    """The mean of each place, over all that stand there."""
    rows = units.rows - units.non_finite
    some = rows > 0
    place, index = np.unique(units.high[some], return_inverse=True)
    count = np.bincount(index, rows[some], len(place))
    return ReferenceCurve(place, np.bincount(index, units.total[some], len(place)) / count)


def points_beside(points: RawPoints, base: ReferenceCurve) -> RawPoints:
    """Those where the baseline has a value."""
    found = base.difference(points.place, points.value)
    there = np.isfinite(base.difference(points.place, np.zeros(len(points.place))))
    return RawPoints._make(column[there] for column in points._replace(value=found))


# Read the series of runs, and their points in parts that fit into memory.

PART = 500_000  # raw points at a time: about 200 bytes each, with what is made of them
PLANNED = 8  # buckets a part, to find where parts end


class RunSelection(NamedTuple):
    """A run, its series that were asked for, and all; `first_s` is where it begins, Unix seconds; None where nothing has a time."""

    run: str
    series: list[Series]
    known: list[Series]
    first_s: float | None


class CurveReader:
    """Every read of the store for curves. Raises what the store raises: StoreError, QueryAborted, TooMuch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cursor(self) -> int:
        return self._store.seq()

    def info(self, run: str) -> Mapping[str, Any]:
        """All of run.json; {} where there is none."""
        stored = self._store.run(run)
        return stored.info if stored else {}

    def choose(self, runs: Sequence[str], names: Sequence[str], left_out: list[NoCurve]) -> list[RunSelection]:
        """In the order of the runs; what is not there is left out."""
        chosen = []
        for run in dict.fromkeys(runs):
            check()
            known = self._store.series(run)
            if not known and self._store.run(run) is None:
                left_out.append(NoCurve(run, "", f"there is no run {run!r}; GET /api/v1/runs lists them"))
                continue
            parts = split_names(names, {series.name for series in known})
            absent = [part for part in parts if not any(wanted(series.name, [part]) for series in known)]
            left_out += [NoCurve(run, part, _absent(part), absent=True) for part in absent]
            found = [series for series in known if wanted(series.name, parts)]
            first_s = min((series.first_time_s for series in known if series.first_time_s is not None), default=None)
            chosen.append(RunSelection(run, found, known, first_s))
        return chosen

    def buckets(self, series: Series, lo: float | None, hi: float | None, axis: Axis, most: int) -> Buckets:
        return self._store.range([series.id], lo, hi, axis, most)[series.id]

    def count(self, series: Series, lo: float | None, hi: float | None, axis: Axis) -> int:
        return self.buckets(series, lo, hi, axis, 1).points_total

    def attempts(self, series: Series) -> Attempts:
        """Of a series with one segment nothing need be read but a few summaries."""
        return attempts_of(self.buckets(series, None, None, "step", 1))

    def parts(self, series: Series, lo: float | None, hi: float | None, axis: Axis) -> Iterator[RawPoints]:
        """All points of a range, part by part along the axis; what shares its place comes together."""
        for start, end in self._cut(series, lo, hi, axis):
            check()
            points = self._store.points([series.id], start, end, axis)[series.id]
            if len(points.value):
                yield points

    def tags(self, runs: Sequence[str]) -> list[SharedTag]:
        """By name."""
        points: dict[str, int] = {}
        places: dict[str, dict[str, set[str]]] = {}
        told: set[str] = set()  # names of series that are no counters of text
        for run in dict.fromkeys(runs):
            check()
            for series in self._store.series(run):
                points[series.name] = points.get(series.name, 0) + series.points
                if not is_progress(series.name, series.labels):
                    told.add(series.name)
                places.setdefault(series.name, {}).setdefault(run, set()).add(dict(series.labels).get(RANK, ""))
        return [
            SharedTag(name, points[name], len(of_runs), max(map(len, of_runs.values())), name not in told)
            for name, of_runs in sorted(places.items())
        ]

    def _cut(
        self, series: Series, lo: float | None, hi: float | None, axis: Axis
    ) -> Iterator[tuple[float | None, float | None]]:
        """Ranges of about PART points each; none where there is nothing."""
        if series.points <= PART:
            yield lo, hi
            return
        found = self.buckets(series, lo, hi, axis, math.ceil(PLANNED * series.points / PART))
        order = np.argsort(found.t, kind="stable")
        starts, counts = found.t[order], np.cumsum(found.count[order])
        begin, done = lo, 0
        for place, count in zip(starts[1:].tolist(), counts[:-1].tolist(), strict=True):
            if count - done >= PART and (begin is None or place > begin):
                yield begin, math.nextafter(place, -math.inf)
                begin, done = place, count
        if len(starts):
            yield begin, hi


def _absent(name: str) -> str:
    return f"no series of this run matches {name!r}" if is_glob(name) else f"this run has no series {name!r}"


# Where the points of a curve come from: a stored series on one of its own axes, on another series, beside a baseline, or as one attempt.

MAX_RAW = 1_000_000  # points of a curve that are in memory at once; of more, summaries finer than what is drawn
FINER, MAX_FINE = 8, 20_000  # times as many summaries as buckets, and how many: the store need open no points for them
SCATTERED = "the series on the x axis goes back and forth, and there are more than {:,} points to put into its order; choose a shorter range"


class CurveSource(Protocol):
    """`lo` and `hi` are inclusive and on the asked axis, None is open. Segments of `buckets` and of `parts` are the same."""

    series: Series

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets: ...

    def count(self, lo: float | None, hi: float | None) -> int:
        """About how many points these are, at little cost; not less."""

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        """All raw points, those of each segment in the order of the axis."""

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        """Which of them a newer attempt wrote again."""


def fits(source: CurveSource, lo: float | None, hi: float | None, together: int = 1) -> bool:
    """Whether the raw points of the range, and those of as many other curves, may be in memory at once."""
    if source.series.points * together <= MAX_RAW:
        return True
    return not (lo is None and hi is None) and source.count(lo, hi) * together <= MAX_RAW


def finer(most: int) -> int:
    return max(most, min(FINER * most, MAX_FINE))


def units(source: CurveSource, lo: float | None, hi: float | None, most: int, together: int = 1) -> PointSummaries:
    """Every point of the range; of too many, with so many curves together, summaries several times finer than `most` buckets."""
    if fits(source, lo, hi, together):
        return units_of(join_points(list(source.parts(lo, hi))))
    return units_of_buckets(source.buckets(lo, hi, finer(most)))


def units_of_buckets(found: Buckets) -> PointSummaries:
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.where(found.count > found.non_finite, found.mean * (found.count - found.non_finite), 0.0)
    return PointSummaries(
        found.t,
        found.t_end,
        found.step,
        found.segment,
        found.count,
        found.non_finite,
        found.min,
        found.max,
        total,
        found.last,
    )


def bucketed(parts: Sequence[PointSummaries], most: int) -> Buckets:
    return bucket(join_points([]), [part for part in parts if len(part.low)], most)


class StoredSeries:
    """A series by its steps or its times; `begin` is where the axis has its zero."""

    def __init__(self, reader: CurveReader, series: Series, axis: Axis, begin: float = 0.0) -> None:
        self._reader, self.series, self._axis, self._begin = reader, series, axis, begin
        self._attempts: Attempts | None = None

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        found = self._reader.buckets(self.series, *self._stored(lo, hi), self._axis, most)
        return found._replace(t=found.t - self._begin, t_end=found.t_end - self._begin) if self._begin else found

    def count(self, lo: float | None, hi: float | None) -> int:
        return self._reader.count(self.series, *self._stored(lo, hi), self._axis)

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        for points in self._reader.parts(self.series, *self._stored(lo, hi), self._axis):
            yield points._replace(place=points.place - self._begin) if self._begin else points

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        if self._axis == "step" and len(found.step) and found.segment[0] == found.segment[-1]:
            return np.zeros(len(found.step), np.bool_)  # nothing else was written at these steps
        if self._attempts is None:
            self._attempts = self._reader.attempts(self.series)
        return superseded(found.step, found.segment, self._attempts)

    def _stored(self, lo: float | None, hi: float | None) -> tuple[float | None, float | None]:
        return None if lo is None else lo + self._begin, None if hi is None else hi + self._begin


class IndexedBySeries:
    """A series by its steps, at the places that another series has at these steps. Each stretch is a segment."""

    def __init__(self, reader: CurveReader, series: Series, stretches: Sequence[Stretch], attempts: Attempts) -> None:
        self._reader, self.series, self._stretches, self._attempts = reader, series, stretches, attempts
        self._segments = np.array([stretch.segment for stretch in stretches], np.int64)

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        if fits(self, lo, hi):
            return bucket(join_points(list(self.parts(lo, hi))), [], most)
        fine = finer(most)
        found = [self._summaries(*place, fine) for place in self._places(lo, hi)]
        return bucketed(found, most)

    def count(self, lo: float | None, hi: float | None) -> int:
        return sum(self._reader.count(self.series, first, last, "step") for _, _, first, last in self._places(lo, hi))

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        for number, stretch, first, last in self._places(lo, hi):
            waiting = []
            for points in self._reader.parts(self.series, first, last, "step"):
                place = stretch.places(points.step)
                inside = (points.segment == stretch.segment) & (place >= low) & (place <= high)  # false for NaN
                numbered = RawPoints(place, points.step, np.full(len(place), number), points.value)
                chosen = RawPoints._make(column[inside] for column in numbered)
                if stretch.rises:
                    yield chosen
                else:
                    waiting.append(chosen)
            if waiting:
                yield join_points(waiting)

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        return superseded(found.step, self._segments[found.segment], self._attempts)

    def _places(self, lo: float | None, hi: float | None) -> Iterator[tuple[int, Stretch, float, float]]:
        """The stretches that reach into a range, their numbers, and their steps there."""
        for number, stretch in enumerate(self._stretches):
            if not stretch.rises and self.series.points > MAX_RAW:
                raise TooMuch(SCATTERED.format(MAX_RAW))
            if (steps := stretch.steps(lo, hi)) is not None:
                yield number, stretch, *steps

    def _summaries(self, number: int, stretch: Stretch, first: float, last: float, most: int) -> PointSummaries:
        found = self._reader.buckets(self.series, first, last, "step", most)
        own = units_of_buckets(found)
        low, high = stretch.places(own.low), stretch.places(own.high)
        some = (own.segment == stretch.segment) & ~np.isnan(low) & ~np.isnan(high)
        placed = own._replace(low=low, high=high, segment=np.full(len(low), number))
        return PointSummaries._make(column[some] for column in placed)


class RelativeToBaseline:
    """Per cent differences from a baseline."""

    def __init__(self, source: CurveSource, base: ReferenceCurve) -> None:
        self._source, self._base, self.series = source, base, source.series

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        if fits(self, lo, hi):
            return bucket(join_points(list(self.parts(lo, hi))), [], most)
        parts = [bucket(points, [], finer(most)) for points in self.parts(lo, hi) if len(points.place)]  # part by part
        return bucketed([units_of_buckets(found) for found in parts], most)

    def count(self, lo: float | None, hi: float | None) -> int:
        return self._source.count(lo, hi)

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        for points in self._source.parts(lo, hi):
            yield points_beside(points, self._base)

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        return self._source.superseded(found)


class NewestAttempt:
    """Without what a newer attempt wrote again, as one segment."""

    def __init__(self, source: CurveSource) -> None:
        self._source, self.series = source, source.series

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        found = units_of_buckets(self._source.buckets(lo, hi, finer(most)))
        newest = ~self._source.superseded(found)
        one = PointSummaries._make(column[newest] for column in found)
        return bucketed([one._replace(segment=np.zeros_like(one.segment))], most)

    def count(self, lo: float | None, hi: float | None) -> int:
        return self._source.count(lo, hi)

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        """Sorted as a whole where it may be: segments may reach into each other on an axis of another series."""
        if fits(self, lo, hi):
            yield join_points([self._of(points) for points in self._source.parts(lo, hi)])
            return
        before = -np.inf
        for points in self._source.parts(lo, hi):
            if len(points.place) and points.place.min() < before:
                raise TooMuch(SCATTERED.format(MAX_RAW))
            before = points.place.max(initial=before)
            yield join_points([self._of(points)])

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        return np.zeros(len(found.step), np.bool_)

    def _of(self, points: RawPoints) -> RawPoints:
        newest = ~self._source.superseded(points)
        one = RawPoints._make(column[newest] for column in points)
        return one._replace(segment=np.zeros_like(one.segment))


# Put the series of a run on the asked axis, beside the asked baseline.

MAX_PLACES = 20_000  # of a baseline, or of a series on the x axis, that has too many points to read them all
NO_STEP = "its points have no step; choose x=time or x=relative"
NO_TIME = "its points have no time; choose x=step"


class NoPlace(Exception):
    """A series has no place on the axis, or nothing to stand beside; the text is one sentence."""


class UnknownSeries(NoPlace):
    """There is no such run or series."""


class AxisPlacement:
    """For one question: what several curves need is read once."""

    def __init__(self, reader: CurveReader, x: str, baseline: str | None) -> None:
        self._reader, self.x, self.baseline = reader, x, baseline
        self._clocks: dict[int, tuple[RawPoints, Attempts]] = {}
        self._bases: dict[tuple[str, Labels], ReferenceCurve | str] = {}
        self._other: list[RunSelection] | None = None  # the baseline's run

    def source(self, run: RunSelection, series: Series, labels: Labels) -> CurveSource:
        """`labels` are those of the curve. Raises NoPlace."""
        placed = self._placed(run, series)
        if self.baseline is None:
            return placed
        key = (series.name, _apart(labels))
        if key not in self._bases:
            self._bases[key] = self._base(*key)
        base = self._bases[key]
        if isinstance(base, str):
            raise NoPlace(base)
        return RelativeToBaseline(placed, base)

    def exported(self, run: RunSelection, series: Series) -> CurveSource:
        """Raises NoPlace with the names of the series and its run."""
        try:
            return self._placed(run, series)
        except NoPlace as error:
            raise NoPlace(
                f"series {series.name!r} of run {run.run!r} cannot be exported on this axis: {error}"
            ) from None

    def _placed(self, run: RunSelection, series: Series) -> CurveSource:
        if self.x in (RELATIVE, TIME):
            if series.first_time_s is None:
                raise NoPlace(NO_TIME)
            return StoredSeries(self._reader, series, "time", (run.first_s or 0.0) if self.x == RELATIVE else 0.0)
        if series.first_step is None:
            raise NoPlace(
                NO_STEP if self.x == STEP else f"its points have no step, by which {self.x!r} could place them"
            )
        return StoredSeries(self._reader, series, "step") if self.x == STEP else self._on_series(run, series)

    def _on_series(self, run: RunSelection, series: Series) -> CurveSource:
        clocks = [found for found in run.known if found.name == self.x]
        if not clocks:
            raise NoPlace(f"this run has no series {self.x!r} for the x axis")
        clock = of_rank(clocks, series.labels)
        if clock.first_step is None:
            raise NoPlace(f"the points of {self.x!r} have no step, so that they cannot place others")
        if clock.id not in self._clocks:
            self._clocks[clock.id] = self._clock(clock)
        attempts = self._reader.attempts(series)
        stretches: list[Stretch] = stretches_of(self._clocks[clock.id][0], attempts, self._clocks[clock.id][1])
        if not stretches:
            raise NoPlace(f"{self.x!r} has no finite value in this run")
        return IndexedBySeries(self._reader, series, stretches, attempts)

    def _clock(self, clock: Series) -> tuple[RawPoints, Attempts]:
        """Its points by step; of too many, some that lie evenly."""
        attempts = self._reader.attempts(clock)
        if fits(StoredSeries(self._reader, clock, "step"), None, None):
            parts = list(self._reader.parts(clock, None, None, "step"))
            return RawPoints._make(np.concatenate(column) for column in zip(*parts, strict=True)), attempts
        found = self._reader.buckets(clock, None, None, "step", MAX_PLACES)
        return RawPoints(found.t_end, found.step, found.segment, found.last), attempts

    def _base(self, name: str, labels: Labels) -> ReferenceCurve | str:
        """The baseline's line, over all its ranks that have these labels; or why there is none."""
        assert self.baseline is not None
        if self._other is None:
            left_out: list[NoCurve] = []
            self._other = self._reader.choose([self.baseline], ["*"], left_out)
        if not self._other:
            return f"there is no run {self.baseline!r} to be the baseline; GET /api/v1/runs lists them"
        (run,) = self._other
        named = [series for series in run.known if series.name == name]
        alike = [series for series in named if set(labels) <= set(series.labels)] or named
        if not alike:
            return f"the baseline {self.baseline!r} has no series {name!r}"
        try:
            sources = [NewestAttempt(self._placed(run, series)) for series in alike]
        except NoPlace as error:
            return f"the baseline {self.baseline!r} has no place on this axis: {error}"
        try:
            members = [units(source, None, None, MAX_PLACES, len(sources)) for source in sources]
        except TooMuch as error:
            return f"the baseline {self.baseline!r} cannot be read: {error}"
        return base_line(PointSummaries._make(np.concatenate(column) for column in zip(*members, strict=True)))


def _apart(labels: Labels) -> Labels:
    """Without what differs from run to run."""
    return tuple(pair for pair in labels if pair[0] != HOST)
