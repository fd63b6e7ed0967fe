"""Times between stamps that are coarser than what they date: of lines that were read after they were written."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from ....records import Points
from .. import Arrival

STAMP_S = 1.0  # a stamp says the second in which its line was written
SLACK_S = 2.0  # how much longer than between two looks lines may have been written, before what was read is known to come from a buffer
MOST_AHEAD = 500  # lines that one straight piece is looked for in


class Coarse(NamedTuple):
    """The points of one line, and its stamp in whole seconds."""

    first: int
    last: int
    stamp_s: float


def spread(points: list[Points], lines: Sequence[Coarse], arrival: Arrival | None) -> list[Points]:
    """The points, with times within the seconds of their stamps that let the run go on as evenly as they allow.

    Lines that arrived while they were written keep the times of their arrival.
    """
    if len(lines) < 2 or (
        arrival and lines[-1].stamp_s - lines[0].stamp_s <= arrival.until_s - arrival.since_s + SLACK_S
    ):
        return points
    if all(before.stamp_s != line.stamp_s for before, line in itertools.pairwise(lines)):
        return points
    since = 0
    for until in range(1, len(lines) + 1):
        if until == len(lines) or lines[until].stamp_s < lines[until - 1].stamp_s:  # a clock that went back begins anew
            _spread(points, lines[since:until])
            since = until
    return points


def _spread(points: list[Points], lines: Sequence[Coarse]) -> None:
    """In place; the stamps of the lines do not fall."""
    places = [0.0]
    for before, line in itertools.pairwise(lines):
        steps = (points[line.first].step or 0) - (points[before.first].step or 0)
        places.append(places[-1] + max(steps, 1))
    for line, time_s in zip(lines, evenly(places, [line.stamp_s for line in lines]), strict=True):
        points[line.first : line.last] = [
            one._replace(time_s=round(time_s, 6)) for one in points[line.first : line.last]
        ]


def evenly(places: Sequence[float], stamps_s: Sequence[float]) -> list[float]:
    """A time for each place, in the second of its stamp, on a path with as few bends as possible: a string pulled taut."""
    times = [stamps_s[0]]
    anchor = 0
    while anchor < len(places) - 1:
        slowest, fastest, at_slowest, at_fastest = -math.inf, math.inf, anchor, anchor
        bend, bend_s = len(places) - 1, math.nan
        for i in range(anchor + 1, min(len(places), anchor + MOST_AHEAD)):
            along = places[i] - places[anchor]
            low, high = (stamps_s[i] - times[anchor]) / along, (stamps_s[i] + STAMP_S - 1e-3 - times[anchor]) / along
            if low > fastest:
                bend, bend_s = at_fastest, stamps_s[at_fastest] + STAMP_S - 1e-3
                break
            if high < slowest:
                bend, bend_s = at_slowest, stamps_s[at_slowest]
                break
            if low >= slowest:
                slowest, at_slowest = low, i
            if high <= fastest:
                fastest, at_fastest = high, i
            bend = i
        along = places[bend] - places[anchor]
        slope = (slowest + fastest) / 2 if math.isnan(bend_s) else (bend_s - times[anchor]) / along
        slope = max(slope, 0.0)
        start_s = times[anchor]
        times += [max(start_s + slope * (places[i] - places[anchor]), times[-1]) for i in range(anchor + 1, bend + 1)]
        anchor = bend
    return times
