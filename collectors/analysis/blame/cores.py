"""Time on a machine that is full, as it would have been with as much of a core as in the baseline.

Where other programs want the cores, all that computes takes longer, and most what computes most. What a function does more than in the
baseline shows in its time on a core.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..stacks.parts import always_there, parts_of
from ..stacks.traces import Bools, Floats, Ints, Traces
from .verdict import HostLook

FULL_PCT = 75.0  # of all cores: where cores are free, no thread waits for one
TAKEN = 0.25  # of one core, on the average over the window
SHIFTED = 0.1  # of one core, from the run to other programs
COMPUTES = 0.05  # of a core: a part with more of one computes, however many share it; one with less waits for a disk or a socket
KNOWN = 0.9  # of the time, for which the kernel says who had a core


def has_risen(host: HostLook) -> bool:
    """True if other programs use more of the cores than in the baseline."""
    return host.others[0] - host.others[1] >= TAKEN


def took_more(host: HostLook) -> bool:
    """True if other programs use more of the cores, or somewhat more while the run has as much less: on a full machine nobody gets much more."""
    rise, fall = host.others[0] - host.others[1], host.own[1] - host.own[0]
    return rise >= TAKEN or min(rise, fall) >= SHIFTED


def is_full(host: HostLook | None) -> bool:
    return host is not None and host.busy_pct[0] >= FULL_PCT


class Evened(NamedTuple):
    """Window and baseline with the time of what computes by its time on a core."""

    traces: tuple[Traces, Traces]
    longer: float  # how many times as long the window's work took for want of a core, beside the baseline's


def evened(sides: tuple[Traces, Traces], working: tuple[Bools, Bools], own_folder: str) -> Evened | None:
    """None where the kernel does not say who had a core."""
    at_work = sides[0].take(working[0]), sides[1].take(working[1])
    if any(_known_s(side) < KNOWN * float(side.seconds.sum()) for side in at_work):
        return None
    parts = parts_of(sides, own_folder, always_there(sides[1]))
    computes = _computing(at_work, parts)
    here, there = (_share(side, computes[part]) for side, part in zip(at_work, parts, strict=True))
    if not here or not there:
        return None
    even = (
        _by_cores(side, work, computes[part], there) for side, work, part in zip(sides, working, parts, strict=True)
    )
    return Evened((next(even), next(even)), there / here)


def _share(side: Traces, computes: Bools) -> float:
    """Of a core, that what computes had on the average."""
    those = computes[side.stack]
    return float(_on_core(side)[those].sum() / max(float(side.seconds[those].sum()), 1e-9))


def _by_cores(side: Traces, working: Bools, computes: Bools, usual: float) -> Traces:
    those = working & computes[side.stack] & np.isfinite(side.running)
    share = np.clip(np.nan_to_num(side.running), 0, 1) / usual
    return side._replace(weight=np.where(those, side.weight * share, side.weight))


def _computing(sides: tuple[Traces, Traces], parts: list[Ints]) -> Bools:
    """The parts of the program that have a core now and then."""
    count = 1 + max(int(part.max(initial=0)) for part in parts)
    on_s, all_s = np.zeros(count), np.zeros(count)
    for side, part in zip(sides, parts, strict=True):
        if len(part):
            on_s += np.bincount(part[side.stack], _on_core(side), count)
            all_s += np.bincount(part[side.stack], side.seconds, count)
    computing: Bools = on_s >= COMPUTES * np.maximum(all_s, 1e-9)
    return computing


def _on_core(side: Traces) -> Floats:
    seconds: Floats = np.clip(np.nan_to_num(side.running), 0, 1) * side.seconds
    return seconds


def _known_s(side: Traces) -> float:
    return float(side.seconds[np.isfinite(side.running)].sum())
