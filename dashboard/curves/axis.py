"""Any series as the x axis: it gives each step its place, by straight lines between its points (pure).

Where the series goes back (an epoch that starts anew, a resumed run), a new stretch begins, and with it a new segment of the curve. A
series that goes back often is no clock: then points are ordered by their place alone, in one stretch a segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from collectors.analysis.stacks.traces import Floats
from collectors.store.protocol import RawPoints

from .attempts import Attempts, superseded

MOST_TURNS = 64  # of a segment; beyond that the series is no clock


class Stretch(NamedTuple):
    """Steps of one segment, from `first_step` to `last_step`, and where they stand; `rises` unless the series is no clock."""

    segment: int
    first_step: float
    last_step: float
    step: Floats
    place: Floats
    rises: bool

    def places(self, step: Floats) -> Floats:
        """NaN outside of the stretch: nothing is guessed beyond the ends of the series."""
        found = np.interp(step, self.step, self.place)
        found[(step < self.first_step) | (step > self.last_step) | np.isnan(step)] = np.nan
        return found

    def steps(self, lo: float | None, hi: float | None) -> tuple[float, float] | None:
        """Where the steps lie that stand between two places, or a bit beyond; None where there are none."""
        if not self.rises:
            return self.first_step, self.last_step
        low, high = -np.inf if lo is None else lo, np.inf if hi is None else hi
        if high < self.place[0] or low > self.place[-1]:
            return None
        first = max(int(np.searchsorted(self.place, low)) - 1, 0)
        last = int(np.searchsorted(self.place, high, "right"))
        return float(self.step[first]), float(self.step[last]) if last < len(self.step) else self.last_step


def stretches_of(points: RawPoints, segments: Iterable[int], attempts: Attempts) -> list[Stretch]:
    """For curves with these segments. `points` are those of the series, by segment and step; `attempts` are its own.

    A segment that the series does not have stands where its newest points say.
    """
    known = np.isfinite(points.value) & ~np.isnan(points.step)
    points = RawPoints._make(column[known] for column in points)
    newest = RawPoints._make(column[~superseded(points.step, points.segment, attempts)] for column in points)
    found = []
    for segment in sorted(segments):
        own = RawPoints._make(column[points.segment == segment] for column in points)
        found += _of_segment(own if len(own.step) else newest, segment)
    return found


def _of_segment(points: RawPoints, segment: int) -> list[Stretch]:
    if not len(points.step):
        return []
    order = np.argsort(points.step, kind="stable")
    step, place = points.step[order], points.value[order]
    last = np.append(step[1:] != step[:-1], True)  # of a step that comes twice
    step, place = step[last], place[last]
    turns = np.flatnonzero(place[1:] < place[:-1]) + 1
    if len(turns) > MOST_TURNS:
        return [Stretch(segment, float(step[0]), float(step[-1]), step, place, rises=False)]
    parts = zip(np.split(step, turns), np.split(place, turns), strict=True)
    ends = [
        *(np.nextafter(step[turns], -np.inf)).tolist(),
        float(step[-1]),
    ]  # up to the turn they stay at the last place
    return [
        Stretch(segment, float(steps[0]), end, steps, places, rises=True)
        for (steps, places), end in zip(parts, ends, strict=True)
    ]
