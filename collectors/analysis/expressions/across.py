"""Functions of several series at each place: `sum(x) by gpu` (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...records import Labels
from ..stacks.traces import Floats
from .aligning import together
from .rolling import quantile_of
from .tracks import Interval, Raster, Track, single

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
    common = together(members, raster)
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
