"""The lines of a run as columns, and the same lines grouped by their template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

LineFloats: TypeAlias = NDArray[np.float64]
LineInts: TypeAlias = NDArray[np.int64]
TimeRange: TypeAlias = tuple[float, float]  # from, to: Unix seconds

DENSE = 1 << 22  # ids that lie within so many are looked up in a table, others are sorted


class Masked(NamedTuple):
    """A template: its constant words with `#` in place of each number, and one line of it."""

    text: str
    example: str


MaskedTemplates: TypeAlias = Mapping[int, Masked]


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

    def of_templates(self, chosen: NDArray[np.bool_]) -> Grouped:
        """The lines of some templates, by number, grouped: about 20 ns for each of these, and 2 ns for each other line."""
        rows = np.flatnonzero(chosen[self.group])
        group = self.group[rows]
        order = np.argsort(group, kind="stable")
        start = np.r_[0, np.cumsum(np.where(chosen, self.total, 0))]
        return Grouped(start, self.time_s[rows[order]], group[order].astype(np.int64))


class Grouped(NamedTuple):
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
