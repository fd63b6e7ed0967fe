"""Functions of an expression: across series, over time, and of changes (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Floats, Ints
from collectors.records import Labels
from collectors.store.store import TooMuch, check

from .language import RISE
from .values import Raster, Track, align

# Functions of neighbouring points and of places: differences, rates, moves along the axis, exponential averages (pure).

REACH = 64.0  # half-lives: older points weigh less than a bit of a float64


def change(track: Track, function: str) -> Track:
    """`delta`, `slope`, `increase` and `rate`: from the point before, of the last value of each place; NaN at the first.

    A counter that falls was reset: its increase is the new value, and in a bucket also what it rose before.
    """
    last = track.last
    found = np.full(len(last), np.nan)
    with np.errstate(all="ignore"):
        found[1:] = last[1:] - last[:-1]
        if function in ("increase", "rate"):
            least, most = track.bounds
            before = 0.0 if track.single else np.where(most[1:] > last[1:], np.fmax(most[1:] - last[:-1], 0.0), 0.0)
            reset = (last[1:] < last[:-1]) if track.single else (least[1:] < last[:-1])
            found[1:] = np.where(reset, last[1:] + before, found[1:])
        if function in ("slope", "rate", RISE):
            found[1:] /= track.end[1:] - track.end[:-1]
        if function == RISE:
            found[found < 0] = np.nan
    # of a bucket it is one difference, however many points it has
    return track._replace(value=found[None], count=np.minimum(track.count, 1))


def shift(track: Track, width: float) -> Track:
    """Each value stands that much later."""
    start = track.start + width
    return track._replace(start=start, end=start if track.instants else track.end + width)


def ema(track: Track, half_life: float) -> Track:
    """The weighted mean of all values so far, with weights `0.5 ** (age / half_life)`: debiased, as pandas' `ewm(halflife=, times=)`."""
    value = track.last if track.instants else track.mean
    finite = np.isfinite(value)
    if not finite.any():
        return track._replace(value=np.full((1, len(value)), np.nan))
    base = value[np.argmax(finite)]  # a constant stays exactly that constant
    count = np.ones(len(value), np.int64) if track.instants else track.count
    weight = np.where(finite, count, 0).astype(np.float64)
    with np.errstate(all="ignore"):
        decay = np.append(0.0, 0.5 ** (np.diff(track.end) / half_life))
        sums = _decayed(decay, np.where(finite, (value - base) * weight, 0.0))
        found = base + sums / _decayed(decay, weight)
    return track._replace(value=found[None])


def _decayed(decay: Floats, added: Floats) -> Floats:
    """`y[i] = decay[i] * y[i - 1] + added[i]`, in log(n) passes over the columns."""
    decay, found, size = decay.copy(), added.copy(), 1
    while size < len(found):
        check()
        found[size:] += decay[size:] * found[:-size]
        decay[size:] = decay[size:] * decay[:-size]
        size *= 2
    return found


# Functions of the last stretch before each place: `mean(x) over 10 s` (pure).
#
# The stretch of a place `t` is `(t - width, t]`, as that of `rolling("10s")` in pandas; values that are not finite do not count. Sums are
# made of sums of 1, 2, 4, ... neighbours, never by taking one away from another: a very large value leaves no trace behind its stretch.

RANGE_LOG_COUNT = np.log([2, 3, 4, 5, 7, 10, 15, 25, 50, 100, 1e3, 1e4, 1e5])
RANGES = np.array([1.128, 1.693, 2.059, 2.326, 2.704, 3.078, 3.472, 3.931, 4.498, 5.015, 6.483, 7.701, 8.673])
"""The mean distance of min and max of so many normal values of deviation 1: the d2 of control charts."""
NORMAL = np.array([-1.2816, -0.5244, 0.0, 0.5244, 1.2816])  # what is below 10, 30, 50, 70 and 90 % of normal values
MAX_LOOKED_AT = 50_000_000  # values that quantiles of all stretches together look at
AT_ONCE = 2_000_000

Columns: TypeAlias = tuple[Floats, ...]


class Fold(NamedTuple):
    """How the columns of two neighbouring pieces are joined, and what a piece without entries has."""

    join: Callable[[Columns, Columns], Columns]
    empty: float


