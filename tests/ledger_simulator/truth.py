"""The exact truth of a simulated run: what every idle second of its GPU is due to."""

from __future__ import annotations

import numpy as np

from analysis.ledger.kinds import KINDS, NUMBER

from .labels import COLLECTION, KIND, MECHANISM
from .machine import Floats, Machine

WAIT, LAUNCH = 2, 1


class Truth:
    """Idle time belongs to the line at which the host stands then. Launches after a wait for the GPU are late by what was
    waited, at most: those seconds belong to the wait, since it destroyed the host's lead. Copies are unexplained."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.start_s = np.array([segment.start_s for segment in machine.segments])
        self.end_s = np.array([segment.end_s for segment in machine.segments])
        self.label = np.array([segment.label for segment in machine.segments], np.int64)
        self.idle_at, self.idle_sum, self.exposed_sum = _without_collectives(machine)
        self.copy_at, self.copy_sum = np.array(machine.copy_at), np.array(machine.copy_sum)
        self.idle_s = np.diff(self._host_idle(np.c_[self.start_s, self.end_s].ravel()))[::2]
        self.to_wait, self.moved_s = self._charged_to_waits()

    def _host_idle(self, moments: Floats) -> Floats:
        """Idle and not copying, up to each moment."""
        idle: Floats = np.interp(moments, self.idle_at, self.idle_sum) - np.interp(moments, self.copy_at, self.copy_sum)
        return idle

    def _charged_to_waits(self) -> tuple[np.ndarray, Floats]:
        mechanism, validation = MECHANISM[self.label], KIND[self.label] == NUMBER["validation"]
        movable = (mechanism == LAUNCH) & (self.label != COLLECTION) & ~validation
        waited = [segment.waited_s for segment in self.machine.segments]
        to_wait, moved = np.full(len(self.label), -1, np.int64), np.zeros(len(self.label))
        credit, wait = 0.0, -1
        for i, idle in enumerate(self.idle_s.tolist()):
            if mechanism[i] == WAIT:
                credit, wait = waited[i], int(self.label[i])
                to_wait[i], moved[i] = wait, idle
            elif credit > 0 and idle > 0:
                part = min(credit, idle)
                credit -= part
                if movable[i]:
                    to_wait[i], moved[i] = wait, part
        return to_wait, moved

    def shares(self, lo: float, hi: float) -> Floats:
        """Percent of the time from lo to hi, by number of kind; busy is what is left."""
        inside = np.minimum(self.end_s, hi) - np.maximum(self.start_s, lo)
        part = np.clip(inside / np.maximum(self.end_s - self.start_s, 1e-12), 0, 1)
        seconds = np.bincount(KIND[self.label], part * (self.idle_s - self.moved_s), len(KINDS))
        charged = self.to_wait >= 0
        seconds += np.bincount(KIND[self.to_wait[charged]], (part * self.moved_s)[charged], len(KINDS))
        seconds[NUMBER["unexplained"]] += float(np.diff(np.interp([lo, hi], self.copy_at, self.copy_sum))[0])
        seconds[NUMBER["busy"]] = (hi - lo) - seconds.sum()
        return 100 * seconds / (hi - lo)

    def exposed_communication(self, lo: float, hi: float) -> float:
        """Percent of the time in which a collective runs, or spins, and no kernel computes."""
        return float(100 * np.diff(np.interp([lo, hi], self.idle_at, self.exposed_sum))[0] / (hi - lo))

    def largest_cause(self, lo: float, hi: float) -> str:
        shares = self.shares(lo, hi)
        shares[NUMBER["busy"]] = 0.0
        return KINDS[int(np.argmax(shares))]


def _without_collectives(machine: Machine) -> tuple[Floats, Floats, Floats]:
    """Knots of the idle time outside of collectives, and of the time in which only a collective ran."""
    at, total = np.concatenate(machine.idle_at), np.concatenate(machine.idle_sum)
    if not machine.collectives:
        return at, total, np.zeros(len(at))
    edges = np.array(machine.collectives).ravel()  # one after the other on their stream
    knots = np.unique(np.r_[at, edges])
    idle = np.diff(np.interp(knots, at, total))
    inside = np.searchsorted(edges, (knots[:-1] + knots[1:]) / 2, "right") % 2 == 1
    exposed = np.r_[0.0, np.cumsum(np.where(inside, idle, 0.0))]
    return knots, np.r_[0.0, np.cumsum(idle)] - exposed, exposed
