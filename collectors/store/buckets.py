"""Points and summaries of points become the buckets of a chart (pure).

A bucket is honest: its min, max and count are those of the raw points between its own edges. So a boundary may stand only where
no unit reaches across it, and points that share their place on the axis stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .store import Buckets, RawPoints

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class PointSummaries(NamedTuple):
    """Summaries of points, one entry each; a single point is one of one row. `low` and `high` lie on the asked axis."""

    low: _Floats
    high: _Floats
    step: _Floats  # of its last point
    segment: _Ints
    rows: _Ints
    non_finite: _Ints
    least: _Floats  # of finite values, NaN where there are none
    most: _Floats
    total: _Floats
    last: _Floats


def join_points(parts: Sequence[RawPoints]) -> RawPoints:
    """By segment, then by place; equal places keep their order of arrival."""
    none, no = np.empty(0), np.empty(0, np.int64)
    columns = zip(RawPoints(none, none, no, none), *parts, strict=True)
    points = parts[0] if len(parts) == 1 else RawPoints._make(np.concatenate(column) for column in columns)
    if _rises(points.segment, points.place):
        return points
    order = np.lexsort((points.place, points.segment))
    return RawPoints._make(column[order] for column in points)


def bucket(points: RawPoints, summaries: Sequence[PointSummaries], buckets: int) -> Buckets:
    """At most `buckets` buckets of equal width on the axis, or one for each segment where there are more of these. `points` are in order."""
    units = units_of(points)
    if not any(len(each.low) for each in summaries):
        return _answer(units, len(points.place)) if len(points.place) <= buckets else _reduce(units, buckets)
    joined = PointSummaries._make(np.concatenate(column) for column in zip(*summaries, units, strict=True))
    if not _rises(joined.segment, joined.low):
        order = np.lexsort((joined.low, joined.segment))
        joined = PointSummaries._make(column[order] for column in joined)
    return _reduce(joined, buckets)


def units_of(points: RawPoints) -> PointSummaries:
    """Each point as a summary of one row."""
    finite = np.isfinite(points.value)
    known = points.value if finite.all() else np.where(finite, points.value, np.nan)
    ones = np.ones(len(points.value), np.int64)
    total = known if finite.all() else np.where(finite, points.value, 0.0)
    return PointSummaries(
        points.place, points.place, points.step, points.segment, ones, ones - finite, known, known, total, points.value
    )


def points_of(units: PointSummaries) -> RawPoints:
    """Each summary as a point of its mean, at its middle."""
    with np.errstate(invalid="ignore", divide="ignore"):
        finite = units.rows - units.non_finite
        mean = np.where(finite > 0, np.clip(units.total / finite, units.least, units.most), units.last)
    return RawPoints((units.low + units.high) / 2, units.step, units.segment, mean)


def _reduce(units: PointSummaries, buckets: int) -> Buckets:
    new_segment = np.append(0, np.flatnonzero(units.segment[1:] != units.segment[:-1]) + 1)
    reach = _reach(units.high, new_segment)
    apart = np.append(True, units.low[1:] > reach[:-1])  # a boundary may stand before this unit
    apart[new_segment] = True
    islands = np.flatnonzero(apart)
    cells = _cells(units, new_segment, reach, islands, buckets)
    first = np.append(True, cells[1:] != cells[:-1])
    first[np.searchsorted(islands, new_segment)] = True
    starts = islands[first]
    return reduce_at(units, starts)


def reduce_at(units: PointSummaries, starts: _Ints) -> Buckets:
    """A bucket from each start to the next."""
    ends = np.append(starts[1:], len(units.low)) - 1
    with np.errstate(over="ignore"):
        reduced = PointSummaries(
            np.minimum.reduceat(units.low, starts),
            np.maximum.reduceat(units.high, starts),
            units.step[ends],
            units.segment[starts],
            np.add.reduceat(units.rows, starts),
            np.add.reduceat(units.non_finite, starts),
            np.fmin.reduceat(units.least, starts),
            np.fmax.reduceat(units.most, starts),
            np.add.reduceat(units.total, starts),
            units.last[ends],
        )
    return _answer(reduced, int(units.rows.sum()))


def _reach(high: _Floats, new_segment: _Ints) -> _Floats:
    """How far any unit up to this one reaches, within its segment."""
    ends = [*new_segment[1:].tolist(), len(high)]
    return np.concatenate(
        [np.maximum.accumulate(high[start:end]) for start, end in zip(new_segment.tolist(), ends, strict=True)]
    )


def _cells(units: PointSummaries, new_segment: _Ints, reach: _Floats, islands: _Ints, buckets: int) -> _Ints:
    """In which bucket of its segment each island begins. Over all segments these are at most `buckets`, or one per segment."""
    ends = np.append(new_segment[1:], len(units.low)) - 1
    widths = reach[ends] - units.low[new_segment]
    spare = buckets - len(new_segment)
    if spare <= 0 or not widths.sum() > 0:
        return np.zeros(len(islands), np.int64)
    width = widths.sum() / spare
    segment = np.searchsorted(new_segment, islands, "right") - 1 if len(new_segment) > 1 else np.zeros(1, np.int64)
    # Rounding must not open a bucket beyond the segment's last.
    highest = np.floor(widths / width).astype(np.int64)
    cells = np.floor((units.low[islands] - units.low[new_segment][segment]) / width).astype(np.int64)
    clipped: _Ints = np.minimum(cells, highest[segment])
    return clipped


def _answer(units: PointSummaries, points_total: int) -> Buckets:
    finite = units.rows - units.non_finite
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.clip(
            units.total / finite, units.least, units.most
        )  # a sum is rounded, and may be more than a float holds
    return Buckets(
        units.low, units.high, units.step, units.segment, units.least, units.most, mean, units.last, units.rows, units.non_finite,
        points_total,
    )  # fmt: skip


def _rises(segment: _Ints, place: _Floats) -> bool:
    """Whether they are in order: by segment, then by place."""
    same = segment[1:] == segment[:-1]
    return bool(np.where(same, place[1:] >= place[:-1], segment[1:] > segment[:-1]).all())
