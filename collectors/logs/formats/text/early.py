"""The first numbers of a text wait until it is clear that no other file of the run has them.

A script prints a loss and then writes it to a file, or to one that is flushed two minutes later: the text is read first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....records import Points

MOST = 2_000  # points that wait, more than a bar draws in two minutes; with more of them, none does


class Early:
    """Points of one text that are not told yet."""

    def __init__(
        self,
        run: str,
        wait_s: Callable[[], float] = lambda: 0.0,
        state: Mapping[str, Any] | None = None,
        written_s: float = 0.0,
    ) -> None:
        """`wait_s` says how long they wait in all, seconds. `state` is that of the text's format, {} for a file that was not read before.

        A text that was last written longer ago, at `written_s` (Unix seconds), has none that wait.
        """
        self._wait_s = wait_s
        waiting = (state or {}).get("early")
        self.is_told = self.is_over = not waiting and (bool(state) or time.time() - written_s >= wait_s())
        self._since_s: float = waiting["since_s"] if waiting else 0.0  # Unix seconds
        self._points = [_point(run, row) for row in waiting["points"]] if waiting else []

    def state(self) -> dict[str, Any]:
        """{} once the text has told its first points: as long as it has not, its series are nobody's."""
        if self.is_told:
            return {}
        return {"early": {"since_s": self._since_s, "points": [_row(one) for one in self._points]}}

    @property
    def again_s(self) -> float | None:
        """In how many seconds `take` is to be called again; None where nothing waits."""
        return max(0.0, self._since_s + self._wait_s() - time.time()) if self._points else None

    def drop(self) -> None:
        """Another file has the numbers."""
        self._points, self.is_over = [], True  # `is_told` stays as it is

    def take(self, points: Sequence[Points]) -> list[Points]:
        """What may be told now, given what was found."""
        if self.is_over:
            return list(points)
        if points and not self._points:
            self._since_s = time.time()
        self._points += points
        if not self._points or (len(self._points) <= MOST and 0 <= time.time() - self._since_s < self._wait_s()):
            return []
        told, self._points, self.is_over, self.is_told = self._points, [], True, True
        return told


def _row(one: Points) -> list[Any]:
    """Values as text: JSON has no NaN."""
    return [list(one.labels), list(one.names), [str(value) for value in one.values], *one[4:]]


def _point(run: str, row: Sequence[Any]) -> Points:
    labels, names, values, *rest = row
    return Points(run, tuple((key, value) for key, value in labels), tuple(names), tuple(map(float, values)), *rest)
