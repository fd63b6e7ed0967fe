"""How sure a verdict is, by the strength of its evidence: docs/blame.md says what a user may read into each word."""

from __future__ import annotations

from typing import NamedTuple

from ...records import Frame
from ..baseline.units import Units
from ..stacks.traces import Range
from .chance import blocks_of
from .suspect import Suspect
from .verdict import Case, Confidence, Side, Verdict

HALVES_S = 0.25  # every other stretch of this length is one half of a window;
HALVES_BLOCKS = 8  # of whole units, where there are so many


class _Strength(NamedTuple):
    """What speaks for a function that was found; or what a word needs at least of each."""

    margin: float  # its excess, as a multiple of what chance and counting could make
    share: float  # of the slowdown that it explains
    halves: float  # the smaller one of its excesses in two halves of the window, as a share of the whole's
    alone: float  # how much of its excess is its own: in no other own function below it
    ahead: float  # of what it stands out by, that no second cause has
    samples: int  # of the window
    baseline_s: float  # how long the baseline is
    baseline_units: float | None  # None where the run logs none
    trusted_share: float  # of the window's time, in stacks that are trusted to their leaf
    all_trusted: bool  # all come from a sampler that does not mix moments


HIGH = _Strength(
    margin=2.0,
    share=0.7,
    halves=0.5,
    alone=0.5,
    ahead=0.5,
    samples=150,
    baseline_s=8.0,
    baseline_units=10,
    trusted_share=0.7,
    all_trusted=True,
)
MEDIUM = _Strength(
    margin=1.2,
    share=0.5,
    halves=0.25,
    alone=0.25,
    ahead=0.4,
    samples=100,
    baseline_s=5.0,
    baseline_units=2,
    trusted_share=0.5,
    all_trusted=False,
)


def confidence(case: Case, verdict: Verdict, least_s: float) -> Confidence:
    """`least_s` is what chance and counting could make; low without a baseline."""
    found, slowdown_s = verdict.suspect, verdict.slowdown_s or 0.0
    if case.baseline is None or found is None:
        return "low"
    return _word(
        _Strength(
            margin=found.gain_s(case.window.pace) / max(least_s, 1e-9),
            share=found.excess_s / slowdown_s if slowdown_s > 0 else 1.0,
            halves=_halves(case, found),
            alone=found.alone,
            ahead=1 - verdict.second.stands_out_s / max(found.stands_out_s, 1e-9) if verdict.second else 1.0,
            samples=round(case.asked.seconds * case.hz),
            baseline_s=case.baseline.length_s,
            baseline_units=case.baseline.units,
            trusted_share=case.window.traces.trusted_share,
            all_trusted=case.all_trusted,
        )
    )


def excess_in(function: Frame, side: Side, baseline: Side | None) -> float:
    """What a function takes more than in the baseline, per unit."""
    usual_s = baseline.seconds_in(function) / baseline.divisor if baseline else 0.0
    return side.seconds_in(function) / side.divisor - usual_s


def _word(strength: _Strength) -> Confidence:
    """High only where the sampler reads one moment."""
    return "high" if _reaches(strength, HIGH) else "medium" if _reaches(strength, MEDIUM) else "low"


def _reaches(strength: _Strength, least: _Strength) -> bool:
    return all(has is None or need is None or has >= need for has, need in zip(strength, least, strict=True))


def _halves(case: Case, found: Suspect) -> float:
    """The smaller one of the excesses in every other stretch of the window, and in those between them, as a share of the whole's."""
    blocks = blocks_of(case.window.ranges, case.units, HALVES_S)
    if len(blocks) < HALVES_BLOCKS:
        blocks = blocks_of(case.window.ranges, None, HALVES_S)
    halves = [_part(case.window, blocks[first::2], case.units) for first in (0, 1)]
    return min(excess_in(found.frame, half, case.baseline) for half in halves) / found.excess_s


def _part(side: Side, ranges: list[Range], units: Units | None) -> Side:
    return Side(side.traces.within(ranges), ranges, units.within(ranges) if units is not None else None, pace=side.pace)
