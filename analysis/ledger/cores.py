"""Threads and cores: how long each thread was ready to run without a core, by the kernel's run queue."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collectors.arrays import Floats
from collectors.store.store import Series

from ..history import History
from ..stacks.spans import Interval, TrustedSpans
from .prediction import CoreSeconds

WAITS = "host/run_core_wait_pct"
PERIOD_S = 1.0  # a value stands for the time since the one before, and for no more than three periods


class CoreWaits(NamedTuple):
    """Seconds without a core up to each moment; in between it is straight."""

    time_s: Floats
    sum_s: Floats

    def during(self, lo: Floats, hi: Floats) -> Floats:
        found: Floats = np.interp(hi, self.time_s, self.sum_s) - np.interp(lo, self.time_s, self.sum_s)
        return found

    def covers(self, window: Interval) -> bool:
        return (
            bool(len(self.time_s))
            and self.time_s[0] <= window[0] + PERIOD_S
            and window[1] - PERIOD_S <= self.time_s[-1]
        )


NONE_WAITED = CoreWaits(np.array([-np.inf, np.inf]), np.zeros(2))


def core_waits(history: History, window: Interval, rank: int) -> CoreWaits | None:
    """None where the kernel says nothing, or not all the time: on another host, or from a log that was there before."""
    wanted = {"run": history.run, "rank": str(rank)} if rank else {"run": history.run}
    mine = [
        series
        for series in history.machine_series()
        if series.name == WAITS and {k: v for k, v in series.labels if k in ("run", "rank")} == wanted
    ]
    if len(mine) != 1:
        return None
    points = history.points(mine, (window[0] - PERIOD_S, window[1] + 2 * PERIOD_S))[mine[0].id]
    known = np.isfinite(points.value)
    ends, share = points.place[known], np.clip(points.value[known], 0, 100) / 100
    if len(ends) < 2:
        return None
    lasted = np.minimum(np.diff(ends, prepend=ends[0] - PERIOD_S), 3 * PERIOD_S)
    found = CoreWaits(np.r_[ends[0] - PERIOD_S, ends], np.r_[0.0, np.cumsum(share * lasted)])
    return found if found.covers(window) else None


class CoreUse(NamedTuple):
    """Who had the machine's cores, besides a main thread."""

    own_share: (
        float  # of what they had, the part of the run's other threads, processes and ranks; the rest is other programs'
    )
    beside_share: float  # of all cores, what the run's other Python threads, processes and ranks had,
    others_share: float  # ... and what other programs had
    seconds: CoreSeconds = CoreSeconds()  # of the window; none where the machine's counters are not known


ALONE = CoreUse(0.0, 0.0, 0.0)
CPU, OF_CORE, OF_RUN = "host/cpu_pct", "host/cpu_core_pct", "host/run_cpu_pct"
SOME = 0.05  # cores: less is at work by chance


def core_use(history: History, window: Interval, everything: TrustedSpans, main: TrustedSpans) -> CoreUse:
    """`everything` are all threads of the run in the window, `main` the one that is asked for.

    Without the machine's counters the run's own threads are known alone: where these work, they are taken to have had the cores.
    """
    length_s = max(window[1] - window[0], 1e-9)
    all_s, main_s = _on_cores_s(everything), _on_cores_s(main)
    beside = max(0.0, all_s - main_s) / length_s
    known = history.machine_series()
    cores = len({dict(series.labels).get("core") for series in known if series.name == OF_CORE})
    of_all = [series for series in known if series.name == CPU]
    of_run = [series for series in known if series.name == OF_RUN and dict(series.labels).get("run") == history.run]
    busy_pct = _mean(history, of_all[0], window) if of_all else None
    if not cores or busy_pct is None:
        return CoreUse(float(beside > SOME), 0.0, 0.0)
    own = max(sum(_mean(history, series, window) or 0.0 for series in of_run) / 100, all_s / length_s)
    others = max(0.0, cores * busy_pct / 100 - own)
    own_beside = max(0.0, own - main_s / length_s)
    together = own_beside + others
    return CoreUse(
        own_beside / together if together > SOME else 0.0,
        min(1.0, beside / cores),
        min(1.0, others / cores),
        CoreSeconds(cores * length_s, own * length_s, others * length_s),
    )


def _mean(history: History, series: Series, window: Interval) -> float | None:
    """A value stands for the second before it."""
    found = history.values([series], [(window[0], window[1] + PERIOD_S)])
    return float(found[series.name][0].mean()) if len(found[series.name][0]) else None


def _on_cores_s(spans: TrustedSpans) -> float:
    return float((np.clip(np.nan_to_num(spans.running, nan=0.0), 0, 1) * spans.seconds).sum())


# Whether a main thread that holds no interpreter lock waited for it: another thread of its process had it then.


def without_gil(main: TrustedSpans, everything: TrustedSpans, *, also_holding: bool = False) -> Floats:
    """Of each span of the main thread, seconds in which it does not hold the GIL and another thread of its process does.

    `also_holding`: of spans that begin with holding it, too. Threads take it from each other every five milliseconds, within a span.
    """
    held = everything.take((everything.gil == 1) & ~everything.main)
    found = np.zeros(len(main.start_s))
    for process in np.unique(main.process).tolist():
        others, mine = (
            held.process == process,
            np.flatnonzero((main.process == process) & ((main.gil == 0) | also_holding)),
        )
        if others.any() and len(mine):
            until = _CumulativeCoverage(held.start_s[others], held.end_s[others])
            found[mine] = until(main.end_s[mine]) - until(main.start_s[mine])
    return found


class _CumulativeCoverage:
    """Seconds in which any of these intervals was going on, up to a moment."""

    def __init__(self, starts: Floats, ends: Floats) -> None:
        moments = np.r_[starts, ends]
        order = np.argsort(moments, kind="stable")
        there = np.cumsum(np.where(order < len(starts), 1, -1))[:-1] > 0
        self._at = moments[order]
        self._sum = np.r_[0.0, np.cumsum(np.where(there, np.diff(self._at), 0.0))]

    def __call__(self, moment: Floats) -> Floats:
        taken: Floats = np.interp(moment, self._at, self._sum)
        return taken
