"""The comparison with first-in-first-out in words."""

from __future__ import annotations

from jobs.compared import FifoComparison

ASSUMED = (
    "Assumed: the same jobs come at the same times, each runs as long as it did here, no two share a slot, and the slots that there are now were there "
    "all the time, for this queue alone. Jobs that run or wait take as long as jobs of the same script and arguments did. Time on hold counts for "
    "neither; jobs that were cancelled before they ran, and Slurm's, are left out."
)
SAME = 0.02  # a smaller difference, of a wait or of a share, is none


def sentences_of(found: FifoComparison) -> list[str]:
    """`The 38 jobs waited 12 min on average, the longest 1 h 40 min. First in, first out they would have waited 48 min, the longest 3 h.`"""
    whose = (
        f"The {found.jobs:,} jobs that were submitted waited"
        if found.jobs > 1
        else "The one job that was submitted waited"
    )
    waits = f"{whose} {lasting(found.mean_s)} on average, the longest {lasting(found.longest_s)}."
    there = f", replayed on {found.slots} slot{'s' if found.slots > 1 else ''}," if found.slots else ""
    fifo = f"First in, first out{there} it would have been {lasting(found.fifo_mean_s)} and {lasting(found.fifo_longest_s)}: {_difference(found)}."
    busy = f"The slots were in use {_percent(found.busy)} of the time; first in, first out {_percent(found.fifo_busy)}."
    return [f"{waits} {fifo}", busy]


def lasting(seconds: float) -> str:
    """`42 -> "42 s"`, `103 -> "1 min 43 s"`, `754 -> "13 min"`, `9240 -> "2 h 34 min"`, `200000 -> "2 days 8 h"`"""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 599.5 and round(seconds) % 60:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    if seconds < 3570:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def _difference(found: FifoComparison) -> str:
    less = found.fifo_mean_s - found.mean_s
    if abs(less) < 1.0 or abs(less) <= SAME * found.fifo_mean_s:
        return "the same mean wait"
    if found.fifo_mean_s < 1.0:
        return f"{lasting(-less)} less than here"
    if found.mean_s >= 2 * found.fifo_mean_s:
        return f"this queue's mean wait is {found.mean_s / found.fifo_mean_s:.1f} times as long"
    return f"this queue's mean wait is {_percent(abs(less) / found.fifo_mean_s)} {'shorter' if less > 0 else 'longer'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
