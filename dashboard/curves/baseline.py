"""Values as the per cent difference from a baseline at the same place on the axis (pure).

`100 (v - b) / |b|`: positive where the value is larger, whatever the sign of the baseline. There is no difference where the baseline is 0,
nor beyond its ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collectors.analysis.stacks.traces import Floats
from collectors.store.buckets import Summaries
from collectors.store.protocol import RawPoints


class BaseLine(NamedTuple):
    """`place` rises; between two places the line is straight."""

    place: Floats
    value: Floats

    def at(self, place: Floats) -> Floats:
        if not len(self.place):
            return np.full(len(place), np.nan)
        return np.interp(place, self.place, self.value, left=np.nan, right=np.nan)

    def difference(self, place: Floats, value: Floats) -> Floats:
        base = self.at(place)
        base[base == 0] = np.nan
        with np.errstate(over="ignore", invalid="ignore"):
            return 100 * (value - base) / np.abs(base)


def base_line(units: Summaries) -> BaseLine:
    """The mean of each place, over all that stand there."""
    rows = units.rows - units.non_finite
    some = rows > 0
    place, index = np.unique(units.high[some], return_inverse=True)
    count = np.bincount(index, rows[some], len(place))
    return BaseLine(place, np.bincount(index, units.total[some], len(place)) / count)


def points_beside(points: RawPoints, base: BaseLine) -> RawPoints:
    """Those where the baseline has a value."""
    found = base.difference(points.place, points.value)
    there = np.isfinite(base.difference(points.place, np.zeros(len(points.place))))
    return RawPoints._make(column[there] for column in points._replace(value=found))
