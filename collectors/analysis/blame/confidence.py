"""How sure a verdict is, by the strength of its evidence: docs/blame.md says what a user may read into each word."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Confidence: TypeAlias = Literal["high", "medium", "low"]


class Strength(NamedTuple):
    """What speaks for a function that was found; or what a word needs at least of each."""

    margin: float  # its excess, as a multiple of what chance and counting could make
    share: float  # of the slowdown that it explains
    halves: float  # the smaller one of its excesses in two halves of the window, as a share of the whole's
    alone: float  # how much of its excess is its own: in no other own function below it
    samples: int  # of the window
    baseline_s: float  # how long the baseline is
    baseline_units: float | None  # None where the run logs none
    trusted_share: float  # of the window's time, in stacks that are trusted to their leaf
    all_trusted: bool  # all come from a sampler that does not mix moments


HIGH = Strength(
    margin=2.0,
    share=0.7,
    halves=0.5,
    alone=0.5,
    samples=150,
    baseline_s=8.0,
    baseline_units=10,
    trusted_share=0.7,
    all_trusted=True,
)
MEDIUM = Strength(
    margin=1.2,
    share=0.5,
    halves=0.25,
    alone=0.25,
    samples=100,
    baseline_s=5.0,
    baseline_units=2,
    trusted_share=0.5,
    all_trusted=False,
)


def confidence(strength: Strength) -> Confidence:
    """High only where the sampler reads one moment."""
    return "high" if _reaches(strength, HIGH) else "medium" if _reaches(strength, MEDIUM) else "low"


def _reaches(strength: Strength, least: Strength) -> bool:
    return all(has is None or need is None or has >= need for has, need in zip(strength, least, strict=True))
