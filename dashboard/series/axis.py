"""Where the points of a curve come from, and their places on the asked axis."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Labels
from collectors.store.buckets import PointSummaries, bucket, join_points, units_of
from collectors.store.store import Axis, Buckets, RawPoints, Series, Store, TooMuch, check

STEP, RELATIVE, TIME = "step", "relative", "time"  # any other axis is the name of a series


def stored_axis(x: str) -> Axis:
    """The axis of the store by which the places of `x` are found."""
    return "time" if x in (TIME, RELATIVE) else "step"


# Attempts of a run: where a newer segment wrote the steps of an older one again, the newer one counts (pure).

Attempts: TypeAlias = Mapping[int, tuple[float, float]]
"""Of each segment its first and its last step; {} where nothing was written again."""


def attempts_of(found: Buckets | RawPoints) -> Attempts:
    """By places on the step axis, in the order of the segments."""
    segment = found.segment
    if not len(segment):
        return {}
    low, high = (found.place, found.place) if isinstance(found, RawPoints) else (found.t, found.t_end)
    starts = np.append(0, np.flatnonzero(segment[1:] != segment[:-1]) + 1)
    ends = np.minimum.reduceat(low, starts).tolist(), np.maximum.reduceat(high, starts).tolist()
    return {number: (first, last) for number, first, last in zip(segment[starts].tolist(), *ends, strict=True)}


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
    """`place` rises; between two places the line is straight. `key`: of the baseline's sources."""

    place: Floats
    value: Floats
    key: Hashable = None

    def at(self, place: Floats) -> Floats:
        if not len(self.place):
            return np.full(len(place), np.nan)
        return np.interp(place, self.place, self.value, left=np.nan, right=np.nan)

    def difference(self, place: Floats, value: Floats) -> Floats:
        base = self.at(place)
        base[base == 0] = np.nan
        with np.errstate(over="ignore", invalid="ignore"):
            return 100 * (value - base) / np.abs(base)


def base_line(units: PointSummaries, key: Hashable) -> ReferenceCurve:
    """The mean of each place, over all that stand there."""
    rows = units.rows - units.non_finite
    some = rows > 0
    place, index = np.unique(units.high[some], return_inverse=True)
    count = np.bincount(index, rows[some], len(place))
    return ReferenceCurve(place, np.bincount(index, units.total[some], len(place)) / count, key)


def points_beside(points: RawPoints, base: ReferenceCurve) -> RawPoints:
    """Those where the baseline has a value."""
    found = base.difference(points.place, points.value)
    there = np.isfinite(base.difference(points.place, np.zeros(len(points.place))))
    return RawPoints._make(column[there] for column in points._replace(value=found))


# Reads of the store, a question at a time.

PART = 500_000  # raw points at a time: about 200 bytes each, with what is made of them
PLANNED = 8  # buckets a part, to find where parts end
AHEAD = 160_000  # points and summaries that are read together: 80 bytes each until they are buckets
_Asked: TypeAlias = tuple[int, float | None, float | None, Axis, int]


