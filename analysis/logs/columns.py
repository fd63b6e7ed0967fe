"""A run's log lines as columns, grouped by template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

LineFloats: TypeAlias = NDArray[np.float64]
LineInts: TypeAlias = NDArray[np.int64]
TimeRange: TypeAlias = tuple[float, float]  # from, to: Unix seconds

DENSE = 1 << 22  # ids that lie within so many are looked up in a table, others are sorted


class MaskedTemplate(NamedTuple):
    """A template: its constant words with `#` in place of each number, and one line of it."""

    text: str
    example: str


MaskedTemplates: TypeAlias = Mapping[int, MaskedTemplate]


class LogColumns(NamedTuple):
    """One entry a line, in order of time."""

    time_s: LineFloats  # Unix seconds
    template: LineInts
    level: LineInts  # as in `logging`; 0 where a line names none

    def sorted(self) -> LogColumns:
        """By time, if they are not yet; equal times keep their order."""
        if len(self.time_s) < 2 or bool((self.time_s[1:] >= self.time_s[:-1]).all()):
            return self
        order = np.argsort(self.time_s, kind="stable")
        return LogColumns(self.time_s[order], self.template[order], self.level[order])


class NumberedLines(NamedTuple):
    """The lines of a log in order of time, with the templates numbered from 0 in the order of their ids."""

    time_s: LineFloats
    group: NDArray[np.uint16] | LineInts  # of each line, the number of its template
    ids: LineInts  # by number: the template
    total: LineInts  # by number: lines
    loud: NDArray[np.bool_]  # by number: whether a line of it is a warning or worse

    @classmethod
    def of(cls, columns: LogColumns, loud_level: int) -> NumberedLines:
        ids, total, group = _numbered(columns.template)
        loud = np.bincount(group[columns.level >= loud_level], minlength=len(ids)) > 0
        return cls(columns.time_s, group, ids, total, loud)

    def between(self, window: TimeRange) -> slice:
        """Both ends included."""
        return slice(
            int(np.searchsorted(self.time_s, window[0])), int(np.searchsorted(self.time_s, window[1], "right"))
        )

    def of_templates(self, chosen: NDArray[np.bool_]) -> LinesByTemplate:
        """The lines of some templates, by number, grouped: about 20 ns for each of these, and 2 ns for each other line."""
        rows = np.flatnonzero(chosen[self.group])
        group = self.group[rows]
        order = np.argsort(group, kind="stable")
        start = np.r_[0, np.cumsum(np.where(chosen, self.total, 0))]
        return LinesByTemplate(start, self.time_s[rows[order]], group[order].astype(np.int64))


class LinesByTemplate(NamedTuple):
    """Lines of each template together, in order of time. Template number `i` has the lines `start[i]:start[i + 1]`."""

    start: LineInts
    time_s: LineFloats
    group: LineInts

    def times_of(self, number: int) -> LineFloats:
        return self.time_s[self.start[number] : self.start[number + 1]]


def _numbered(template: LineInts) -> tuple[LineInts, LineInts, NDArray[np.uint16] | LineInts]:
    """The ids that occur, in order, how often each does, and the place of each line's id among them."""
    least = int(template.min())
    if int(template.max()) - least >= DENSE:
        ids, places, total = np.unique(template, return_inverse=True, return_counts=True)
        return ids, total, places.astype(np.int64)
    counts = np.bincount(template - least if least else template)
    found = np.flatnonzero(counts)
    table = np.zeros(len(counts), np.uint16) if len(found) <= 1 << 16 else np.zeros(len(counts), np.int64)
    table[found] = np.arange(len(found))
    return found + least, counts[found], table[template - least if least else template]


# The run cut into windows as long as the one asked for, and how odd each of them is: what chance alone makes.
#
# As for stacks (`blame/judgement.py`), of each window of the baseline the largest excess of any template counts, since hundreds of
# templates are looked at. An excess of a template is what it has beyond all other windows, so that a window's own
# regular bursts, as of a validation, are none.

ODD_SHARE = 0.01  # of the baseline's windows may be as odd as what is reported,
ODD_WINDOWS = 1  # and in a short run so many
START_SHARE, START_S = 0.05, 60.0  # the beginning of a run is like no other time: a share of it, at most so long
MAX_WINDOWS = 1e9


class TiledWindows(NamedTuple):
    """Windows of equal length, side by side. The requested one is number 0; earlier ones are negative."""

    window: TimeRange
    begun_s: float  # the first line of the run
    ended_s: float  # the last one

    @property
    def length_s(self) -> float:
        return max(self.window[1] - self.window[0], (self.ended_s - self.begun_s) / MAX_WINDOWS, 1e-6)

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
