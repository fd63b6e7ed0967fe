"""When a card ran kernels, by torch.profiler, and where the host stood while it ran none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
NO_KERNELS = ("Memcpy", "Memset")  # utilization counts kernels alone


class Intervals(NamedTuple):
    """Unix seconds, in order and apart from each other."""

    start_s: Floats
    end_s: Floats


class Region(NamedTuple):
    """What the host was at."""

    kind: str
    start_s: float
    end_s: float
    cpu_s: float  # of the thread, on a core
    queued_s: float = 0.0  # of the thread, waiting for a core


def kernels_of(profiler: Any) -> Intervals:
    """Of a torch.profiler that has ended; its clock is Unix time."""
    events = profiler.profiler.kineto_results.events()
    times = [(event.start_ns(), event.duration_ns()) for event in events if _is_kernel(event)]
    start_ns, took_ns = np.array(times, np.int64).reshape(-1, 2).T
    return union(start_ns / 1e9, (start_ns + took_ns) / 1e9)


def _is_kernel(event: Any) -> bool:
    """What an optimizer annotates spans kernels and the gaps between them."""
    if hasattr(event, "activity_type"):  # not in older PyTorch
        return bool(event.activity_type() == "kernel")
    return (
        event.device_type().name == "CUDA"
        and not event.is_user_annotation()
        and not event.name().startswith(NO_KERNELS)
    )


def union(start_s: Floats, end_s: Floats) -> Intervals:
    """Those of several streams overlap."""
    order = np.argsort(start_s, kind="stable")
    start_s, end_s = start_s[order], np.maximum.accumulate(end_s[order]) if len(order) else end_s
    fresh = np.ones(len(start_s), bool)
    fresh[1:] = start_s[1:] > end_s[:-1]
    last = np.append(fresh[1:], True) if len(fresh) else fresh
    return Intervals(start_s[fresh], end_s[last])


def busy_share(kernels: Intervals, lo_s: float, hi_s: float) -> float:
    """0 to 1 of the time from lo to hi."""
    return Covered(kernels).busy_s(lo_s, hi_s) / max(hi_s - lo_s, 1e-9)


def shares_with_card(
    kernels: Intervals, regions: Sequence[Region], window: tuple[float, float], *, gil: bool
) -> dict[str, float]:
    """Percent of a window: busy, and the idle time by what the host was at then. `gil`: another thread held the lock of Python all the time.

    Idle time under launches after a wait for the card is the wait's, up to the lead that it took away: the seconds waited.
    """
    lo_s, hi_s = window
    covered = Covered(kernels)
    given: defaultdict[str, float] = defaultdict(float, busy=covered.busy_s(lo_s, hi_s))
    owed_s, at_s = 0.0, lo_s
    for region in sorted(regions, key=lambda region: region.start_s):
        begin_s, end_s = max(region.start_s, at_s), min(region.end_s, hi_s)
        if end_s <= begin_s:
            continue
        given["python"] += covered.idle_s(at_s, begin_s)
        idle_s = covered.idle_s(begin_s, end_s)
        moved_s = min(owed_s, idle_s) if region.kind == "launch" else 0.0
        owed_s += end_s - begin_s - idle_s if region.kind == "sync" else -moved_s
        given["sync"] += moved_s
        given["gil" if gil and region.kind in ("launch", "python") else region.kind] += idle_s - moved_s
        at_s = end_s
    given["python"] += covered.idle_s(at_s, hi_s)
    return {kind: 100 * s / (hi_s - lo_s) for kind, s in given.items() if s > 0}


def shares_without_card(regions: Sequence[Region], window: tuple[float, float], *, gil: bool) -> dict[str, float]:
    """The same where the device is the CPU: what the main thread was at, and its time without a core or without the lock of Python."""
    lo_s, hi_s = window
    given: defaultdict[str, float] = defaultdict(float)
    for region in regions:
        took_s = region.end_s - region.start_s
        part = max(0.0, min(region.end_s, hi_s) - max(region.start_s, lo_s)) / max(took_s, 1e-9)
        kind = "busy" if region.kind in ("launch", "sync", "copy") else region.kind
        works_s = min(took_s, region.cpu_s) if kind in ("busy", "python") else took_s
        coreless_s = min(region.queued_s, took_s - works_s) if gil else took_s - works_s
        given[kind] += part * works_s
        given["cpu_taken"] += part * coreless_s
        given["gil"] += part * (took_s - works_s - coreless_s)
    given["python"] += max(0.0, hi_s - lo_s - sum(given.values()))
    return {kind: 100 * s / (hi_s - lo_s) for kind, s in given.items() if s > 0}


class Covered:
    """How long kernels ran between any two moments."""

    def __init__(self, kernels: Intervals) -> None:
        took_s = kernels.end_s - kernels.start_s
        self._bounds_s = np.column_stack(kernels).ravel() if len(took_s) else np.zeros(1)
        self._before_s = (
            np.column_stack([np.cumsum(took_s) - took_s, np.cumsum(took_s)]).ravel() if len(took_s) else np.zeros(1)
        )

    def busy_s(self, lo_s: float, hi_s: float) -> float:
        first, last = np.interp([lo_s, hi_s], self._bounds_s, self._before_s)
        return float(last - first)

    def idle_s(self, lo_s: float, hi_s: float) -> float:
        return max(0.0, hi_s - lo_s - self.busy_s(lo_s, hi_s))
