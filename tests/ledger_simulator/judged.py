"""How far a ledger is from the truth of a simulated job, in points of the window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.ledger.idle import LedgerInput, account_of
from analysis.ledger.kinds import KINDS, NUMBER, TimeKind
from analysis.ledger.shares import Ledger, ledger_of
from analysis.stacks.spans import Interval

from .machine import Floats
from .truth import Truth

NO_CAUSE = [NUMBER["busy"], NUMBER["unexplained"]]
LED_IN_S, LED_OUT_S = 5.0, 2.0  # of a run, which are left out


class Judged(NamedTuple):
    ledger: Ledger
    found: Floats  # percent, by number of kind
    true: Floats

    @property
    def error(self) -> float:
        """Of the worst kind, in points."""
        return float(np.abs(self.found - self.true).max())

    @property
    def worst(self) -> TimeKind:
        return KINDS[int(np.argmax(np.abs(self.found - self.true)))]

    @property
    def lost(self) -> float:
        """Points that a cause has, in truth."""
        return float(np.delete(self.true, NO_CAUSE).sum())

    @property
    def names_the_largest(self) -> bool:
        return _largest(self.found) == _largest(self.true)

    @property
    def loudest(self) -> float:
        """Points of the largest kind beside busy."""
        return float(np.delete(self.found, NUMBER["busy"]).max())


def judged(known: LedgerInput, truth: Truth, window: Interval) -> Judged:
    lo, hi = window
    ledger = ledger_of(account_of(known, lo, hi), hi - lo, known.busy.signal, known.tier)
    return Judged(ledger, shares_of(ledger), truth.shares(lo, hi))


def shares_of(ledger: Ledger) -> Floats:
    found = np.zeros(len(KINDS))
    for row in ledger.rows:
        found[NUMBER[row.kind]] += row.share
    return found


def whole(truth: Truth) -> Interval:
    return LED_IN_S, truth.machine.host_s - LED_OUT_S


def _largest(shares: Floats) -> int:
    causes = shares.copy()
    causes[NO_CAUSE] = 0.0
    return int(np.argmax(causes))
