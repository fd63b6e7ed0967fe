"""Stretches of time that stay whole."""

from __future__ import annotations

import bisect
from collections.abc import Iterable


class TimeSpans:
    """Looked up in the time of a bisection."""

    def __init__(self, windows: Iterable[tuple[float, float]]) -> None:
        joined: list[list[float]] = []
        for start_s, end_s in sorted(window for window in windows if window[0] <= window[1]):  # false for NaN
            if joined and start_s <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end_s)
            else:
                joined.append([start_s, end_s])
        self._starts = [start_s for start_s, _ in joined]
        self._ends = [end_s for _, end_s in joined]

    def touches(self, start_s: float, end_s: float) -> bool:
        """Whether any of them has a moment of this stretch, its ends included."""
        place = bisect.bisect_left(self._ends, start_s)
        return place < len(self._starts) and self._starts[place] <= end_s
