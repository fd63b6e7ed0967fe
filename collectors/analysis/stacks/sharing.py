"""Divide the time of a wait among the threads at work meanwhile: a join of intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...records import Frame
from .traces import Floats, Ints, Traces, overlaps

MOMENT_S = 1e-7  # what is shorter is rounding


class Pieces(NamedTuple):
    """Parts of waits: each with the stack of a worker at that time, below a head of its own; -1 where no worker was at work."""

    wait: Ints  # index of the span that waited
    other: Ints
    head: Ints  # index into heads
    heads: list[Frame]
    start_s: Floats
    end_s: Floats
    weight: Floats
    running: Floats  # of the worker, else of the waiting thread


def share_out(traces: Traces, waits: Ints, busy: Ints, heads: list[Frame]) -> Pieces:
    """Every overlap of one thread's waits with a worker, by weight; then the rest of the waits."""
    begin_s = float(traces.start_s[waits[0]])  # small numbers keep their microseconds
    starts, ends = traces.start_s[waits] - begin_s, traces.end_s[waits] - begin_s
    busy_starts, busy_ends = traces.start_s[busy] - begin_s, traces.end_s[busy] - begin_s
    who, which = overlaps(busy_starts, busy_ends, starts, ends)
    clock = _clock(busy_starts, busy_ends, traces.weight[busy])
    # A share only grows with time, so that the later of two moments is the one with the greater share.
    lo_share = np.maximum(np.interp(starts, clock.moments, clock.share)[which], clock.share_at_start[who])
    hi_share = np.minimum(np.interp(ends, clock.moments, clock.share)[which], clock.share_at_end[who])
    lo, hi = np.maximum(starts[which], busy_starts[who]), np.minimum(ends[which], busy_ends[who])
    share = (hi_share - lo_share) * traces.weight[busy][who] / np.maximum(hi - lo, MOMENT_S)
    left, gap = overlaps(starts, ends, clock.gap_starts, clock.gap_ends)
    return Pieces(
        wait=waits[np.r_[which, left]],
        other=np.r_[traces.stack[busy][who], np.full(len(left), -1)],
        head=np.r_[traces.process[busy][who], np.zeros(len(left), np.int64)],
        heads=heads,
        start_s=np.r_[lo, np.maximum(starts[left], clock.gap_starts[gap])] + begin_s,
        end_s=np.r_[hi, np.minimum(ends[left], clock.gap_ends[gap])] + begin_s,
        weight=traces.weight[waits][np.r_[which, left]] * np.r_[np.maximum(share, 0.0), np.ones(len(left))],
        running=np.r_[traces.running[busy][who], traces.running[waits][left]],
    )


class _Clock(NamedTuple):
    """Sums over time, at each moment where a worker starts or stops; and the gaps without one."""

    moments: Floats
    share: Floats  # seconds that fell to one of weight 1 among those at work, had they shared out all time
    share_at_start: Floats  # the same at the start and the end of each span of work
    share_at_end: Floats
    gap_starts: Floats
    gap_ends: Floats


def _clock(starts: Floats, ends: Floats, weight: Floats) -> _Clock:
    moments = np.r_[starts, ends]
    order = np.argsort(moments, kind="stable")
    ordered = moments[order]
    working = np.cumsum(np.where(order < len(starts), 1, -1))[:-1]
    together = np.maximum(np.cumsum(np.r_[weight, -weight][order])[:-1], 1e-6)
    elapsed = np.diff(ordered)
    share = np.r_[0.0, np.cumsum(np.where(working > 0, elapsed / together, 0.0))]
    at = np.empty(len(order))
    at[order] = share
    idle = np.flatnonzero((working == 0) & (elapsed > MOMENT_S))
    return _Clock(
        ordered,
        share,
        at[: len(starts)],
        at[len(starts) :],
        np.r_[-np.inf, ordered[idle], ordered[-1]],
        np.r_[ordered[0], ordered[idle + 1], np.inf],
    )
