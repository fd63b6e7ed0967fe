"""What the dashboard itself costs: CPU and memory of the web process, the collector and its samplers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import psutil

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
        own, profilers = _processes(collector_pid)
        now, spent_s = time.monotonic(), {}
        used_s = {True: 0.0, False: 0.0}
        rss_bytes = 0
        for process in own + profilers:
            try:
                with process.oneshot():
                    key, times = (process.pid, process.create_time()), process.cpu_times()
                    rss_bytes += process.memory_info().rss
            except psutil.Error:  # ended meanwhile
                continue
            spent_s[key] = times.user + times.system
            used_s[process in profilers] += spent_s[key] - self._cpu_s.get(key, spent_s[key])
        elapsed_s = max(now - self._at, 1e-3)
        profiler_pct = 100 * used_s[True] / elapsed_s
        self._cost = Cost(round(100 * used_s[False] / elapsed_s + profiler_pct, 2), rss_bytes, round(profiler_pct, 2))
        self._cpu_s, self._at = spent_s, now


def _processes(collector_pid: int | None) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The web and collector processes, and the samplers."""
    own, profilers = [psutil.Process()], []
    if collector_pid is not None:
        try:
            collector = psutil.Process(collector_pid)
            own.append(collector)
            profilers = collector.children(recursive=True)
        except psutil.NoSuchProcess:
            pass
    return own, profilers
