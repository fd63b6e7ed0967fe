"""Jobs beside a run on its slot: the queue's events say when there was one (docs/log-format.md)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence

from .history import History
from .stacks.traces import Range

SHARES, SHARED = "shares", "shared"  # events: a neighbour came, and one has left, with how long it was there
ENDS = (SHARED, "requeued", "cancelled", "end")  # of what began with SHARES
MOST = 10_000  # events
JOBS = re.compile(r"job \d+(?: and \d+)*")  # in their text


def neighbour_in(history: History, window: Range, baseline: Sequence[Range]) -> tuple[str, tuple[float, float]]:
    """`("GPU shared with job 7 since 14:02", (1.0, 0.0))`: who was longest beside the run in the window, in local time, and for which share of
    the window and of its baseline the run had a neighbour. `("", (0, 0))` without one."""
    stretches = shared_stretches(history.noted(MOST, (SHARES, *ENDS)))
    here = [(from_s, to_s, text) for from_s, to_s, text in stretches if from_s < window[1] and to_s > window[0]]
    if not here:
        return "", (0.0, 0.0)
    from_s, _, text = max(here, key=lambda each: min(each[1], window[1]) - max(each[0], window[0]))
    job = found[0] if (found := JOBS.search(text)) else "another job"
    ranges = [(lo, hi) for lo, hi, _ in stretches]
    since = time.strftime("%H:%M", time.localtime(from_s))
    return f"GPU shared with {job} since {since}", (_share(ranges, [window]), _share(ranges, baseline))


def shared_stretches(noted: Iterable[tuple[str, float, float, str]]) -> list[tuple[float, float, str]]:
    """From when to when, with what the event said, of events as `History.noted` gives them; the last may go on: it ends at infinity."""
    rows = sorted(noted, key=lambda row: row[1])
    over = [(time_s - seconds, time_s, text) for kind, time_s, seconds, text in rows if kind == SHARED and seconds > 0]
    begun: tuple[float, str] | None = None
    for kind, time_s, _, text in rows:
        if kind == SHARES:
            begun = time_s, text
        elif begun and time_s > begun[0]:
            begun = None
    return [*over, (begun[0], math.inf, begun[1])] if begun else over


def _share(ranges: Sequence[Range], sides: Sequence[Range]) -> float:
    """Of the sides, how much lies in the ranges, 0 to 1."""
    whole_s = sum(hi - lo for lo, hi in sides)
    inside_s = sum(max(0.0, min(hi, to_s) - max(lo, from_s)) for lo, hi in sides for from_s, to_s in ranges)
    return min(1.0, inside_s / whole_s) if whole_s > 0 else 0.0