class CurveReader:
    """Every read of the store for one question. Raises what the store raises: StoreError, QueryAborted, TooMuch."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ahead: dict[_Asked, Buckets] = {}

    def cursor(self) -> int:
        return self._store.seq()

    def info(self, run: str) -> Mapping[str, Any]:
        """All of run.json; {} where there is none."""
        stored = self._store.run(run)
        return stored.info if stored else {}

    def has_run(self, run: str) -> bool:
        return self._store.run(run) is not None

    def runs(self) -> list[str]:
        """The newest first."""
        return [run.name for run in sorted(self._store.runs(), key=lambda run: run.last_time_s or 0.0, reverse=True)]

    def series(self, run: str | None) -> list[Series]:
        check()
        return list(self._store.series(run))

    def read_ahead(self, series: Sequence[Series], lo: float | None, hi: float | None, axis: Axis, most: int) -> None:
        """Reads together what is asked for next, one by one, in half the time: series that were logged together share their places."""
        for some in _portions(series, most):
            check()
            try:
                found = self.ranges(some, lo, hi, axis, most)
            except TooMuch:  # of all together; each may still be read by itself
                continue
            self._ahead |= {(number, lo, hi, axis, most): buckets for number, buckets in found.items()}

    def ranges(
        self, series: Sequence[Series], lo: float | None, hi: float | None, axis: Axis, most: int
    ) -> dict[int, Buckets]:
        """By id."""
        return self._store.range([one.id for one in series], lo, hi, axis, most) if series else {}

    def buckets(self, series: Series, lo: float | None, hi: float | None, axis: Axis, most: int) -> Buckets:
        found = self._ahead.pop((series.id, lo, hi, axis, most), None)
        return found if found is not None else self.ranges([series], lo, hi, axis, most)[series.id]

    def count(self, series: Series, lo: float | None, hi: float | None, axis: Axis) -> int:
        return self.buckets(series, lo, hi, axis, 1).points_total

    def attempts(self, series: Series) -> Attempts:
        """Of a series with one segment nothing need be read but a few summaries."""
        return {} if series.first_step is None else attempts_of(self.buckets(series, None, None, "step", 1))

    def points(self, series: Sequence[Series], lo: float | None, hi: float | None, axis: Axis) -> dict[int, RawPoints]:
        """By id."""
        return self._store.points([one.id for one in series], lo, hi, axis)

    def parts(self, series: Series, lo: float | None, hi: float | None, axis: Axis) -> Iterator[RawPoints]:
        """All points of a range, part by part along the axis; what shares its place comes together."""
        for start, end in self._cut(series, lo, hi, axis):
            check()
            points = self.points([series], start, end, axis)[series.id]
            if len(points.value):
                yield points

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


def _portions(series: Sequence[Series], most: int) -> Iterator[Sequence[Series]]:
    first, units = 0, 0
    for place, one in enumerate(series):
        own = min(one.points, FINER * most)
        if units and units + own > AHEAD:
            yield series[first:place]
            first, units = place, 0
        units += own
    if series:
        yield series[first:]


# Where the points of a curve come from: a stored series on one of its own axes, on another series, beside a baseline, or as one attempt.

MAX_RAW = 1_000_000  # points of a curve that are in memory at once; of more, summaries finer than what is drawn
FINER, MAX_FINE = 8, 20_000  # times as many summaries as buckets, and how many: the store need open no points for them
SCATTERED = "the series on the x axis goes back and forth, and there are more than {:,} points to put into its order; choose a shorter range"


class CurveSource(Protocol):
    """`lo` and `hi` are inclusive and on the axis, None is open. Segments of `buckets` and of `parts` are the same."""

    @property
    def points(self) -> int:
        """In all, at most."""

    @property
    def key(self) -> Hashable:
        """Another one wherever the points may differ."""

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets: ...

    def count(self, lo: float | None, hi: float | None) -> int:
        """About how many points these are, at little cost; not less."""

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        """All raw points, those of each segment in the order of the axis."""

    def attempts(self) -> Attempts: ...

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        """Which of them a newer attempt wrote again."""


def fits(source: CurveSource, lo: float | None, hi: float | None, together: int = 1) -> bool:
    """Whether the raw points of the range, and those of as many other curves, may be in memory at once."""
    if source.points * together <= MAX_RAW:
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
    """A series by its steps or its times."""

    def __init__(self, reader: CurveReader, series: Series, axis: Axis) -> None:
        self._reader, self._series, self._axis = reader, series, axis
        self.points, self.key = series.points, (series, axis)
        self._attempts: Attempts | None = None

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        return self._reader.buckets(self._series, lo, hi, self._axis, most)

    def count(self, lo: float | None, hi: float | None) -> int:
        return self._reader.count(self._series, lo, hi, self._axis)

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        return self._reader.parts(self._series, lo, hi, self._axis)

    def attempts(self) -> Attempts:
        if self._attempts is None:
            self._attempts = self._reader.attempts(self._series)
        return self._attempts

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        if self._axis == "step" and len(found.step) and found.segment[0] == found.segment[-1]:
            return np.zeros(len(found.step), np.bool_)  # nothing else was written at these steps
        return superseded(found.step, found.segment, self.attempts())


class Moved:
    """The places count from `begin`."""

    def __init__(self, source: CurveSource, begin: float) -> None:
        self._source, self._begin = source, begin
        self.points, self.key = source.points, (source.key, begin)

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        found = self._source.buckets(*self._at(lo, hi), most)
        return found._replace(t=found.t - self._begin, t_end=found.t_end - self._begin)

    def count(self, lo: float | None, hi: float | None) -> int:
        return self._source.count(*self._at(lo, hi))

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        for points in self._source.parts(*self._at(lo, hi)):
            yield points._replace(place=points.place - self._begin)

    def attempts(self) -> Attempts:
        return self._source.attempts()

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        return self._source.superseded(found)

    def _at(self, lo: float | None, hi: float | None) -> tuple[float | None, float | None]:
        return None if lo is None else lo + self._begin, None if hi is None else hi + self._begin


class IndexedBySeries:
    """Points by their steps, at the places that another series has at these steps. Each stretch is a segment."""

    def __init__(self, source: CurveSource, stretches: Sequence[Stretch], clock: Hashable) -> None:
        self._source, self._stretches = source, stretches
        self.points, self.key = source.points, (source.key, clock)
        self._segments = np.array([stretch.segment for stretch in stretches], np.int64)

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        if fits(self, lo, hi):
            return bucket(join_points(list(self.parts(lo, hi))), [], most)
        fine = finer(most)
        found = [self._summaries(*place, fine) for place in self._places(lo, hi)]
        return bucketed(found, most)

    def count(self, lo: float | None, hi: float | None) -> int:
        return sum(self._source.count(first, last) for _, _, first, last in self._places(lo, hi))

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        for number, stretch, first, last in self._places(lo, hi):
            waiting = []
            for points in self._source.parts(first, last):
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
        return superseded(found.step, self._segments[found.segment], self.attempts())

    def attempts(self) -> Attempts:
        return self._source.attempts()

    def _places(self, lo: float | None, hi: float | None) -> Iterator[tuple[int, Stretch, float, float]]:
        """The stretches that reach into a range, their numbers, and their steps there."""
        for number, stretch in enumerate(self._stretches):
            if not stretch.rises and self.points > MAX_RAW:
                raise TooMuch(SCATTERED.format(MAX_RAW))
            if (steps := stretch.steps(lo, hi)) is not None:
                yield number, stretch, *steps

    def _summaries(self, number: int, stretch: Stretch, first: float, last: float, most: int) -> PointSummaries:
        found = self._source.buckets(first, last, most)
        own = units_of_buckets(found)
        low, high = stretch.places(own.low), stretch.places(own.high)
        some = (own.segment == stretch.segment) & ~np.isnan(low) & ~np.isnan(high)
        placed = own._replace(low=low, high=high, segment=np.full(len(low), number))
        return PointSummaries._make(column[some] for column in placed)


class RelativeToBaseline:
    """Per cent differences from a baseline."""

    def __init__(self, source: CurveSource, base: ReferenceCurve) -> None:
        self._source, self._base = source, base
        self.points, self.key = source.points, (source.key, base.key)

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

    def attempts(self) -> Attempts:
        return self._source.attempts()

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        return self._source.superseded(found)


class NewestAttempt:
    """Without what a newer attempt wrote again, as one segment."""

    def __init__(self, source: CurveSource) -> None:
        self._source, self.points, self.key = source, source.points, source.key

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

    def attempts(self) -> Attempts:
        return {}

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        return np.zeros(len(found.step), np.bool_)

    def _of(self, points: RawPoints) -> RawPoints:
        newest = ~self._source.superseded(points)
        one = RawPoints._make(column[newest] for column in points)
        return one._replace(segment=np.zeros_like(one.segment))


# Put what a question is about on the asked axis.

MAX_PLACES = 20_000  # of a baseline, or of a series on the x axis, that has too many points to read them all
NEWEST = -1  # a segment that no series has: it is placed where the newest points say
NO_STEP = "its points have no step; choose x=time or x=relative"
NO_TIME = "its points have no time; choose x=step"


class NoPlace(Exception):
    """A series has no place on the axis, or nothing to be compared with; the text is one sentence."""


class KnownSeries(NamedTuple):
    """The stored series of a run, or of the machine (None); `first_s` and `last_s` are None where nothing has a time."""

    run: str | None
    series: list[Series]
    by_name: Mapping[str, list[Series]]
    first_s: float | None
    last_s: float | None

    @classmethod
    def of(cls, run: str | None, series: list[Series]) -> KnownSeries:
        by_name: dict[str, list[Series]] = {}
        for one in series:
            by_name.setdefault(one.name, []).append(one)
        first_s = min((one.first_time_s for one in series if one.first_time_s is not None), default=None)
        last_s = max((one.last_time_s for one in series if one.last_time_s is not None), default=None)
        return cls(run, series, by_name, first_s, last_s)


class AxisPlacement:
    """For one question: what several curves need is read once."""

    def __init__(self, reader: CurveReader, x: str) -> None:
        self._reader, self._x = reader, x
        self._clocks: dict[int, tuple[RawPoints, Attempts]] = {}

    def place(self, source: CurveSource, labels: Labels, known: KnownSeries, begin: float) -> CurveSource:
        """`source` is on the axis of the store, `known` are the series of its run, `begin` is the zero of relative times. Raises NoPlace."""
        if self._x in (TIME, STEP):
            return source
        return Moved(source, begin) if self._x == RELATIVE else self._on_series(source, labels, known)

    def _on_series(self, source: CurveSource, labels: Labels, known: KnownSeries) -> CurveSource:
        clocks = known.by_name.get(self._x, [])
        if not clocks:
            raise NoPlace(f"this run has no series {self._x!r} for the x axis")
        clock = of_rank(clocks, labels)
        if clock.first_step is None:
            raise NoPlace(f"the points of {self._x!r} have no step, so that they cannot place others")
        if clock.id not in self._clocks:
            self._clocks[clock.id] = self._clock(clock)
        points, attempts = self._clocks[clock.id]
        stretches = stretches_of(points, source.attempts() or [NEWEST], attempts)
        if not stretches:
            raise NoPlace(f"{self._x!r} has no finite value in this run")
        return IndexedBySeries(
            source, [stretch._replace(segment=max(stretch.segment, 0)) for stretch in stretches], clock
        )

    def _clock(self, clock: Series) -> tuple[RawPoints, Attempts]:
        """Its points by step; of too many, some that lie evenly."""
        source = StoredSeries(self._reader, clock, "step")
        if fits(source, None, None):
            parts = list(source.parts(None, None))
            return RawPoints._make(np.concatenate(column) for column in zip(*parts, strict=True)), source.attempts()
        found = source.buckets(None, None, MAX_PLACES)
        return RawPoints(found.t_end, found.step, found.segment, found.last), source.attempts()


RANK, HOST = "rank", "host"  # labels in which the ranks of a run differ


def rank_of(labels: Labels) -> int:
    rank = dict(labels).get(RANK, "0")
    return int(rank) if rank.isdecimal() else 0


def of_rank(series: Sequence[Series], labels: Labels) -> Series:
    """The one with the same labels, else that of the lowest rank."""
    return next((found for found in series if found.labels == labels), min(series, key=lambda one: rank_of(one.labels)))
