"""Functions of an expression: across series, over time, and of changes (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Floats, Ints
from collectors.records import Labels
from collectors.store.store import TooMuch, check

from .language import RISE
from .values import Interval, Raster, Track, align, single

# Functions of neighbouring points and of places: differences, rates, moves along the axis, exponential averages (pure).

BETWEEN = "differences are taken between the ends of buckets: a shorter change shows as its mean"
SMOOTHED = "the average is taken over the means of buckets, at their ends"
REACH = 64.0  # half-lives: older points weigh less than a bit of a float64


def change(track: Track, function: str) -> Track:
    """`delta`, `slope`, `increase` and `rate`: from the point before, of the last value of each place; NaN at the first.

    A counter that falls was reset: its increase is the new value, and in a bucket also what it rose before.
    """
    last, high = track.value.last, track.value.high
    found = np.full(len(last), np.nan)
    with np.errstate(all="ignore"):
        found[1:] = last[1:] - last[:-1]
        if function in ("increase", "rate"):
            before = (
                0.0 if track.value.single else np.where(high[1:] > last[1:], np.fmax(high[1:] - last[:-1], 0.0), 0.0)
            )
            reset = (last[1:] < last[:-1]) if track.value.single else (track.value.low[1:] < last[:-1])
            found[1:] = np.where(reset, last[1:] + before, found[1:])
        if function in ("slope", "rate", RISE):
            found[1:] /= track.end[1:] - track.end[:-1]
        if function == RISE:
            found[found < 0] = np.nan
    ended = _ended(track, found, BETWEEN)
    return ended._replace(
        count=np.minimum(ended.count, 1)
    )  # of a bucket it is one difference, however many points it has


def shift(track: Track, width: float) -> Track:
    """Each value stands that much later."""
    start = track.start + width
    return track._replace(start=start, end=start if track.instants else track.end + width)


def ema(track: Track, half_life: float) -> Track:
    """The weighted mean of all values so far, with weights `0.5 ** (age / half_life)`: debiased, as pandas' `ewm(halflife=, times=)`."""
    value = track.value.last if track.instants else track.value.mean
    finite = np.isfinite(value)
    if not finite.any():
        return _ended(track, np.full(len(value), np.nan), SMOOTHED)
    base = value[np.argmax(finite)]  # a constant stays exactly that constant
    count = np.ones(len(value), np.int64) if track.instants else track.count
    weight = np.where(finite, count, 0).astype(np.float64)
    with np.errstate(all="ignore"):
        decay = np.append(0.0, 0.5 ** (np.diff(track.end) / half_life))
        sums = _decayed(decay, np.where(finite, (value - base) * weight, 0.0))
        found = base + sums / _decayed(decay, weight)
    return _ended(track, found, SMOOTHED)


def _ended(track: Track, value: Floats, reason: str) -> Track:
    """Values that stand at the end of each bucket."""
    return track._replace(value=single(value), reason=track.reason or ("" if track.points else reason))


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

WHOLE = "over a stretch of time, the edges of buckets count as a whole: min and max of the points lie between these"
ESTIMATED = "how values spread within a bucket is estimated from its min and max, as that of normal values"
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
        return track.valued(single(track.start))
    behind = np.arange(1, len(track.start) + 1)
    first = np.minimum(np.searchsorted(track.end, track.start - width, "right"), behind - 1)
    if track.points:
        return track.valued(single(_of_points(track.value.low, function, quantile, first, behind)))
    inner = np.clip(np.searchsorted(track.start, track.end - width, "right"), first, behind - 1)
    with np.errstate(all="ignore"):
        found = _of_buckets(track, function, quantile, first, inner, behind)
    if track.instants:  # several points at a place: the last of them counts
        value = _of_points(track.value.last, function, quantile, first, behind)
        found = Interval(np.fmin(found.low, value), np.fmax(found.high, value), value, value)
    return track.valued(found, ESTIMATED if function in ("stddev", "quantile") else WHOLE)


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