def over(track: Track, function: str, width: float, quantile: float) -> Track:
    """Raises TooMuch for quantiles of very many long stretches."""
    if not len(track.start):
        return track._replace(value=track.start[None])
    behind = np.arange(1, len(track.start) + 1)
    first = np.minimum(np.searchsorted(track.end, track.start - width, "right"), behind - 1)
    if track.instants:  # of several points at a place the last one counts
        found = _of_points(track.last, function, quantile, first, behind)
    else:
        with np.errstate(all="ignore"):
            found = _of_buckets(track, function, quantile, first, behind)
    return track._replace(value=found[None])


def _of_points(value: Floats, function: str, quantile: float, first: Ints, behind: Ints) -> Floats:
    finite = np.isfinite(value)
    if function == "quantile":
        return quantiles(np.where(finite, value, np.nan), quantile, first, behind)
    with np.errstate(all="ignore"):
        count, mean, squares = moments(np.where(finite, value, 0.0), finite.astype(np.float64), first, behind)
        match function:
            case "count":
                return count
            case "mean":
                return np.where(count > 0, mean, np.nan)
            case "stddev":
                return np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
            case "sum":
                return np.where(count > 0, folded((np.where(finite, value, 0.0),), SUM, first, behind)[0], np.nan)
            case "min":
                return folded((np.where(finite, value, np.nan),), LEAST, first, behind)[0]
            case _:
                return folded((np.where(finite, value, np.nan),), GREATEST, first, behind)[0]


def _of_buckets(track: Track, function: str, quantile: float, first: Ints, behind: Ints) -> Floats:
    """Buckets at the edges of a stretch count as a whole."""
    low, high = track.bounds
    mean = track.mean
    count = np.where(np.isfinite(mean), track.count, 0).astype(np.float64)
    match function:
        case "min":
            return folded((low,), LEAST, first, behind)[0]
        case "max":
            return folded((high,), GREATEST, first, behind)[0]
        case "quantile":
            spread = mean[:, None] + _deviation(low, high, count)[:, None] * NORMAL
            spread = np.clip(spread, low[:, None], high[:, None])
            return quantiles(spread.ravel(), quantile, first * len(NORMAL), behind * len(NORMAL))
        case "stddev":
            within = _deviation(low, high, count) ** 2 * np.maximum(count - 1, 0)
            number, _, squares = moments(np.where(count > 0, mean, 0.0), count, first, behind, within)
            return np.where(number > 1, np.sqrt(squares / (number - 1)), np.nan)
    number, total = folded((count, np.where(count > 0, mean, 0.0) * count), SUM, first, behind)
    if function == "count":
        return number
    return np.where(number > 0, total / number if function == "mean" else total, np.nan)


def _deviation(low: Floats, high: Floats, count: Floats) -> Floats:
    """Of the points within each bucket, from the distance of its least and its greatest value."""
    return np.where(count > 1, (high - low) / np.interp(np.log(np.maximum(count, 2)), RANGE_LOG_COUNT, RANGES), 0.0)


def folded(columns: Columns, fold: Fold, first: Ints, behind: Ints) -> Columns:
    """Of each stretch `[first, behind)` of the columns; what an empty one has, where it is empty. n log(longest) steps.

    Each stretch is cut into pieces of 1, 2, 4, ... entries by the bits of its length.
    """
    length, place = behind - first, first.copy()
    found = tuple(np.full(len(first), fold.empty) for _ in columns)
    table, size = columns, 1
    longest = int(length.max(initial=0))
    while size <= longest:
        check()
        taken = np.flatnonzero(length & size)
        if len(taken):
            pieces = tuple(column[place[taken]] for column in table)
            for column, joined in zip(found, fold.join(tuple(column[taken] for column in found), pieces), strict=True):
                column[taken] = joined
            place[taken] += size
        if 2 * size <= longest:
            table = fold.join(tuple(column[:-size] for column in table), tuple(column[size:] for column in table))
        size *= 2
    return found


def moments(value: Floats, weight: Floats, first: Ints, behind: Ints, squares: Floats | None = None) -> Columns:
    """Of each stretch its weight, its mean and its sum of squared differences from that; 0 where it is empty.

    `squares` are those within each value, where it is itself a mean. Pieces are joined as in T. Chan, G. Golub and R. LeVeque, Updating Formulae and a Pairwise Algorithm (1979).
    """
    return folded((weight, value, np.zeros(len(value)) if squares is None else squares), MOMENTS, first, behind)


