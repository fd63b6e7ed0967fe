"""Which templates a window misses: their pause is longer than any other, and the next line was due in the window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import Grouped, LineFloats, LineInts, NumberedLines
from .windows import TiledWindows, limit_of

LEAST_PAUSES = 5  # besides the long one
LONGER = 1.5  # times the longest of the others
REGULAR = 0.1  # of the longest pause: how much longer is not remarkable however regular the others are
RESOLUTION_S = 0.05
LEAST_SCORE = 6.0
EVERY = -1  # in place of a template: any line at all
NEARBY = 250_000  # lines on each side of the window whose pauses are looked at first


class Silent(NamedTuple):
    """A template that did not come."""

    number: int  # in `NumberedLines`, or EVERY
    count: int  # type: ignore[assignment]  # in the window
    since_s: float  # its last line
    pause_s: float
    usual_s: float  # the median of the other pauses,
    longest_s: float  # and the longest
    score: float
    limit: float


class Pauses(NamedTuple):
    """Between two lines of a template, and between its last line and the end of the run. One entry a line."""

    begin_s: LineFloats
    end_s: LineFloats
    touches: NDArray[np.bool_]  # the window

    @property
    def length_s(self) -> LineFloats:
        length: LineFloats = self.end_s - self.begin_s
        return length


def silent(lines: NumberedLines, windows: TiledWindows) -> list[Silent]:
    """The largest excess first.

    Where the whole log paused, and more than one template with it, that is one row, beside those templates that were silent for much longer.
    """
    found = _silent(lines.of_templates(_may_miss(lines, windows)), windows)
    if len(found) < 2:
        return found
    every = Grouped(np.array([0, len(lines.time_s)]), lines.time_s, np.zeros(len(lines.time_s), np.int64))
    paused = _silent(every, windows)
    if not paused:
        return found
    kept = [row for row in found if row.pause_s - paused[0].pause_s > LONGER * row.longest_s]
    return [paused[0]._replace(number=EVERY), *kept]


def _may_miss(lines: NumberedLines, windows: TiledWindows) -> NDArray[np.bool_]:
    """The templates whose pause at the window is longer than those nearby, and than their mean: about 10 ns a line."""
    inside = lines.between(windows.window)
    pause_s = _pause_at(lines, inside, windows)
    near = slice(max(0, inside.start - NEARBY), inside.stop + NEARBY)
    usual_s = np.zeros(len(lines.ids))
    for part in (slice(near.start, inside.start), slice(inside.stop, near.stop)):
        order = np.argsort(lines.group[part], kind="stable")
        group, time_s = lines.group[part][order], lines.time_s[part][order]
        same = group[1:] == group[:-1]
        np.maximum.at(usual_s, group[1:][same], np.diff(time_s)[same])
    missing: NDArray[np.bool_] = (lines.total > LEAST_PAUSES) & (pause_s > LONGER * usual_s)
    return missing


def _pause_at(lines: NumberedLines, inside: slice, windows: TiledWindows) -> LineFloats:
    """Of each template, the longest pause that touches the window; 0 where it had no line before."""
    last_s, next_s = np.full(len(lines.ids), np.inf), np.full(len(lines.ids), windows.ended_s)
    last_s[lines.group[: inside.start]] = lines.time_s[: inside.start]  # of several the last counts
    next_s[lines.group[inside.stop :][::-1]] = lines.time_s[inside.stop :][::-1]
    order = np.argsort(lines.group[inside], kind="stable")
    group, time_s = lines.group[inside][order], lines.time_s[inside][order]
    pause_s: LineFloats = np.maximum(0.0, next_s - last_s)
    if not len(group):
        return pause_s
    begins = np.r_[True, group[1:] != group[:-1]]
    ends = np.r_[begins[1:], True]
    pause_s[group] = 0.0
    np.maximum.at(pause_s, group[1:][~begins[1:]], np.diff(time_s)[~begins[1:]])
    np.maximum.at(pause_s, group[begins], time_s[begins] - last_s[group[begins]])
    np.maximum.at(pause_s, group[ends], next_s[group[ends]] - time_s[ends])
    return pause_s


def _silent(lines: Grouped, windows: TiledWindows) -> list[Silent]:
    numbers = np.flatnonzero(np.diff(lines.start))  # of the templates that are there
    if not len(numbers):
        return []
    starts = lines.start[numbers]
    place = np.repeat(np.arange(len(numbers)), np.diff(np.r_[starts, len(lines.time_s)]))
    pauses = pauses_of(lines, starts, windows)
    length = pauses.length_s
    others = np.where(pauses.touches, 0.0, length)
    longest = np.maximum.reduceat(others, starts)
    count = np.maximum(1, np.add.reduceat((~pauses.touches).astype(np.int64), starts))
    mean = np.add.reduceat(others, starts) / count
    spread = np.sqrt(np.maximum(0.0, np.add.reduceat(np.square(others), starts) / count - np.square(mean)))
    enough = count >= LEAST_PAUSES
    limit = max(
        limit_of(windows, *_largest(windows, pauses, others, starts, place, longest, spread, enough)), LEAST_SCORE
    )
    lo, hi = windows.window
    rows = np.flatnonzero(pauses.touches)
    rows = rows[enough[place[rows]] & (length[rows] > LONGER * longest[place[rows]])]
    due_s = pauses.begin_s[rows] + longest[place[rows]]
    rows = rows[(due_s >= lo - windows.length_s) & (due_s <= hi)]
    score = score_of(length[rows], longest[place[rows]], spread[place[rows]])
    found = []
    for row, size in zip(rows.tolist(), score.tolist(), strict=True):
        if size > limit:
            at = int(place[row])
            mine = slice(int(starts[at]), int(lines.start[numbers[at] + 1]))
            inside = int(((lines.time_s[mine] >= lo) & (lines.time_s[mine] <= hi)).sum())
            usual_s = float(np.median(length[mine][~pauses.touches[mine]]))
            since_s, pause_s = float(pauses.begin_s[row]), float(length[row])
            found.append(Silent(int(numbers[at]), inside, since_s, pause_s, usual_s, float(longest[at]), size, limit))
    return sorted(found, key=lambda silence: -silence.score)


def pauses_of(lines: Grouped, starts: LineInts, windows: TiledWindows) -> Pauses:
    end_s = np.r_[lines.time_s[1:], windows.ended_s]
    end_s[np.r_[starts[1:], len(end_s)] - 1] = windows.ended_s
    lo, hi = windows.window
    return Pauses(lines.time_s, end_s, (lines.time_s < hi) & (end_s > lo))


def score_of(length: LineFloats, longest: LineFloats, spread: LineFloats) -> LineFloats:
    score: LineFloats = np.maximum(0.0, (length - longest) / (spread + REGULAR * longest + RESOLUTION_S))
    return score


def _largest(
    windows: TiledWindows,
    pauses: Pauses,
    others: LineFloats,
    starts: LineInts,
    place: LineInts,
    longest: LineFloats,
    spread: LineFloats,
    enough: NDArray[np.bool_],
) -> tuple[LineInts, LineFloats]:
    """Of each template, its longest pause besides the window: in which window its next line was due, and its excess over all others."""
    first = np.flatnonzero(others == longest[place])
    first = first[np.searchsorted(place[first], np.arange(len(starts)))]
    rest = others.copy()
    rest[first] = 0.0
    second = np.maximum.reduceat(rest, starts)
    counts = np.diff(np.r_[starts, len(others)])
    left = np.sqrt(
        np.maximum(0.0, np.square(spread) - np.square(longest - second) / counts)
    )  # about: without the longest
    score = np.where(enough & (longest > LONGER * second), score_of(longest, second, left), 0.0)
    return windows.number(pauses.begin_s[first] + second), score