def _of_buckets(track: Track, function: str, quantile: float, first: Ints, inner: Ints, behind: Ints) -> Interval:
    """From `first` on buckets touch the stretches of the points of a bucket; those from `inner` on, but for itself, lie in all of them."""
    low, high, mean, _ = track.value
    count = np.where(np.isfinite(mean), track.count, 0).astype(np.float64)
    known = np.where(count > 0, mean, 0.0)
    own = behind - 1
    touched_low, touched_high = folded((low,), LEAST, first, behind)[0], folded((high,), GREATEST, first, behind)[0]
    all_count, all_sum = folded((count, known * count), SUM, first, behind)
    inner_count, inner_sum = folded((count, known * count), SUM, inner, own)
    edge_low, edge_high = (
        np.fmin(folded((low,), LEAST, first, inner)[0], low),
        np.fmax(folded((high,), GREATEST, first, inner)[0], high),
    )
    edges = all_count - inner_count
    empty = all_count == 0
    match function:
        case "count":
            return _between(inner_count, all_count, all_count)
        case "sum":
            lower = inner_sum + edges * np.fmin(edge_low, 0.0)
            upper = inner_sum + edges * np.fmax(edge_high, 0.0)
            return _between(lower, upper, np.where(empty, np.nan, all_sum))
        case "mean":
            inside = np.where(inner_count > 0, inner_sum / inner_count, np.nan)
            lower = np.fmin((inner_sum + edges * edge_low) / all_count, inside)
            upper = np.fmax((inner_sum + edges * edge_high) / all_count, inside)
            lower, upper = np.where(inner_count > 0, lower, edge_low), np.where(inner_count > 0, upper, edge_high)
            return _between(lower, upper, np.where(empty, np.nan, all_sum / all_count))
        case "min":  # of a bucket that lies in all of the stretches, if there is one: the own point may be missing
            inside = folded((low,), LEAST, inner, own)[0]
            return _between(touched_low, np.where(np.isnan(inside), touched_high, inside), touched_low)
        case "max":
            inside = folded((high,), GREATEST, inner, own)[0]
            return _between(np.where(np.isnan(inside), touched_low, inside), touched_high, touched_high)
        case "stddev":
            within = _deviation(low, high, count)
            number, _, squares = moments(known, count, first, behind, within**2 * np.maximum(count - 1, 0))
            spread = (touched_high - touched_low) / np.sqrt(2)  # that of two points, the largest there is
            return _between(
                np.zeros(len(spread)), spread, np.where(number > 1, np.sqrt(squares / (number - 1)), np.nan)
            )
        case _:
            spread = np.clip(
                mean[:, None] + _deviation(low, high, count)[:, None] * NORMAL, low[:, None], high[:, None]
            )
            middle = quantiles(spread.ravel(), quantile, first * len(NORMAL), behind * len(NORMAL))
            return _between(touched_low, touched_high, middle)


def _deviation(low: Floats, high: Floats, count: Floats) -> Floats:
    """Of the points within each bucket, from the distance of its least and its greatest value."""
    return np.where(count > 1, (high - low) / np.interp(np.log(np.maximum(count, 2)), RANGE_LOG_COUNT, RANGES), 0.0)


def _between(low: Floats, high: Floats, middle: Floats) -> Interval:
    middle = np.fmin(np.fmax(middle, low), high)
    return Interval(low, high, middle, middle)


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


MEETING = "the least and greatest values of several series need not fall together: min and max of the points lie between these"


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
    reason = common.reason
    if all(value.single for value in common.values):
        value = single(_computed(function, np.stack([value.low for value in common.values]), quantile))
    else:
        low, high, mean, last = (np.stack(columns) for columns in zip(*common.values, strict=True))
        middle, ending = (_computed(function, rows, quantile) for rows in (mean, last))
        least, most = _computed(function, low, quantile), _computed(function, high, quantile)
        if function == "stddev":
            least, most = (
                np.where(np.isnan(least), np.nan, 0.0),
                (np.fmax.reduce(high) - np.fmin.reduce(low)) / np.sqrt(2),
            )
        if len(members) > 1 and function != "count":
            reason = reason or MEETING
        value = Interval(least, most, middle, ending)
    return Track(labels, common.start, common.end, value, common.count, common.hold, reason)


def _computed(function: str, rows: Floats, quantile: float) -> Floats:
    """Of `[series, place]` at each place; NaN where no series has a value, and a count of 0."""
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
                return quantile_of(rows.T, quantile)
        mean = np.where(known, rows, 0.0).sum(axis=0) / count
        if function == "mean":
            return np.asarray(mean)
        squares = (np.where(known, rows - mean, 0.0) ** 2).sum(axis=0)
        return np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
