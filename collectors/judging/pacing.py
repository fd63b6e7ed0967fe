"""How often rules look where all of them together would take more than their share of a core; whose steps have slowed is looked at first."""

from __future__ import annotations

import numpy as np

from ..analysis.findings.recent import RecentPoints
from ..analysis.findings.rule import AnyRule
from ..analysis.findings.spent import SPENT_ON

PERIOD_S = 20.0  # between two settings
MOST = 16.0  # times less often than meant
TRIFLE_S = 0.0005  # of a look that had nothing to read yet, such as the ledger's at a run that has only just begun
LATE_S, BEFORE_S, LEAST_STEPS = 8.0, 24.0, 10  # seconds of steps that are compared, and how many are enough
MOST_OF_ALERTS = 2.0  # rules whose findings leave the machine look at least so often: they cost little
HALF_S = 1.0  # a turn is rarely on time
SLOWED = 0.9  # of the steps that were made before


class RulePaces:
    """`share` of a core is for all rules of all runs. Times are CLOCK_MONOTONIC and CPU seconds."""

    def __init__(self, share: float, mono_s: float) -> None:
        self._share, self._since_s, self._cost_s = share, mono_s, 0.0
        self.slack = 1.0  # by how many times less often than meant rules look
        self._due_s: dict[tuple[str, str], float] = {}  # by run and rule
        self._meant_s: dict[
            tuple[str, str], float
        ] = {}  # of rules that read the ledger: when they were due without slack

    def is_due(self, key: tuple[str, str], mono_s: float) -> bool:
        return self._due_s.get(key, 0.0) <= mono_s

    def may_be_early(self, key: tuple[str, str], mono_s: float) -> bool:
        """Whether it is late by the slack alone: a run whose steps have slowed is looked at as often as is meant."""
        return self._meant_s.get(key, np.inf) <= mono_s

    def looked(self, key: tuple[str, str], rule: AnyRule, mono_s: float, ledger_s: float) -> None:
        """A look at one run, or at the machine, is over; `ledger_s` of it went to the ledger."""
        reads_ledger = rule.name in SPENT_ON
        slack = min(self.slack, MOST_OF_ALERTS) if rule.weight == "alert" else self.slack
        if reads_ledger and ledger_s < TRIFLE_S:
            slack = 1.0
        self._due_s[key] = mono_s + rule.every_s * slack - HALF_S
        if reads_ledger:
            self._meant_s[key] = mono_s + rule.every_s - HALF_S

    def put_off(self, key: tuple[str, str], every_s: float, mono_s: float) -> None:
        """A look that is no rule's is over."""
        self._due_s[key] = mono_s + every_s * self.slack - HALF_S

    def passed(self, took_s: float, mono_s: float) -> None:
        """All looks of one turn took so long, with what belongs to them."""
        self._cost_s += took_s
        passed_s = mono_s - self._since_s
        if passed_s > PERIOD_S:
            self.slack = min(MOST, max(1.0, self.slack * self._cost_s / passed_s / self._share))
            self._cost_s, self._since_s = 0.0, mono_s

    def let_go(self, run: str) -> None:
        for kept in (self._due_s, self._meant_s):
            for key in [key for key in kept if key[0] == run]:
                del kept[key]


def has_slowed(steps: RecentPoints | None, now_s: float) -> bool:
    """Whether clearly fewer steps came in the last seconds than in those before; what takes time of a training shows in that first."""
    if steps is None:
        return False
    time_s = steps.time_s
    late = int(np.count_nonzero(time_s >= now_s - LATE_S))
    before = int(np.count_nonzero((time_s >= now_s - LATE_S - BEFORE_S) & (time_s < now_s - LATE_S)))
    return before >= LEAST_STEPS and late * BEFORE_S < SLOWED * before * LATE_S
