"""The beat on which all collectors work: commits at one moment wake the web process, and every page, once."""

from __future__ import annotations

import math

BEAT_S = 0.2
COMMITTED_S = 0.03  # after a beat the collectors commit one after the other, for so long


def beat_at(due: float) -> float:
    """The first beat at or after that time: the multiples of `BEAT_S` on the monotonic clock, the same for all threads and processes."""
    return math.ceil(due / BEAT_S) * BEAT_S


def committing_s(now: float) -> float:
    """How long the collectors still commit what they have read on the newest beat; 0 between two."""
    return max(0.0, COMMITTED_S - now % BEAT_S)
