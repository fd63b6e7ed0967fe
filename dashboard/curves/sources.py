"""Where the points of a curve come from: a stored series on one of its own axes, on another series, beside a baseline, or as one attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from collectors.analysis.stacks.traces import Bools
from collectors.store.buckets import Summaries, bucket, join_points, units_of
from collectors.store.protocol import Axis, Buckets, RawPoints, Series
from collectors.store.question import TooMuch

from . import baseline
from .attempts import Attempts, superseded
from .axis import Stretch
from .baseline import BaseLine
from .reading import CurveReader

MOST_RAW = 1_000_000  # points of a curve that are in memory at once; of more, summaries finer than what is drawn
FINER, MOST_FINE = 8, 20_000  # times as many summaries as buckets, and how many: the store need open no points for them
SCATTERED = "the series on the x axis goes back and forth, and there are more than {:,} points to put into its order; choose a shorter range"


class CurveSource(Protocol):
    """`lo` and `hi` are inclusive and on the asked axis, None is open. Segments of `buckets` and of `parts` are the same."""

    series: Series

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets: ...

    def count(self, lo: float | None, hi: float | None) -> int:
        """About how many points these are, at little cost; not less."""

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        """All raw points, those of each segment in the order of the axis."""

    def superseded(self, found: Buckets | RawPoints | Summaries) -> Bools:
        """Which of them a newer attempt wrote again."""


def fits(source: CurveSource, lo: float | None, hi: float | None, together: int = 1) -> bool:
    """Whether the raw points of the range, and those of as many other curves, may be in memory at once."""
    if source.series.points * together <= MOST_RAW:
        return True
    return not (lo is None and hi is None) and source.count(lo, hi) * together <= MOST_RAW


def finer(most: int) -> int:
    return max(most, min(FINER * most, MOST_FINE))


def units(source: CurveSource, lo: float | None, hi: float | None, most: int, together: int = 1) -> Summaries:
    """Every point of the range; of too many, with so many curves together, summaries several times finer than `most` buckets."""
    if fits(source, lo, hi, together):
        return units_of(join_points(list(source.parts(lo, hi))))
    return units_of_buckets(source.buckets(lo, hi, finer(most)))


def units_of_buckets(found: Buckets) -> Summaries:
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.where(found.count > found.non_finite, found.mean * (found.count - found.non_finite), 0.0)
    return Summaries(
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


def bucketed(parts: Sequence[Summaries], most: int) -> Buckets:
    return bucket(join_points([]), [part for part in parts if len(part.low)], most)


class Stored:
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

    def superseded(self, found: Buckets | RawPoints | Summaries) -> Bools:
        if self._axis == "step" and len(found.step) and found.segment[0] == found.segment[-1]:
            return np.zeros(len(found.step), np.bool_)  # nothing else was written at these steps
        if self._attempts is None:
            self._attempts = self._reader.attempts(self.series)
        return superseded(found.step, found.segment, self._attempts)

    def _stored(self, lo: float | None, hi: float | None) -> tuple[float | None, float | None]:
        return None if lo is None else lo + self._begin, None if hi is None else hi + self._begin


class OnSeries:
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

    def superseded(self, found: Buckets | RawPoints | Summaries) -> Bools:
        return superseded(found.step, self._segments[found.segment], self._attempts)

    def _places(self, lo: float | None, hi: float | None) -> Iterator[tuple[int, Stretch, float, float]]:
        """The stretches that reach into a range, their numbers, and their steps there."""
        for number, stretch in enumerate(self._stretches):
            if not stretch.rises and self.series.points > MOST_RAW:
                raise TooMuch(SCATTERED.format(MOST_RAW))
            if (steps := stretch.steps(lo, hi)) is not None:
                yield number, stretch, *steps

    def _summaries(self, number: int, stretch: Stretch, first: float, last: float, most: int) -> Summaries:
        found = self._reader.buckets(self.series, first, last, "step", most)
        own = units_of_buckets(found)
        low, high = stretch.places(own.low), stretch.places(own.high)
        some = (own.segment == stretch.segment) & ~np.isnan(low) & ~np.isnan(high)
        placed = own._replace(low=low, high=high, segment=np.full(len(low), number))
        return Summaries._make(column[some] for column in placed)


class Beside:
    """Per cent differences from a baseline."""

    def __init__(self, source: CurveSource, base: BaseLine) -> None:
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
            yield baseline.points_beside(points, self._base)

    def superseded(self, found: Buckets | RawPoints | Summaries) -> Bools:
        return self._source.superseded(found)


class Newest:
    """Without what a newer attempt wrote again, as one segment."""

    def __init__(self, source: CurveSource) -> None:
        self._source, self.series = source, source.series

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        found = units_of_buckets(self._source.buckets(lo, hi, finer(most)))
        newest = ~self._source.superseded(found)
        one = Summaries._make(column[newest] for column in found)
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
                raise TooMuch(SCATTERED.format(MOST_RAW))
            before = points.place.max(initial=before)
            yield join_points([self._of(points)])

    def superseded(self, found: Buckets | RawPoints | Summaries) -> Bools:
        return np.zeros(len(found.step), np.bool_)

    def _of(self, points: RawPoints) -> RawPoints:
        newest = ~self._source.superseded(points)
        one = RawPoints._make(column[newest] for column in points)
        return one._replace(segment=np.zeros_like(one.segment))
