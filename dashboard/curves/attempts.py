"""Attempts of a run: where a newer segment wrote the steps of an older one again, the newer one counts (pure)."""

from __future__ import annotations

import numpy as np

from collectors.analysis.stacks.traces import Bools, Floats, Ints


def superseded(step: Floats, segment: Ints) -> Bools:
    """Which steps lie between the first and the last step of any later segment. A missing step (NaN) lies nowhere.

    Steps 0 1 2 3 4 of segment 0 and 2 3 of segment 1: 2 and 3 of segment 0 are superseded.
    """
    found = np.zeros(len(step), np.bool_)
    segments = np.unique(segment).tolist()
    for later in segments[1:]:
        steps = step[(segment == later) & ~np.isnan(step)]
        if len(steps):
            found |= (segment < later) & (step >= steps.min()) & (step <= steps.max())
    return found
