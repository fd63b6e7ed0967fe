"""Jobs that wait for what no end of another job gives: after a while their runs say so, on and on, until they move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..run_events import note

AGAIN_S = 300.0  # the dashboard takes what was said longer ago than twice that for over


class StuckJobs:
    """Keeps in memory since when; the next daemon counts anew."""

    def __init__(self, run_of: Callable[[int], Path | None], stuck_s: float) -> None:
        self._run_of, self._stuck_s = run_of, stuck_s
        self._since_s: dict[int, float] = {}
        self._said_s: dict[int, float] = {}

    def look(self, blocked: Mapping[int, str], now_s: float) -> list[int]:
        """`blocked`: by job, in words, why nothing that the queue does helps it. Returns the jobs that are stuck from now on."""
        self._since_s = {job: self._since_s.get(job, now_s) for job in blocked}
        self._said_s = {job: said_s for job, said_s in self._said_s.items() if job in blocked}
        newly = []
        for job, since_s in self._since_s.items():
            if now_s - since_s < self._stuck_s or now_s - self._said_s.get(job, -AGAIN_S) < AGAIN_S:
                continue
            if job not in self._said_s:
                newly.append(job)
            self._said_s[job] = now_s
            note(self._run_of(job), "stuck", now_s, blocked[job], job=job, since_s=round(since_s, 3))
        return newly
