"""How many items a second pass by lines that count them, such as `[640/60000 (1%)]`: of training alone, within one epoch.

Output that is buffered arrives in bursts: all but the first line of one were printed at some time since the burst before. From the
first line of a burst to the first line of a later one the rate is right, as long as no validation hides in the later one. So a rate
is told once the lines behind it have shown that none does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

RATE_S, COARSE_RATE_S = 2.0, 10.0  # a rate is told of so much time, at least; the latter where times are whole seconds
PAUSE_S = 0.3  # before a line that begins a burst
SETTLED_S = 1.0  # lines that have come without a pause for so long are no burst


class Rate(NamedTuple):
    """Items a second, up to a time."""

    per_s: float
    time_s: float


class Count(NamedTuple):
    """What a line says that came at its time."""

    items: int
    time_s: float
    outer: tuple[float, ...]  # its epoch

    def until(self, later: Count) -> Rate | None:
        """None where it is too short to tell."""
        took_s, items = later.time_s - self.time_s, later.items - self.items
        least_s = COARSE_RATE_S if self.time_s.is_integer() and later.time_s.is_integer() else RATE_S
        return Rate(items / took_s, later.time_s) if took_s >= least_s and items > 0 else None


class ItemRate:
    """Of the lines of one text, in order."""

    def __init__(self, state: Sequence[Any] | None = None) -> None:
        burst, since, waiting, last = state or ((0.0, None), None, None, None)
        self._burst_s: float = burst[0]  # when it began
        self._line_s: float | None = burst[1]  # when its newest line came
        self._since = Count(since[0], since[1], tuple(since[2])) if since else None
        self._waiting = Rate(*waiting) if waiting else None  # for the rest of its burst
        self._last = (last[0], tuple(last[1])) if last else None  # items and epoch of the newest line

    def state(self) -> list[Any]:
        """[] where there is nothing to go on with."""
        if self._line_s is None:
            return []
        return [[self._burst_s, self._line_s], self._since, self._waiting, self._last]

    def pause(self, time_s: float) -> Rate | None:
        """A line of a validation, whose time is not the training's: the rate that was waiting, if it is right."""
        told = self._waiting if self._has_come_at(time_s) else None
        self._since = self._waiting = self._last = None
        return told

    def take(self, items: int, time_s: float, outer: tuple[float, ...]) -> Rate | None:
        """The rate that was waiting, if this line shows that it is right."""
        told, is_on_time = None, self._has_come_at(time_s)
        if is_on_time:
            told, self._waiting = self._waiting, None
        if self._last and (outer != self._last[1] or items < self._last[0]):
            self._since = self._waiting = None
        self._last = items, outer
        if is_on_time:
            now = Count(items, time_s, outer)
            self._waiting = self._since.until(now) if self._since else None
            if self._since is None or self._waiting or time_s < self._since.time_s:
                self._since = now
        return told

    def _has_come_at(self, time_s: float) -> bool:
        """Whether a line was printed when it came: the first one of a burst, or one of many that come steadily."""
        is_first = self._line_s is None or not 0 <= time_s - self._line_s < PAUSE_S
        if is_first:
            self._burst_s = time_s
        self._line_s = time_s
        return is_first or time_s - self._burst_s >= SETTLED_S
