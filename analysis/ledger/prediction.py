"""What a fix saves: how much less time the same steps would need, with an interval that holds 90 % of what fixes measure.

A fix removes a cause, loads data ahead of the loop, or moves a thread into a process of its own. Nothing is predicted of work in PyTorch,
launches, copies and compilation: what these take after a change is no part of the window.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Floats
from collectors.message import Message, percent, phrase

from .kinds import Threshold, TimeKind

Fix: TypeAlias = Literal["removed", "overlapped", "process"]
UNPREDICTED: Final[tuple[TimeKind, ...]] = (
    "busy",
    "launch",
    "compile",
    "copy",
    "transfer",
    "idle",
    "other",
    "unexplained",
)
COLD: Final = Threshold(
    0.002,
    "s",
    "of a stretch by which the rest is faster at most: 3.9 to 1.8 ms of rescan, benchmarks/savings, 30 November",
)
AGAIN: Final = Threshold(3.0, "points", "by which two runs of a program that waits differ, benchmarks/savings")
PACE: Final = Threshold(
    0.1, "of computing", "on CPUs, by which two runs of a program differ, benchmarks/savings/foreign.py, 3 December"
)
NORMAL: Final = Threshold(1.645, "standard deviations", "hold 90 % of a normal distribution")
MANY_TIMES: Final = 20.0  # as fast: beyond it the figure says how short the rest was measured
WIDEST: Final = 50.0  # points from least to most: a wider range tells nobody which fix to try
FEWEST: Final = 3  # blocks that show how much they differ


class Saving(NamedTuple):
    """Seconds of a stretch that a fix saves: at least, and at most. Those of stretches add up."""

    least_s: float = 0.0
    most_s: float = 0.0

    def plus(self, other: Saving) -> Saving:
        return Saving(self.least_s + other.least_s, self.most_s + other.most_s)


class CoreSeconds(NamedTuple):
    """Seconds of cores in a stretch: all that the machine has, what the run used of them, and what other programs did; 0 where unknown."""

    all_s: float = 0.0
    run_s: float = 0.0
    others_s: float = 0.0

    def plus(self, other: CoreSeconds) -> CoreSeconds:
        return CoreSeconds(*(mine + its for mine, its in zip(self, other, strict=True)))


class Prediction(NamedTuple):
    """Percent of the time that the same steps would need less; `limit` says what then sets the pace."""

    fix: Fix
    saves: float
    least: float
    most: float
    limit: Message

    @property
    def times_as_fast(self) -> float:
        return 1 / max(1e-3, 1 - self.saves / 100)


def prediction_of(
    fix: Fix, saving: Saving, whole_s: float, shares: Floats, limit: Message, pace_range: float = 0.0
) -> Prediction | None:
    """None where the range would be wider than `WIDEST`.

    `shares` are percent that the cause had of each block of some seconds, `pace_range` is by what part another run may be faster or slower.

    The model's range is of what it does not know, and most fixes are near its lower end, so that noise widens it at both ends: the standard
    error of the blocks' mean, and what two runs of one program differ by; if other programs are at work, both runs meet others than these,
    which counts for the time that is left. These three do not depend on each other, and add up in squares.
    """
    least, most = (min(100.0, max(0.0, 100 * s / whole_s)) for s in saving)
    saves = (least + most) / 2
    spread = float(np.std(shares, ddof=1) / np.sqrt(len(shares))) if len(shares) >= FEWEST else 0.0
    others = pace_range * (100 - saves)
    noise = float(np.sqrt((NORMAL.value * spread) ** 2 + others**2 + AGAIN.value**2))
    least, most = max(0.0, least - noise), min(100.0, most + noise)
    return Prediction(fix, saves, least, most, limit) if most - least <= WIDEST else None


def removal(gone_s: float, beside_s: float, whole_s: float, stretches: int, seen_apart: bool, rest: float) -> Saving:
    """Of a cause that takes no time any more.

    `gone_s` is its own time, `beside_s` what the rest may have lost to its use of cores. What is left runs faster at most by `rest` of
    the share that goes, and by `COLD` after each stretch, if these are `seen_apart`: longer than a sample, with other work between.
    """
    most_s = min(whole_s, gone_s + beside_s)
    faster_s = rest * most_s / max(whole_s, 1e-9) * (whole_s - most_s)
    if seen_apart:
        faster_s = min(faster_s, COLD.value * stretches)
    return Saving(min(whole_s, gone_s), min(whole_s, most_s + faster_s))


def overlap(load_s: float, whole_s: float, cores: CoreSeconds, *, by_workers: bool) -> Saving:
    """Of data that is loaded ahead of the loop by as many workers as there are cores.

    A step then takes as long as its rest, or as the loading shared by the cores; where workers load already, at the longest as with twice
    as many of them. At the longest it takes what the run used of cores, spread
    over all that others leave: threads of PyTorch that spin count as work, which is why that is a bound. Without the machine's counters
    there are taken to be cores enough, and the limit says so.
    """
    rest_s = whole_s - load_s
    if cores.all_s <= 0:
        return Saving(load_s, load_s)
    number = max(1.0, cores.all_s / max(whole_s, 1e-9))
    soonest_s = rest_s if by_workers else max(rest_s, load_s / number)
    fewest_s = load_s / 2 if by_workers else 0.0
    latest_s = max(soonest_s, fewest_s, whole_s * cores.run_s / max(cores.all_s - cores.others_s, 1e-9))
    return Saving(max(0.0, whole_s - latest_s), max(0.0, whole_s - soonest_s))


def limit_of_overlap(load_s: float, whole_s: float, cores: CoreSeconds, rest: Message) -> Message:
    """What then sets the pace: the rest of the step, or the workers on the cores there are."""
    if cores.all_s <= 0:
        return phrase("{rest}, if the machine has cores for the workers, whose number is unknown", rest=rest)
    number = max(1, round(cores.all_s / max(whole_s, 1e-9)))
    free_s = cores.all_s - cores.others_s
    if max(load_s / number, whole_s * cores.run_s / max(free_s, 1e-9)) > whole_s - load_s:
        return phrase("the loader's workers then set the pace: {cores} cores", cores=number)
    return rest


def remains(where: str) -> Message:
    """`where` is the dearest line that a fix leaves, "" where none is known."""
    return phrase("{place} remains", place=where) if where else phrase("the rest of the step remains")


FIXES: Final[dict[Fix, Message]] = {
    "removed": phrase("removing it"),
    "overlapped": phrase("loading ahead in workers"),
    "process": phrase("a process for the thread that holds the GIL"),
}


def spoken(found: Prediction) -> Message:
    """`loading ahead in workers saves 62% (57 to 68%), 2.6 times as fast: the loader's workers then set the pace: 2 cores`"""
    times = ", {times:.1f} times as fast" if found.times_as_fast < MANY_TIMES else ""
    return phrase(
        f"{{fix}} saves {{saves_pct:percent}} ({{least_pct:.0f}} to {{most_pct:percent}}){times}: {{limit}}",
        fix=FIXES[found.fix],
        saves_pct=found.saves,
        least_pct=found.least,
        most_pct=found.most,
        times=found.times_as_fast,
        limit=found.limit,
    )


def short(found: Prediction) -> str:
    """`62% (57 to 68%)`"""
    return f"{percent(found.saves)} ({found.least:.0f} to {percent(found.most)})"
