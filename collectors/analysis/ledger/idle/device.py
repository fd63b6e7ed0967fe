"""What is known of the device: how busy it was from moment to moment, by which signal, and how much it copied."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ...stacks.traces import Floats, Ints

Signal: TypeAlias = Literal["driver samples", "GPM", "MIG instance", "none"]


class Busy(NamedTuple):
    """One entry a value of the counter, in order of time: the mean over the period that it stands for."""

    start_s: Floats
    end_s: Floats
    share: Floats  # 0 to 1
    signal: Signal

    def within(self, lo: float, hi: float) -> Busy:
        """Those whose middle lies there."""
        middle = (self.start_s + self.end_s) / 2
        inside = (middle >= lo) & (middle < hi)
        return self._replace(start_s=self.start_s[inside], end_s=self.end_s[inside], share=self.share[inside])

    @property
    def idle_s(self) -> Floats:
        idle: Floats = (1 - self.share) * (self.end_s - self.start_s)
        return idle


class Copying(NamedTuple):
    """The share of each stretch in which the device copies, by the counters of its link."""

    start_s: Floats
    end_s: Floats
    share: Floats  # 0 to 1

    def seconds(self, bounds: Floats) -> Floats:
        """Between each two neighbouring bounds."""
        if not len(self.start_s):
            return np.zeros(len(bounds) - 1)
        edges = np.r_[self.start_s[0], self.end_s]
        sums = np.r_[0.0, np.cumsum(self.share * (self.end_s - self.start_s))]
        copied: Floats = np.diff(np.interp(bounds, edges, sums))
        return copied


NO_BUSY = Busy(np.zeros(0), np.zeros(0), np.zeros(0), "none")


def periods(time_s: Floats) -> Floats:
    """How long before its time each value of a counter begins: the distance from the one before, the usual one after a hole."""
    if len(time_s) < 2:
        return np.full(len(time_s), 1 / 6)
    apart = np.diff(time_s)
    usual = float(np.median(apart))
    found: Floats = np.r_[usual, np.where(apart > 1.5 * usual, usual, apart)]
    return found


def block_of(busy: Busy, block_s: float) -> Ints:
    """Number of the block of each value: Unix time / block."""
    numbers: Ints = np.floor((busy.start_s + busy.end_s) / 2 / block_s).astype(np.int64)
    return numbers
