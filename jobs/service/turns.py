"""When the daemon of a queue takes its next turn."""

from __future__ import annotations

BETWEEN_S = 0.3  # between two turns, at least, where there is more news
SETTLE_S = 0.1  # until the next look, where something is about to change
SLOW_S, LONG_S = 1.0, 15.0  # the same, where that has not changed for so long


class TurnTimes:
    """At once, then `look_s` after the last one, sooner for news and for what settles. All times are of one monotonic clock, in seconds."""

    def __init__(self, look_s: float, now_s: float) -> None:
        self._look_s, self._settled_s = look_s, now_s
        self._turned_s = self.due_s = 0.0

    def hear(self) -> None:
        """There is news: many submissions at once make one turn."""
        self.due_s = min(self.due_s, self._turned_s + BETWEEN_S)

    def turned(self, began_s: float, now_s: float, *, unsettled: bool, by_s: float) -> None:
        """A turn that began at `began_s` is over, and what it looked after wants the next one by `by_s`."""
        self._turned_s = began_s
        if not unsettled:
            self._settled_s = now_s
        soon_s = SETTLE_S if now_s - self._settled_s < LONG_S else SLOW_S
        self.due_s = min(now_s + (min(soon_s, self._look_s) if unsettled else self._look_s), by_s)
