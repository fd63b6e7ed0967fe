"""What the dashboard itself costs: CPU and memory of the web process, the collector and its samplers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from collectors.process.proc import descendants

INTERVAL_S = 1.0


@dataclass(frozen=True)
class Cost:
    """`cpu_pct` is of one core, over the last second or more; `profiler_pct` is the part of it that samples stacks."""

    cpu_pct: float
    rss_bytes: int
    profiler_pct: float


class CostMeter:
    """Measures at most once a second; asked from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cpu_s: dict[tuple[int, float], float] = {}  # by pid and its start
        self._at = time.monotonic()
        self._cost = Cost(0.0, 0, 0.0)
        self._measure(None)

    def read(self, collector_pid: int | None) -> Cost:
        with self._lock:
            if time.monotonic() - self._at >= INTERVAL_S:
                self._measure(collector_pid)
            return self._cost

    def _measure(self, collector_pid: int | None) -> None:
        now, spent_s, rss_bytes = time.monotonic(), {}, 0
        used_s = {True: 0.0, False: 0.0}
        for pid, samples in _processes(collector_pid):
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    key, times = (pid, process.create_time()), process.cpu_times()
                    rss_bytes += process.memory_info().rss
            except psutil.Error:  # ended meanwhile
                continue
            spent_s[key] = times.user + times.system
            used_s[samples] += spent_s[key] - self._cpu_s.get(key, spent_s[key])
        elapsed_s = max(now - self._at, 1e-3)
        profiler_pct = 100 * used_s[True] / elapsed_s
        self._cost = Cost(round(100 * used_s[False] / elapsed_s + profiler_pct, 2), rss_bytes, round(profiler_pct, 2))
        self._cpu_s, self._at = spent_s, now


def _processes(collector_pid: int | None) -> Iterator[tuple[int, bool]]:
    """The web and collector processes, and the samplers below the collector; whether it is a sampler."""
    yield os.getpid(), False
    if collector_pid is not None:
        yield collector_pid, False
        yield from ((pid, True) for pid in descendants(collector_pid))
