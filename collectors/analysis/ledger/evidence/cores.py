"""How long the main thread of a rank was ready to run and had no core, by the kernel's account of its run queue."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...history import History
from ...stacks.traces import Floats, Range

WAITS = "host/run_core_wait_pct"
PERIOD_S = 1.0  # a value stands for the time since the one before, and for no more than three periods


class CoreWaits(NamedTuple):
    """Seconds without a core up to each moment; in between it is straight."""

    time_s: Floats
    sum_s: Floats

    def during(self, lo: Floats, hi: Floats) -> Floats:
        found: Floats = np.interp(hi, self.time_s, self.sum_s) - np.interp(lo, self.time_s, self.sum_s)
        return found

    def covers(self, window: Range) -> bool:
        return bool(len(self.time_s)) and self.time_s[0] <= window[0] + PERIOD_S and window[1] - PERIOD_S <= self.time_s[-1]


NONE_WAITED = CoreWaits(np.array([-np.inf, np.inf]), np.zeros(2))


def core_waits(history: History, window: Range, rank: int) -> CoreWaits | None:
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