def _join_moments(left: Columns, right: Columns) -> Columns:
    count = left[0] + right[0]
    share = np.where(count > 0, right[0] / count, 0.0)
    difference = right[1] - left[1]
    mean = np.where(left[0] > 0, left[1] + difference * share, right[1])
    both = (left[0] > 0) & (right[0] > 0)
    squares = left[2] + right[2] + np.where(both, difference * difference * left[0] * share, 0.0)
    return count, mean, squares


def _add(left: Columns, right: Columns) -> Columns:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _least(left: Columns, right: Columns) -> Columns:
    return tuple(np.fmin(a, b) for a, b in zip(left, right, strict=True))


def _greatest(left: Columns, right: Columns) -> Columns:
    return tuple(np.fmax(a, b) for a, b in zip(left, right, strict=True))


SUM, MOMENTS, LEAST, GREATEST = Fold(_add, 0.0), Fold(_join_moments, 0.0), Fold(_least, np.nan), Fold(_greatest, np.nan)


def quantiles(value: Floats, quantile: float, first: Ints, behind: Ints) -> Floats:
    """Of the values that are not NaN, on the straight line between two of them."""
    found = np.full(len(first), np.nan)
    longest = int((behind - first).max(initial=0))
    if longest * len(first) > MAX_LOOKED_AT:
        raise TooMuch(
            f"quantiles of {len(first):,} stretches of up to {longest:,} points; choose a shorter stretch or a shorter range"
        )
    rows = max(1, AT_ONCE // max(1, longest))
    for begin in range(0, len(first), rows):
        check()
        some = slice(begin, begin + rows)
        index = first[some, None] + np.arange(longest)
        inside = index < behind[some, None]
        window = np.where(inside, value[np.minimum(index, len(value) - 1)], np.nan)
        found[some] = quantile_of(window, quantile)
    return found


def quantile_of(rows: Floats, quantile: float) -> Floats:
    """Of each row; NaN where all of it is NaN."""
    ordered = np.sort(rows, axis=-1)  # NaN behind all others
    count = (~np.isnan(rows)).sum(axis=-1)
    place = quantile * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    low, high = (np.take_along_axis(ordered, index[..., None], -1)[..., 0] for index in (below, above))
    share = place - below
    with np.errstate(all="ignore"):
        between: Floats = np.where((share == 0) | (low == high), low, low + (high - low) * share)
    return between


def across(
    tracks: Sequence[Track], function: str, keys: Sequence[str], quantile: float, raster: Raster
) -> Iterator[Track]:
    """A track for each combination of the labels `keys`. A series without a value at a place does not count there."""
    groups: dict[Labels, list[Track]] = {}
    for track in tracks:
        labels = dict(track.labels)
        groups.setdefault(tuple((key, labels[key]) for key in sorted(keys) if key in labels), []).append(track)
    return (_grouped(labels, members, function, quantile, raster) for labels, members in groups.items())


def _grouped(labels: Labels, members: Sequence[Track], function: str, quantile: float, raster: Raster) -> Track:
    common = align(members, raster)
    rows = max(len(value) for value in common.values)
    stacked = np.stack([np.broadcast_to(value, (rows, len(common.start))) for value in common.values])
    return Track(labels, common.start, common.end, _computed(function, stacked, quantile), common.count, common.hold)


def _computed(function: str, rows: Floats, quantile: float) -> Floats:
    """Of `[series, row, place]` at each place; NaN where no series has a value, and a count of 0."""
    known = ~np.isnan(rows)
    count = known.sum(axis=0)
    with np.errstate(all="ignore"):
        match function:
            case "count":
                return np.asarray(count, np.float64)
            case "sum":
                return np.where(count > 0, np.where(known, rows, 0.0).sum(axis=0), np.nan)
            case "min":
                return np.asarray(np.fmin.reduce(rows))
            case "max":
                return np.asarray(np.fmax.reduce(rows))
            case "quantile":
                return quantile_of(np.moveaxis(rows, 0, -1), quantile)
        mean = np.where(known, rows, 0.0).sum(axis=0) / count
        if function == "mean":
            return np.asarray(mean)
        squares = (np.where(known, rows - mean, 0.0) ** 2).sum(axis=0)
        return np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
