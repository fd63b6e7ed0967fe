"""Attempts that never began, as where a log folder cannot be written: their jobs wait, ever longer, and say why."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from typing import NamedTuple

FIRST_S, LONGEST_S = 1.0, 600.0  # between two tries


class _Pause(NamedTuple):
    until_s: float  # CLOCK_MONOTONIC
    length_s: float
    reason: str


class FalseStarts:
    """Keeps in memory only how long to wait: the next daemon tries at once."""

    def __init__(self) -> None:
        self._pauses: dict[int, _Pause] = {}

    def note(self, job: int, why: str) -> str:
        """The reason for which it waits now."""
        before = self._pauses.get(job)
        length_s = min(LONGEST_S, 2 * before.length_s) if before else FIRST_S
        reason = f"{why}; it is tried again, at least every {LONGEST_S / 60:.0f} min"
        self._pauses[job] = _Pause(time.monotonic() + length_s, length_s, reason)
        return reason

    def reasons(self) -> dict[int, str]:
        """Of the jobs that are to wait still."""
        now_s = time.monotonic()
        return {job: pause.reason for job, pause in self._pauses.items() if pause.until_s > now_s}

    def all_reasons(self) -> dict[int, str]:
        """Of all that have not begun since."""
        return {job: pause.reason for job, pause in self._pauses.items()}

    def keep(self, jobs: Collection[int]) -> None:
        """The others are over, or on hold."""
        self._pauses = {job: pause for job, pause in self._pauses.items() if job in jobs}

    def forget(self, job: int) -> None:
        """It has begun, or is over."""
        self._pauses.pop(job, None)

    @property
    def due_s(self) -> float:
        """When the next is to be tried, CLOCK_MONOTONIC."""
        now_s = time.monotonic()
        return min((pause.until_s for pause in self._pauses.values() if pause.until_s > now_s), default=math.inf)
