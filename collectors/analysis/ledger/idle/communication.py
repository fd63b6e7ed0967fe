"""How much of a GPU's busy time is probably communication: its link is near its rate while few of its multiprocessors work.

A collective's kernel spins on a few multiprocessors until all ranks are there, and counts as busy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...stacks.traces import Floats
from .. import rules

SOME = 0.05  # of the link's rate: less is no collective


class Communication(NamedTuple):
    """Percent of the time; the truth lies between, if the link's rate is known."""

    least: float
    most: float


def communication(busy: Floats, sm_active: Floats, traffic: Floats) -> Communication:
    """Columns of equal length, one entry a moment, shares of 1; `traffic` is of the link's rate, to or from the GPU.

    Least: moments that show both signs. Most: besides, of moments with traffic, what is busy beyond the multiprocessors' own share.
    """
    if not len(busy):
        return Communication(0.0, 0.0)
    unfilled = np.clip(busy - sm_active, 0.0, 1.0)
    both = (100 * sm_active < rules.SM_LOW.value) & (traffic >= rules.LINK.value)
    least = np.where(both, np.minimum(unfilled, traffic), 0.0)
    most = np.where(traffic >= SOME, np.where(both, busy, unfilled), 0.0)
    return Communication(100 * float(least.mean()), 100 * float(np.maximum(least, most).mean()))
