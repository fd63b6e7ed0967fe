"""The state of PyTorch's GPU allocator, about once a second: a call builds a table of all its counters, about 0.1 ms."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import torch

from .stalls import WriteEvent

PERIOD_S = 1.0


class GpuMemory:
    """`memory/*_bytes`, and an event when the allocator freed its cache and called the driver again, which waits."""

    def __init__(self, event: WriteEvent, stats: Callable[[], dict[str, Any]] = torch.cuda.memory_stats) -> None:
        self._event = event
        self._stats = stats
        self._due_s = 0.0
        self._retries = stats().get("num_alloc_retries", 0)

    def read(self) -> dict[str, float]:
        """Empty if less than a second has passed."""
        now_s = monotonic()
        if now_s < self._due_s:
            return {}
        self._due_s = now_s + PERIOD_S
        stats = self._stats()
        self._count_retries(stats.get("num_alloc_retries", 0))
        return {
            "memory/allocated_bytes": stats.get("allocated_bytes.all.current", 0),
            "memory/reserved_bytes": stats.get("reserved_bytes.all.current", 0),
            "memory/peak_bytes": stats.get("allocated_bytes.all.peak", 0),
        }

    def _count_retries(self, retries: int) -> None:
        if retries > self._retries:
            self._event("allocator_retry", count=retries - self._retries, text="the cache was given back to make room")
        self._retries = retries
