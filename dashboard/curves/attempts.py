"""Attempts of a run: where a newer segment wrote the steps of an older one again, the newer one counts (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from collectors.analysis.stacks.traces import Bools, Floats, Ints
from collectors.store.protocol import Buckets

Attempts: TypeAlias = Mapping[int, tuple[float, float]]
"""Of each segment its first and its last step."""


def attempts_of(found: Buckets) -> Attempts:
    """By buckets on the step axis."""
    steps: dict[int, tuple[float, float]] = {}
    for segment, first, last in zip(found.segment.tolist(), found.t.tolist(), found.t_end.tolist(), strict=True):
        before = steps.get(segment, (first, last))
        steps[segment] = min(first, before[0]), max(last, before[1])
    return steps


def superseded(step: Floats, segment: Ints, attempts: Attempts) -> Bools:
    """Which steps lie between the first and the last step of any later segment. A missing step (NaN) lies nowhere.

    Steps 0 1 2 3 4 of segment 0 and 2 3 of segment 1: 2 and 3 of segment 0 are superseded.
    """
    found = np.zeros(len(step), np.bool_)
    for later, (first, last) in attempts.items():
        found |= (segment < later) & (step >= first) & (step <= last)
    return found
