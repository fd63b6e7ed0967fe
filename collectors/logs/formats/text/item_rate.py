"""How many items a second pass by lines that count them, such as `[640/60000 (1%)]`: of training alone, within one epoch.

Output that is buffered arrives in bursts, whose lines do not have the times at which they were printed: it has no rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

RATE_S, COARSE_RATE_S = 2.0, 10.0  # between two lines of which a rate is told, at least; the latter where times are whole seconds
LONGEST = 0.5  # of a stretch: the longest pause between two of its lines, where they come steadily


class Stretch(NamedTuple):
    """Lines of one epoch, from which the next rate is told."""

    outer: tuple[float, ...]
    items: int  # before it
    since_s: float
    last_s: float  # its newest line
    before_s: float = 0.0  # from the line before it to its beginning; 0 where that is in another epoch
    longest_s: float = 0.0
    lines: int = 0  # behind the first one

    def then(self, time_s: float) -> Stretch:
        return self._replace(last_s=time_s, longest_s=max(self.longest_s, time_s - self.last_s), lines=self.lines + 1)

    @property
    def is_long_enough(self) -> bool:
        is_coarse = self.since_s.is_integer() and self.last_s.is_integer()
        return self.last_s - self.since_s >= (COARSE_RATE_S if is_coarse else RATE_S)

    @property
    def is_steady(self) -> bool:
        """Whether its lines are no burst with a pause behind it."""
        if self.lines == 1:
            return self.before_s >= LONGEST * self.longest_s
        return self.longest_s <= LONGEST * (self.last_s - self.since_s)


class ItemRate:
    """Of the lines of one text, in order."""

    def __init__(self, state: Sequence[Any] | None = None) -> None:
        was_steady, stretch = state or (False, None)
        self._was_steady: bool = was_steady  # the last stretch: one pause behind it is a slow item, and told
        self._stretch = Stretch(tuple(stretch[0]), *stretch[1:]) if stretch else None

    def state(self) -> list[Any]:
        """[] where there is nothing to go on with."""
        return [self._was_steady, self._stretch and list(self._stretch)] if self._was_steady or self._stretch else []

    def pause(self) -> None:
        """A validation: its time is not the training's."""
        self._stretch = None

    def take(self, items: int, time_s: float, outer: tuple[float, ...]) -> float | None:
        """The rate since the last one; None where it is not told yet, or not known."""
        last = self._stretch
        if last is None or outer != last.outer or items < last.items or time_s < last.last_s:
            self._stretch = Stretch(outer, items, time_s, time_s)
            return None
        self._stretch = now = last.then(time_s)
        if not now.is_long_enough:
            return None
        self._stretch = Stretch(outer, items, time_s, time_s, before_s=time_s - last.last_s)
        is_steady, was_steady = now.is_steady, self._was_steady
        self._was_steady = is_steady
        return (items - now.items) / (time_s - now.since_s) if (is_steady or was_steady) and items > now.items else None
