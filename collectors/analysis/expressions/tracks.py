"""What an expression is computed on: columns of a series, each value an interval with its mean and its last (pure).

A raw point is a place of no width whose interval is the value itself. A bucket has a first and a last place, and its values lie between
`low` and `high`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...records import Labels
from ...store.buckets import Summaries, bucket
from ...store.protocol import Axis, Buckets, RawPoints
from ..stacks.traces import Floats, Ints

HOLD = 2.0  # a value holds for so many of the usual distances between its series' points


class SeriesColumns(NamedTuple):
    """A series as it was read. `run` is "" for the machine's own; `clock` means that its steps are the run's clock.

    Points and buckets stand in any order; where several points share a place, the later one is the last.
    """

    run: str
    name: str
    labels: Labels
    unit: str
    data: Buckets | RawPoints
    clock: bool = False


class Raster(NamedTuple):
    """Where an expression is computed: `lo` and `hi` are inclusive and lie on the axis, None is open; at most so many `buckets`."""

    axis: Axis = "time"
    lo: float | None = None
    hi: float | None = None
    buckets: int = 1000


class Interval(NamedTuple):
    """Columns of equal length. For a single value all four are the same object, which then is computed once."""

    low: Floats
    high: Floats
    mean: Floats
    last: Floats

    @property
    def single(self) -> bool:
        return self.low is self.high


def single(value: Floats) -> Interval:
    return Interval(value, value, value, value)


class Track(NamedTuple):
    """`start` and `end` rise. `reason` says why low and high are not attained; "" where they are. `hold` is on the axis."""

    labels: Labels
    start: Floats
    end: Floats
    value: Interval
    count: Ints  # type: ignore[assignment]  # finite values of a bucket; also the name of a method of tuples
    hold: float
    reason: str = ""

    @property
    def instants(self) -> bool:
        """Whether each place has no width."""
        return self.start is self.end

    @property
    def points(self) -> bool:
        """Whether each place has one value: all is exact then."""
        return self.instants and self.value.single

    def valued(self, value: Interval, reason: str = "") -> Track:
        return self._replace(value=value, reason=self.reason or ("" if value.single and self.instants else reason))


def track_of(series: SeriesColumns, axis: Axis) -> Track:
    """Places that are NaN are left out."""
    labels = tuple(sorted((("run", series.run), *series.labels))) if series.run else series.labels
    data = series.data
    if series.clock:
        place = data.place if isinstance(data, RawPoints) else data.t_end
        steps = place if axis == "step" else data.step
        known = ~np.isnan(steps)
        return _of_points(labels, place[known], steps[known])
    if isinstance(data, RawPoints):
        return _of_points(labels, data.place, data.value)
    if (data.count == 1).all():
        return _of_points(labels, data.t, data.last)
    return _of_buckets(labels, data)


def buckets_of(track: Track, raster: Raster) -> Buckets:
    """What is drawn of a track: inside the raster, in at most so many buckets. A place without a value counts no points."""
    inside = np.ones(len(track.start), np.bool_)
    if raster.lo is not None:
        inside &= track.end >= raster.lo
    if raster.hi is not None:
        inside &= track.start <= raster.hi
    many = int(inside.sum()) > raster.buckets
    if many:
        inside &= ~np.isnan(track.value.last) | ~np.isnan(track.value.mean)
    units = _summaries(track, inside, raster.axis)
    none, no = np.empty(0), np.empty(0, np.int64)
    if many and len(units.low):
        return bucket(RawPoints(none, none, no, none), [units], raster.buckets)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = units.total / (units.rows - units.non_finite)
    return Buckets(
        units.low, units.high, units.step, units.segment, units.least, units.most, mean, units.last, units.rows, units.non_finite,
        int(units.rows.sum()),
    )  # fmt: skip


def _of_points(labels: Labels, place: Floats, value: Floats) -> Track:
    known = ~np.isnan(place)
    if not known.all():
        place, value = place[known], value[known]
    if len(place) > 1 and not (place[1:] >= place[:-1]).all():
        order = np.argsort(place, kind="stable")
        place, value = place[order], value[order]
    first = np.append(True, place[1:] != place[:-1])[: len(place)]
    if first.all():
        return Track(labels, place, place, single(value), np.ones(len(place), np.int64), hold_of(place))
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(place)) - 1
    finite = np.where(np.isfinite(value), value, np.nan)
    counts = np.add.reduceat(np.isfinite(value).astype(np.int64), starts)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.add.reduceat(np.where(np.isfinite(value), value, 0.0), starts) / counts
    low, high = np.fmin.reduceat(finite, starts), np.fmax.reduceat(finite, starts)
    place = place[starts]
    return Track(labels, place, place, Interval(low, high, mean, value[ends]), ends - starts + 1, hold_of(place))


def _of_buckets(labels: Labels, data: Buckets) -> Track:
    many = data.count > 1
    hold = HOLD * _median((data.t_end - data.t)[many] / (data.count[many] - 1))
    if not (data.t[1:] >= data.t[:-1]).all():
        order = np.argsort(data.t, kind="stable")
        data = Buckets._make([*(column[order] for column in data[:-1]), data.points_total])
    end = np.maximum.accumulate(data.t_end)
    return Track(
        labels, data.t, end, Interval(data.min, data.max, data.mean, data.last), data.count - data.non_finite, hold
    )


def hold_of(place: Floats) -> float:
    """Of places that rise: a single point holds for no time."""
    return HOLD * _median(place[1:] - place[:-1]) if len(place) > 1 else 0.0


def _median(values: Floats) -> float:
    """A fifth of the time of `np.median`."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def _summaries(track: Track, inside: np.ndarray[tuple[int], np.dtype[np.bool_]], axis: Axis) -> Summaries:
    low, high, mean, last = (column[inside] for column in track.value)
    start, end = track.start[inside], track.end[inside]
    finite = np.isfinite(mean)
    some = finite | ~np.isnan(last)
    rows = np.where(some, np.maximum(track.count[inside], 1), 0)
    non_finite = np.where(finite, 0, rows)
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.where(finite, mean * (rows - non_finite), 0.0)
    step = end if axis == "step" else np.full(len(end), np.nan)
    low, high = np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)
    return Summaries(start, end, step, np.zeros(len(end), np.int64), rows, non_finite, low, high, total, last)
