"""The CPU budget of the stack samplers, and the pace that keeps them in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

MEASURE_S = 10.0  # how often the samplers' cost is compared with the budget
MANY_PROCESSES = 104  # 8 ranks with 12 workers each: the budget grows up to there
AIM = 0.9  # of the budget, whenever the pace changes
RAISE_BELOW = 0.75  # of the budget; from there to the whole of it the pace stays
STEP = 2.0  # the largest change at a time: attaching costs more than sampling
LOWEST_PACE = 0.05


class Budget(NamedTuple):
    """Percent of one core."""

    one: float  # for one process
    many: float  # for MANY_PROCESSES


BUDGETS = {"native": Budget(2.0, 10.0), "py-spy": Budget(5.0, 25.0)}


class Pacer:
    """Lowers all rates by one factor when the samplers use more than they may, and raises them again when there is room."""

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        self.pace, self.cost_pct = 1.0, 0.0
        self._cpu_s = cpu_s
        self._used_s, self._since_s = cpu_s(), time.monotonic()

    def turn(self, budget_pct: float) -> bool:
        """Whether the pace has changed."""
        elapsed_s = time.monotonic() - self._since_s
        if elapsed_s < MEASURE_S:
            return False
        used_s, before = self._cpu_s(), self.pace
        self.cost_pct = 100 * (used_s - self._used_s) / elapsed_s
        self._used_s, self._since_s = used_s, self._since_s + elapsed_s
        self.pace = paced(self.pace, self.cost_pct, budget_pct)
        return self.pace != before


def paced(pace: float, cost_pct: float, budget_pct: float) -> float:
    """The next share of the full rates: cost is a fixed part plus a part proportional to the rate."""
    if RAISE_BELOW * budget_pct <= cost_pct <= budget_pct:
        return pace
    wanted = pace * min(STEP, max(1 / STEP, AIM * budget_pct / max(cost_pct, 1e-9)))
    return min(1.0, max(LOWEST_PACE, wanted))


def allowed_pct(sampler: str, processes: int) -> float:
    """The budget for so many processes, in percent of a core: `allowed_pct("native", 104) -> 10.0`"""
    one, many = BUDGETS[sampler]
    return one + (many - one) * min(1.0, max(0, processes - 1) / (MANY_PROCESSES - 1))
