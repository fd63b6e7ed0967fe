"""Whether a main thread that holds no interpreter lock waited for it: another thread of its process had it then."""

from __future__ import annotations

import numpy as np

from ...stacks.traces import Floats, Traces


def without_gil(main: Traces, everything: Traces, *, also_holding: bool = False) -> Floats:
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
            until = _Taken(held.start_s[others], held.end_s[others])
            found[mine] = until(main.end_s[mine]) - until(main.start_s[mine])
    return found


class _Taken:
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
