"""Attempts that are asked to end: since when, by a clock that does not jump."""

from __future__ import annotations

import time


class Stops:
    """By job and number of the attempt."""

    def __init__(self, stop_s: float) -> None:
        self._stop_s = stop_s
        self._since_s: dict[tuple[int, int], float] = {}  # CLOCK_MONOTONIC
        self._asked = set[tuple[int, int]]()

    def begin(self, key: tuple[int, int], before_s: float) -> None:
        """`before_s`: how long ago a daemon before this one asked, by the wall's clock; all of the time is given again at most."""
        self._since_s.setdefault(key, time.monotonic() - min(max(0.0, before_s), self._stop_s))

    def asked(self, key: tuple[int, int]) -> None:
        """Its time begins now, unless another daemon has asked before."""
        self._asked.add(key)

    def is_asked(self, key: tuple[int, int]) -> bool:
        """Whether this daemon has asked it."""
        return key in self._asked

    def is_over(self, key: tuple[int, int]) -> bool:
        """Whether it had its time."""
        return key in self._since_s and time.monotonic() - self._since_s[key] >= self._stop_s

    def forget(self, key: tuple[int, int]) -> None:
        self._since_s.pop(key, None)
        self._asked.discard(key)
