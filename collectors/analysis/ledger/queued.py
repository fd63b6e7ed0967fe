"""Time in which a run waited in a queue of jobs: no device was its own then, so that it stands beside the rows and has no share."""

from __future__ import annotations

from collections.abc import Iterable

from ...records import Event
from ..stacks.traces import Range

QUEUED = "queued"  # an event that ends a wait, with its seconds (docs/log-format.md)
LEAST_S = 1.0  # a shorter wait is not named
MOST = 10_000  # events


def queued_during(events: Iterable[Event], window: Range) -> list[Range]:
    """Stretches of the window in which the run was in the queue, in order, without overlaps."""
    lo, hi = window
    found: list[Range] = []
    waits = [
        (event.time_s - event.seconds, event.time_s)
        for event in events
        if event.kind == QUEUED and event.seconds and event.seconds > 0
    ]
    for from_s, until_s in sorted(waits):
        began_s = max(lo, from_s, found[-1][1] if found else lo)
        if began_s < min(hi, until_s):
            found.append((began_s, min(hi, until_s)))
    return found


def seconds_in(stretches: Iterable[Range], window: Range) -> float:
    return sum(max(0.0, min(hi, window[1]) - max(lo, window[0])) for lo, hi in stretches)
