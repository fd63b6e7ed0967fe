"""How many items a second pass by lines that count them, such as `[640/60000 (1%)]`: of training alone, within one epoch.

Output that is buffered arrives in bursts. Only the last line of one was printed when it came; the others were printed at some time
since the burst before. So a rate goes from the last line of a burst to the last line of a later one, and is told with the line behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

RATE_S, COARSE_RATE_S = 2.0, 10.0  # a rate is told of so much time, at least; the latter where times are whole seconds
PAUSE_S = 0.3  # before a line that begins a burst
SETTLED_S, SETTLED_SHARE = (
    1.0,
    0.25,
)  # lines have come steadily for so long, and for such a share of the pause before: no burst
UNSURE_LINES = 8  # of which none goes back: one program counts, unless the count rises twice by the same
BEGINNING = 0.1  # of the total: what goes back to there begins anew; what goes back to elsewhere is another program's


class Rate(NamedTuple):
    """Items a second, up to a time."""

    per_s: float
    time_s: float


class Count(NamedTuple):
    """What a line says that came at its time: how many items of how many, in which epoch."""

    items: int
    total: int
    outer: tuple[float, ...]
    time_s: float

    def goes_on(self, later: Count) -> bool:
        return later[1:3] == self[1:3] and later.items >= self.items and later.time_s >= self.time_s

    def until(self, later: Count) -> Rate | None:
        """None where it is too short to tell."""
        took_s, items = later.time_s - self.time_s, later.items - self.items
        least_s = COARSE_RATE_S if self.time_s.is_integer() and later.time_s.is_integer() else RATE_S
        return Rate(items / took_s, later.time_s) if took_s >= least_s and items > 0 else None


class ItemRate:
    """Of the lines of one text, in order."""

    def __init__(self, state: Sequence[Any] = ()) -> None:
        since, last, burst_s, paused_s, rise, lines = state or (None, None, 0.0, 0.0, 0, 0)
        self._since = Count(since[0], since[1], tuple(since[2]), since[3]) if since else None
        self._last = Count(last[0], last[1], tuple(last[2]), last[3]) if last else None  # the newest line
        self._burst_s: float = burst_s  # when the newest burst began,
        self._paused_s: float = paused_s  # and how long the pause before it was
        self._rise: int = rise  # from the line before it to the newest line
        self._lines: int = lines  # that may be one program's, up to UNSURE_LINES

    def state(self) -> list[Any]:
        """As JSON; [] where there is nothing to go on with."""
        if self._last is None and self._since is None and not self._lines:
            return []
        counts = [
            [one.items, one.total, list(one.outer), one.time_s] if one else None for one in (self._since, self._last)
        ]
        return [*counts, self._burst_s, self._paused_s, self._rise, self._lines]

    def pause(self, time_s: float) -> Rate | None:
        """A line of a validation, whose time is not the training's: the rate until the line before it."""
        told = self._told(time_s)
        self._since = self._last = None
        return told

    def take(self, items: int, total: int, outer: tuple[float, ...], time_s: float) -> Rate | None:
        """The rate until the line before this one, where that came when it was printed."""
        now, last = Count(items, total, outer, time_s), self._last
        goes_on = last is None or last.goes_on(now)
        told = self._told(time_s)
        if not goes_on:
            self._since = None
            if last and now[1:3] == last[1:3] and items > BEGINNING * total:  # several programs count in this text
                told, self._lines = None, -UNSURE_LINES
            self._rise = 0
        elif last:
            rise = items - last.items
            self._lines = (
                max(self._lines, UNSURE_LINES) if rise and rise == self._rise else min(self._lines + 1, UNSURE_LINES)
            )
            self._rise = rise
        self._last = now
        return told

    def _told(self, time_s: float) -> Rate | None:
        """With a line at that time: the rate until the one before it."""
        last = self._last
        if last is None:
            self._burst_s, self._paused_s = time_s, 0.0
            return None
        steady_s, pause_s = last.time_s - self._burst_s, time_s - last.time_s
        is_over = not 0 <= pause_s < PAUSE_S
        told = None
        if is_over or steady_s >= max(SETTLED_S, SETTLED_SHARE * self._paused_s):
            told = self._since.until(last) if self._since else None
            if told or self._since is None:
                self._since = last
        if is_over:
            self._burst_s, self._paused_s = time_s, max(pause_s, 0.0)
        return told if self._lines >= UNSURE_LINES else None
