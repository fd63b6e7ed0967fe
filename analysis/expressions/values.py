"""Values of an expression: columns of a series, and how several of them meet (pure).

A value is `[1, place]` for points, and `[4, place]` for buckets: the least, the greatest, the mean and the last of each. Operations
broadcast over the rows, so a row need not stay in its order: `-x` turns least and greatest around. What is drawn takes the least and
the greatest over all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Labels
from collectors.store.buckets import PointSummaries, bucket
from collectors.store.store import Axis, Buckets, RawPoints

from .language import ExpressionError

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


MEAN, LAST = 2, 3  # rows of a value of buckets


class Track(NamedTuple):
    """`start` and `end` rise. `value` is `[1, place]` or `[4, place]`; `hold` is on the axis."""

    labels: Labels
    start: Floats
    end: Floats
    value: Floats
    count: Ints  # type: ignore[assignment]  # finite values of a bucket; also the name of a method of tuples
    hold: float

    @property
    def instants(self) -> bool:
        """Whether each place has no width."""
        return self.start is self.end

    @property
    def single(self) -> bool:
        return len(self.value) == 1

    @property
    def points(self) -> bool:
        """Whether each place has one value: all is exact then."""
        return self.instants and self.single

    @property
    def mean(self) -> Floats:
        mean: Floats = self.value[0 if self.single else MEAN]
        return mean

    @property
    def last(self) -> Floats:
        last: Floats = self.value[0 if self.single else LAST]
        return last

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """The least and the greatest value of each place; NaN where none is finite."""
        finite = self.value if np.isfinite(self.value).all() else np.where(np.isfinite(self.value), self.value, np.nan)
        return (finite[0], finite[0]) if self.single else (np.fmin.reduce(finite), np.fmax.reduce(finite))


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
        inside &= ~np.isnan(track.last) | ~np.isnan(track.mean)
    units = _summaries(track, inside, raster.axis)
    none, no = np.empty(0), np.empty(0, np.int64)
    if many and len(units.low):
        return bucket(RawPoints(none, none, no, none), [units], raster.buckets)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.clip(units.total / (units.rows - units.non_finite), units.least, units.most)
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
        return Track(labels, place, place, value[None], np.ones(len(place), np.int64), hold_of(place))
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(place)) - 1
    finite = np.where(np.isfinite(value), value, np.nan)
    counts = np.add.reduceat(np.isfinite(value).astype(np.int64), starts)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.add.reduceat(np.where(np.isfinite(value), value, 0.0), starts) / counts
    low, high = np.fmin.reduceat(finite, starts), np.fmax.reduceat(finite, starts)
    place = place[starts]
    rows = np.stack([low, high, mean, value[ends]])
    return Track(labels, place, place, rows, ends - starts + 1, hold_of(place))


def _of_buckets(labels: Labels, data: Buckets) -> Track:
    many = data.count > 1
    hold = HOLD * _median((data.t_end - data.t)[many] / (data.count[many] - 1))
    if not (data.t[1:] >= data.t[:-1]).all():
        order = np.argsort(data.t, kind="stable")
        data = Buckets._make([*(column[order] for column in data[:-1]), data.points_total])
    end = np.maximum.accumulate(data.t_end)
    rows = np.stack([data.min, data.max, data.mean, data.last])
    return Track(labels, data.t, end, rows, data.count - data.non_finite, hold)


def hold_of(place: Floats) -> float:
    """Of places that rise: a single point holds for no time."""
    return HOLD * _median(place[1:] - place[:-1]) if len(place) > 1 else 0.0


def _median(values: Floats) -> float:
    """A fifth of the time of `np.median`."""
    ordered = np.sort(values)
    return float((ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2)


def _summaries(track: Track, inside: np.ndarray[tuple[int], np.dtype[np.bool_]], axis: Axis) -> PointSummaries:
    low, high, mean, last = (column[inside] for column in (*track.bounds, track.mean, track.last))
    start, end = track.start[inside], track.end[inside]
    finite = np.isfinite(mean)
    some = finite | ~np.isnan(last)
    rows = np.where(some, np.maximum(track.count[inside], 1), 0)
    non_finite = np.where(finite, 0, rows)
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.where(finite, mean * (rows - non_finite), 0.0)
    step = end if axis == "step" else np.full(len(end), np.nan)
    return PointSummaries(start, end, step, np.zeros(len(end), np.int64), rows, non_finite, low, high, total, last)


# Operations on values, as numpy and pandas compute them (pure).


def operate(operator: str, left: Floats, right: Floats) -> Floats:
    """+ - * / ^ and comparisons, which give 0 or 1."""
    with np.errstate(all="ignore"):
        return OPERATORS[operator](left, right)


def apply(function: str, value: Floats) -> Floats:
    """A function of one value: abs, sqrt, exp and logarithms."""
    with np.errstate(all="ignore"):
        return FUNCTIONS_OF_ONE[function](value)


def choose(condition: Floats, left: Floats, right: Floats) -> Floats:
    """`left` where the condition is not 0; nothing where there is no condition."""
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, left, right))


def _compared(compare: Callable[[Floats, Floats], Bools]) -> Callable[[Floats, Floats], Floats]:
    def function(left: Floats, right: Floats) -> Floats:
        return np.where(np.isnan(left) | np.isnan(right), np.nan, compare(left, right))

    return function


OPERATORS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": np.power,
    "<": _compared(lambda a, b: a < b),
    "<=": _compared(lambda a, b: a <= b),
    ">": _compared(lambda a, b: a > b),
    ">=": _compared(lambda a, b: a >= b),
    "==": _compared(lambda a, b: a == b),
    "!=": _compared(lambda a, b: a != b),
}
FUNCTIONS_OF_ONE: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
}


# Bring several tracks to common places (pure).
#
# Tracks with the same places are left as they are. Points at different places meet at all of them: each holds its last value, but only for
# twice the usual distance of its own points. Buckets meet in cells of one width: a bucket counts in each cell that it reaches into.

MAX_VALUES = 4_000_000  # of all series at all places; beyond that, points meet in cells as buckets do


class AlignedSeries(NamedTuple):
    """Common places, with the values of each track there; NaN where it has none."""

    start: Floats
    end: Floats
    values: list[Floats]
    count: Ints  # type: ignore[assignment]  # the largest of all tracks; also the name of a method of tuples
    hold: float


def align(tracks: Sequence[Track], raster: Raster) -> AlignedSeries:
    first = tracks[0]
    hold = min(track.hold for track in tracks)
    if all(_same(track, first) for track in tracks[1:]):
        count = first.count if len(tracks) == 1 else np.max([track.count for track in tracks], axis=0)
        return AlignedSeries(first.start, first.end, [track.value for track in tracks], count, hold)
    if all(track.instants for track in tracks):
        place = np.unique(np.concatenate([track.start for track in tracks]))
        if len(place) * len(tracks) <= MAX_VALUES:
            values = [_held(track, place) for track in tracks]
            return AlignedSeries(place, place, values, np.ones(len(place), np.int64), hold)
    return _in_cells(tracks, raster, hold)


def _same(track: Track, other: Track) -> bool:
    if track.start is other.start and track.end is other.end:
        return True
    return np.array_equal(track.start, other.start) and np.array_equal(track.end, other.end)


def _held(track: Track, place: Floats) -> Floats:
    """The values of points at other places, each held as long as its series holds."""
    if not len(track.start):
        return np.full((1, len(place)), np.nan)
    index = np.searchsorted(track.start, place, "right") - 1
    some = (index >= 0) & (place - track.start[index] <= track.hold)
    found = track.value[:, index]
    if not track.single:
        found = np.where(place == track.start[index], found, track.last[index])
    return np.where(some, found, np.nan)


def _in_cells(tracks: Sequence[Track], raster: Raster, hold: float) -> AlignedSeries:
    some = [track for track in tracks if len(track.start)]
    lo = raster.lo if raster.lo is not None else min(float(track.start[0]) for track in some)
    hi = raster.hi if raster.hi is not None else max(float(track.end[-1]) for track in some)
    cells = max(1, raster.buckets) if hi > lo else 1
    edges = np.unique(np.linspace(lo, hi, cells + 1)) if hi > lo else np.array([lo, np.nextafter(lo, np.inf)])
    start, end = edges[:-1], np.nextafter(edges[1:], -np.inf)
    end[-1] = edges[-1]
    placed = [_cells_of(track, start, end) for track in tracks]
    count = np.max([counted for _, counted in placed], axis=0)
    return AlignedSeries(start, end, [value for value, _ in placed], count, hold)


def _cells_of(track: Track, start: Floats, end: Floats) -> tuple[Floats, Ints]:
    """What of a track lies in each cell, and the value that it still holds at its beginning."""
    if not len(track.start):
        return np.full((1, len(start)), np.nan), np.zeros(len(start), np.int64)
    first, behind = np.searchsorted(track.end, start), np.searchsorted(track.start, end, "right")
    some = behind > first
    before = first - 1
    carried = (before >= 0) & (start - track.end[before] <= track.hold)
    held = np.where(carried, track.last[before], np.nan)
    count = np.where(np.isfinite(track.mean), track.count, 0)
    least, most = track.bounds
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        total = _reduced(np.add, np.where(count > 0, track.mean * count, 0.0), first, behind)
        counted = _reduced(np.add, count.astype(np.float64), first, behind)
        mean = np.where(some, total / counted, held)
    finite_held = np.where(np.isfinite(held), held, np.nan)
    low = np.fmin(np.where(some, _reduced(np.fmin, least, first, behind), np.nan), finite_held)
    high = np.fmax(np.where(some, _reduced(np.fmax, most, first, behind), np.nan), finite_held)
    last = np.where(some, track.last[np.maximum(behind - 1, 0)], held)
    return np.stack([low, high, mean, last]), np.where(some, counted, carried).astype(np.int64)


def _reduced(function: np.ufunc, column: Floats, first: Ints, behind: Ints) -> Floats:
    """Over each `[first, behind)`; anything where that is empty."""
    padded = np.append(column, np.nan)
    pairs = np.column_stack([first, np.maximum(behind, first)]).ravel()
    found: Floats = function.reduceat(padded, pairs)[::2]
    return found


# Which series of two sides of an operation belong together: by the labels that all of them have (pure).

MAX_KEYS = 6  # in a sentence


class Pair(NamedTuple):
    left: Track
    right: Track
    labels: Labels


def pairs_of(left: Sequence[Track], right: Sequence[Track], operator: str, column: int) -> list[Pair]:
    """A single series goes with each of the other side; else those go together that agree in all labels that every series has.

    8 GPUs and one series of a run: 8 pairs. Raises ExpressionError where one goes with several of the other side both ways.
    """
    if len(left) == 1 or len(right) == 1:
        return [Pair(a, b, _joined(a, b)) for a in left for b in right]
    keys = (
        sorted(set.intersection(*({key for key, _ in track.labels} for track in (*left, *right))))
        if left and right
        else []
    )
    by_key: dict[Labels, list[Track]] = {}
    for track in right:
        by_key.setdefault(_shared(track, keys), []).append(track)
    pairs = [Pair(a, b, _joined(a, b)) for a in left for b in by_key.get(_shared(a, keys), [])]
    lefts, rights = len({id(pair.left) for pair in pairs}), len({id(pair.right) for pair in pairs})
    if len(pairs) > max(lefts, rights):
        shown = ", ".join(keys[:MAX_KEYS]) or "none"
        raise ExpressionError(
            column,
            f"{len(left)} series on the left of {operator} and {len(right)} on its right, and the labels that all of them have ({shown}) "
            f"do not say which go together; join those of a side, as in sum(...) by {keys[0] if keys else 'host'}",
        )
    return pairs


def _shared(track: Track, keys: Sequence[str]) -> Labels:
    labels = dict(track.labels)
    return tuple((key, labels[key]) for key in keys)


def _joined(left: Track, right: Track) -> Labels:
    """Of both; a label in which they differ is left out."""
    a, b = dict(left.labels), dict(right.labels)
    return tuple(sorted((key, value) for key, value in {**b, **a}.items() if a.get(key, value) == b.get(key, value)))
