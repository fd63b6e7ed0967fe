"""Functions of the last stretch before each place: `mean(x) over 10 s` (pure).

The stretch of a place `t` is `(t - width, t]`, as that of `rolling("10s")` in pandas; values that are not finite do not count. Sums are
made of sums of 1, 2, 4, ... neighbours, never by taking one away from another: a very large value leaves no trace behind its stretch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from ...store.question import TooMuch, check
from ..stacks.traces import Floats, Ints
from .tracks import Interval, Track, single

WHOLE = "over a stretch of time, the edges of buckets count as a whole: min and max of the points lie between these"
ESTIMATED = "how values spread within a bucket is estimated from its min and max, as that of normal values"
RANGE_LOG_COUNT = np.log([2, 3, 4, 5, 7, 10, 15, 25, 50, 100, 1e3, 1e4, 1e5])
RANGES = np.array([1.128, 1.693, 2.059, 2.326, 2.704, 3.078, 3.472, 3.931, 4.498, 5.015, 6.483, 7.701, 8.673])
"""The mean distance of min and max of so many normal values of deviation 1: the d2 of control charts."""
NORMAL = np.array([-1.2816, -0.5244, 0.0, 0.5244, 1.2816])  # what is below 10, 30, 50, 70 and 90 % of normal values
MOST_LOOKED_AT = 50_000_000  # values that quantiles of all stretches together look at
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
    if longest * len(first) > MOST_LOOKED_AT:
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
