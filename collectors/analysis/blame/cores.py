"""Time on a machine that is full, as it would have been with as much of a core as in the baseline.

Where other programs want the cores, all that computes takes longer, and most what computes most. What a function does more than in the
baseline shows in its time on a core. Of its wait for one, what it waits with that additional work is its own: without the work, nothing
would have waited.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..stacks.parts import always_there, common_ratio, parts_of
from ..stacks.traces import Bools, Floats, Ints, Traces
from .verdict import HostLook

FULL_PCT = 75.0  # of all cores: where cores are free, no thread waits for one
TAKEN = 0.25  # of one core, on the average over the window
SHIFTED = 0.1  # of one core, from the run to other programs
COMPUTES = 0.05  # of a core: a part with more of one computes, however many share it; one with less waits for a disk or a socket
KNOWN = 0.9  # of the time, for which the kernel says who had a core
SAME_WORK = 1.25  # times the time on a core of a unit of the baseline: on a full machine the same work takes somewhat more of it


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


def evened(
    sides: tuple[Traces, Traces], working: tuple[Bools, Bools], units: tuple[float, float], own_folder: str
) -> Evened | None:
    """None where the kernel does not say who had a core; `units` of work that the window and the baseline have."""
    at_work = sides[0].take(working[0]), sides[1].take(working[1])
    if any(_known_s(side) < KNOWN * float(side.seconds.sum()) for side in at_work):
        return None
    parts = parts_of(sides, own_folder, always_there(sides[1]))
    on_core_s, computes = _computing(at_work, parts)
    here, there = (_share(side, computes[part]) for side, part in zip(at_work, parts, strict=True))
    if not here or not there:
        return None
    usual = _usual(on_core_s[0] / units[0], on_core_s[1] / units[1])
    window, baseline = (
        _by_cores(side, work, computes[part], there, of_usual[part])
        for side, work, part, of_usual in zip(sides, working, parts, (usual, np.ones_like(usual)), strict=True)
    )
    return Evened((window, baseline), there / here)


def _usual(here_s: Floats, there_s: Floats) -> Floats:
    """How much of the work of each part the baseline has, too, by the times on a core of one unit.

    Neither what only stands elsewhere now is additional, nor what all work takes more: threads that wait for each other spin meanwhile.
    """
    expected_s = SAME_WORK * max(1.0, common_ratio(here_s, there_s) or 1.0) * there_s
    more_s = np.maximum(0.0, here_s - expected_s)
    in_all_s = max(0.0, float(here_s.sum() - expected_s.sum()))
    additional: Floats = more_s * min(1.0, in_all_s / max(float(more_s.sum()), 1e-12)) / np.maximum(here_s, 1e-12)
    return 1 - additional


def _share(side: Traces, computes: Bools) -> float:
    """Of a core, that what computes had on the average."""
    those = computes[side.stack]
    return float(_on_core(side)[those].sum() / max(float(side.seconds[those].sum()), 1e-9))


def _by_cores(side: Traces, working: Bools, computes: Bools, usual_share: float, usual: Floats) -> Traces:
    """`usual`: how much of the work of each stack the baseline has, too."""
    those = working & computes[side.stack] & np.isfinite(side.running)
    share = np.clip(np.nan_to_num(side.running), 0, 1) / usual_share
    longer = 1 + usual[side.stack] * (share - 1)
    return side._replace(weight=np.where(those, side.weight * longer, side.weight))


def _computing(sides: tuple[Traces, Traces], parts: list[Ints]) -> tuple[list[Floats], Bools]:
    """Seconds on a core of each part of the program, of both sides; and which parts have one now and then."""
    count = 1 + max(int(part.max(initial=0)) for part in parts)
    spans = [_part_of_spans(side, part) for side, part in zip(sides, parts, strict=True)]
    on_s = [np.bincount(part, _on_core(side), count).astype(np.float64) for side, part in zip(sides, spans, strict=True)]
    all_s = [np.bincount(part, side.seconds, count) for side, part in zip(sides, spans, strict=True)]
    computing: Bools = on_s[0] + on_s[1] >= COMPUTES * np.maximum(all_s[0] + all_s[1], 1e-9)
    return on_s, computing


def _part_of_spans(side: Traces, parts: Ints) -> Ints:
    return parts[side.stack] if len(parts) else np.zeros(0, np.int64)


def _on_core(side: Traces) -> Floats:
    seconds: Floats = np.clip(np.nan_to_num(side.running), 0, 1) * side.seconds
    return seconds


def _known_s(side: Traces) -> float:
    return float(side.seconds[np.isfinite(side.running)].sum())
