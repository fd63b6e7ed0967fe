"""Whether a run shared its slot with another job of the queue in a window, and not in its baseline: the queue's events say so."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ...records import Event
from ..history import History
from ..stacks.traces import Range
from .verdict import NeighbourLook

SHARES, SHARED = "shares", "shared"  # events: a neighbour came, and one has left, with how long it was there
ENDS = (SHARED, "requeued", "cancelled", "end")  # of what began with SHARES
MOST = 10_000  # events
JOBS = re.compile(r"job \d+(?: and \d+)*")  # in their text


def look(history: History, window: Range, baseline: Sequence[Range]) -> NeighbourLook | None:
    """None where it shared nothing in the window."""
    stretches = shared_stretches(history.events(MOST, (SHARES, *ENDS)))
    here = [(from_s, to_s, text) for from_s, to_s, text in stretches if from_s < window[1] and to_s > window[0]]
    if not here:
        return None
    from_s, _, text = max(here, key=lambda each: min(each[1], window[1]) - max(each[0], window[0]))
    found = JOBS.search(text)
    ranges = [(lo, hi) for lo, hi, _ in stretches]
    return NeighbourLook(found[0] if found else "another job", from_s, _share(ranges, [window]), _share(ranges, baseline))


def shared_stretches(events: Iterable[Event]) -> list[tuple[float, float, str]]:
    """From when to when, with what the event said; the last may go on: it ends at infinity."""
    ordered = sorted(events, key=lambda event: event.time_s)
    over = [
        (event.time_s - event.seconds, event.time_s, event.text)
        for event in ordered
        if event.kind == SHARED and event.seconds and event.seconds > 0
    ]
    begun: tuple[float, str] | None = None
    for event in ordered:
        if event.kind == SHARES:
            begun = event.time_s, event.text
        elif begun and event.time_s > begun[0]:
            begun = None
    return [*over, (begun[0], math.inf, begun[1])] if begun else over


def _share(ranges: Sequence[Range], sides: Sequence[Range]) -> float:
    """Of the sides, how much lies in the ranges, 0 to 1."""
    whole_s = sum(hi - lo for lo, hi in sides)
    inside_s = sum(max(0.0, min(hi, to_s) - max(lo, from_s)) for lo, hi in sides for from_s, to_s in ranges)
    return min(1.0, inside_s / whole_s) if whole_s > 0 else 0.0
