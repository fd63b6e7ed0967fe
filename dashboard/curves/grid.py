"""Several curves on common places, and their mean with its spread (pure).

With no more places than cells, each place is one, and a curve's value there is its own, or lies on the straight line between two of its
points. Of more places, cells of equal width hold the means of their points. A curve has no value beyond its ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collectors.analysis.stacks.traces import Floats, Ints
from collectors.store.buckets import Summaries, bucket, reduce_at
from collectors.store.protocol import Buckets, RawPoints


def together(members: Sequence[Summaries], cells: int) -> Buckets:
    """All curves as one: its buckets are the cells."""
    joined = Summaries._make(np.concatenate(column) for column in zip(*members, strict=True))
    order = np.lexsort((joined.low, joined.segment))
    joined = Summaries._make(column[order] for column in joined)
    changes = (joined.segment[1:] != joined.segment[:-1]) | (joined.low[1:] != joined.low[:-1])
    starts = np.append(0, np.flatnonzero(changes) + 1)
    if len(joined.low) and len(starts) <= cells and (joined.low == joined.high).all():
        return reduce_at(joined, starts)
    none, no = np.empty(0), np.empty(0, np.int64)
    return bucket(RawPoints(none, none, no, none), [joined], cells)


def values_on(cells: Buckets, units: Summaries) -> Floats:
    """One curve in each cell; NaN where it has no value."""
    found = np.full(len(cells.t), np.nan)
    for segment in np.unique(cells.segment).tolist():
        inside = cells.segment == segment
        own = Summaries._make(column[units.segment == segment] for column in units)
        found[inside] = _values(cells.t[inside], cells.t_end[inside], own)
    return found


def _values(starts: Floats, ends: Floats, units: Summaries) -> Floats:
    rows = (units.rows - units.non_finite).astype(np.float64)
    some = rows > 0
    place, rows, total = units.high[some], rows[some], units.total[some]
    if not len(place):
        return np.full(len(starts), np.nan)
    cell = np.searchsorted(starts, place, "right") - 1
    count = np.bincount(cell, rows, len(starts))
    places, at = np.unique(place, return_inverse=True)
    means = np.bincount(at, total, len(places)) / np.bincount(at, rows, len(places))
    between = np.interp(ends, places, means, left=np.nan, right=np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(count > 0, np.bincount(cell, total, len(starts)) / count, between)
    return found


def mean(values: Floats) -> Floats:
    """`[curve, cell]`, over those that have a value."""
    count = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found: Floats = np.where(np.isnan(values), 0.0, values).sum(axis=0) / count
    return found


def standard_error(values: Floats) -> Floats:
    """`[curve, cell]`: the sample standard deviation over the square root of the number of values; NaN for fewer than two."""
    count: Ints = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        known = np.where(np.isnan(values), 0.0, values - mean(values))
        error = np.sqrt((known**2).sum(axis=0) / (count - 1)) / np.sqrt(count)
    return np.where(count > 1, error, np.nan)
