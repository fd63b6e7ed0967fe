"""Functions of the last stretch before each place: `mean(x) over 10 s` (pure).

The stretch of a place `t` is `(t - width, t]`, as that of `rolling("10s")` in pandas; values that are not finite do not count. Sums are
made of sums of 1, 2, 4, ... neighbours, never by taking one away from another: a very large value leaves no trace behind its stretch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ...store.question import TooMuch, check
from ..stacks.traces import Floats, Ints
from .tracks import Interval, Track, single

WHOLE = "over a stretch of time, the edges of buckets count as a whole: min and max of the points lie between these"
MOST_LOOKED_AT = 50_000_000  # values that quantiles of all stretches together look at
AT_ONCE = 2_000_000

Columns: TypeAlias = tuple[Floats, ...]
Combine: TypeAlias = Callable[[Columns, Columns], Columns]


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
    return track.valued(found, WHOLE)


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
                return np.where(count > 0, folded((np.where(finite, value, 0.0),), add, first, behind)[0], np.nan)
            case "min":
                return folded((np.where(finite, value, np.nan),), least, first, behind)[0]
            case _:
                return folded((np.where(finite, value, np.nan),), greatest, first, behind)[0]


def _of_buckets(track: Track, function: str, quantile: float, first: Ints, inner: Ints, behind: Ints) -> Interval:
    """From `first` on buckets touch the stretches of the points of a bucket; those from `inner` on, but for itself, lie in all of them."""
    low, high, mean, _ = track.value
    count = np.where(np.isfinite(mean), track.count, 0).astype(np.float64)
    known = np.where(count > 0, mean, 0.0)
    own = behind - 1
    touched_low, touched_high = folded((low,), least, first, behind)[0], folded((high,), greatest, first, behind)[0]
    all_count, all_sum = folded((count, known * count), add, first, behind)
    inner_count, inner_sum = folded((count, known * count), add, inner, own)
    edge_low, edge_high = (
        np.fmin(folded((low,), least, first, inner)[0], low),
        np.fmax(folded((high,), greatest, first, inner)[0], high),
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
        case "min":
            return _between(touched_low, np.fmin(folded((low,), least, inner, own)[0], high), touched_low)
        case "max":
            return _between(np.fmax(folded((high,), greatest, inner, own)[0], low), touched_high, touched_high)
        case "stddev":
            _, _, squares = moments(known, (count > 0).astype(np.float64), first, behind)
            used = np.maximum(folded(((count > 0).astype(np.float64),), add, first, behind)[0], 1)
            spread = (touched_high - touched_low) / np.sqrt(2)  # that of two points, the largest there is
            return _between(np.zeros(len(spread)), spread, np.where(used > 1, np.sqrt(squares / (used - 1)), np.nan))
        case _:
            middle = quantiles(np.where(count > 0, mean, np.nan), quantile, first, behind)
            return _between(touched_low, touched_high, middle)


def _between(low: Floats, high: Floats, middle: Floats) -> Interval:
    middle = np.fmin(np.fmax(middle, low), high)
    return Interval(low, high, middle, middle)


def folded(columns: Columns, combine: Combine, first: Ints, behind: Ints) -> Columns:
    """Of each stretch `[first, behind)` of the columns; NaN where it is empty. n log(longest) steps.

    Each stretch is cut into pieces of 1, 2, 4, ... entries by the bits of its length.
    """
    length, place = behind - first, first.copy()
    found = tuple(np.full(len(first), np.nan) for _ in columns)
    begun = np.zeros(len(first), np.bool_)
    table, size = columns, 1
    longest = int(length.max(initial=0))
    while size <= longest:
        check()
        taken = np.flatnonzero(length & size)
        if len(taken):
            pieces = tuple(column[place[taken]] for column in table)
            joined = combine(tuple(column[taken] for column in found), pieces)
            for column, piece, both in zip(found, pieces, joined, strict=True):
                column[taken] = np.where(begun[taken], both, piece)
            begun[taken] = True
            place[taken] += size
        if 2 * size <= longest:
            table = combine(tuple(column[:-size] for column in table), tuple(column[size:] for column in table))
        size *= 2
    return found


def moments(value: Floats, weight: Floats, first: Ints, behind: Ints) -> Columns:
    """Of each stretch its weight, its mean and its sum of squared differences from that; 0 where it is empty.

    Pieces are joined as in T. Chan, G. Golub and R. LeVeque, Updating Formulae and a Pairwise Algorithm (1979).
    """
    found = folded((weight, value, np.zeros(len(value))), _join_moments, first, behind)
    return tuple(np.where(np.isnan(found[0]), 0.0, column) for column in found)


def _join_moments(left: Columns, right: Columns) -> Columns:
    count = left[0] + right[0]
    share = np.where(count > 0, right[0] / count, 0.0)
    difference = right[1] - left[1]
    mean = np.where(left[0] > 0, left[1] + difference * share, right[1])
    both = (left[0] > 0) & (right[0] > 0)
    squares = left[2] + right[2] + np.where(both, difference * difference * left[0] * share, 0.0)
    return count, mean, squares


def add(left: Columns, right: Columns) -> Columns:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def least(left: Columns, right: Columns) -> Columns:
    return tuple(np.fmin(a, b) for a, b in zip(left, right, strict=True))


def greatest(left: Columns, right: Columns) -> Columns:
    return tuple(np.fmax(a, b) for a, b in zip(left, right, strict=True))


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
