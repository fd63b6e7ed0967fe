"""The run cut into windows as long as the one asked for, and how odd each of them is: what chance alone makes.

As for stacks (`blame/chance.py`), of each window of the baseline the largest excess of any template counts, since hundreds of
templates are looked at. An excess of a template is what it has beyond all other windows, so that a window's own
regular bursts, as of a validation, are none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .columns import LineFloats, LineInts, TimeRange

ODD_SHARE = 0.01  # of the baseline's windows may be as odd as what is reported,
ODD_WINDOWS = 1  # and in a short run so many
START_SHARE, START_S = 0.05, 60.0  # the beginning of a run is like no other time: a share of it, at most so long
MOST_WINDOWS = 1e9


class TiledWindows(NamedTuple):
    """TiledWindows of the same length side by side. The asked one has the number 0, those before it are negative."""

    window: TimeRange
    begun_s: float  # the first line of the run
    ended_s: float  # the last one

    @property
    def length_s(self) -> float:
        return max(self.window[1] - self.window[0], (self.ended_s - self.begun_s) / MOST_WINDOWS, 1e-6)

    @property
    def steady_from_s(self) -> float:
        """When the run's beginning is over."""
        return self.begun_s + min(START_S, START_SHARE * (self.ended_s - self.begun_s))

    def number(self, time_s: LineFloats) -> LineInts:
        number = np.floor((time_s - self.window[0]) / self.length_s).astype(np.int64)
        number[time_s == self.window[1]] = 0  # both ends belong to the window
        return number

    @property
    def judged(self) -> tuple[int, int]:
        """The first and the last number of those after the beginning."""
        first, last = self.number(np.array([self.steady_from_s, self.ended_s])).tolist()
        return first, last

    @property
    def baseline(self) -> int:
        """How many windows the asked one is compared with."""
        first, last = self.judged
        return max(0, last - first + 1 - (first <= 0 <= last))


def limit_of(windows: TiledWindows, number: LineInts, score: LineFloats) -> float:
    """What an excess must be larger than, by the excesses `score` of all templates, each in the window of that number."""
    first, last = windows.judged
    inside = (number >= first) & (number <= last) & (number != 0) & (score > 0)
    order = np.lexsort((score[inside], number[inside]))
    by_window, sizes = number[inside][order], score[inside][order]
    largest = np.sort(sizes[np.r_[by_window[1:] != by_window[:-1], True]] if len(sizes) else sizes)[::-1]
    allowed = max(ODD_WINDOWS, int(ODD_SHARE * windows.baseline))
    return float(largest[allowed]) if len(largest) > allowed else 0.0
