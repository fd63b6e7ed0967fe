"""Which job is on which slot, and when slots should be free: as it is, and as a plan changes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .job import Job
from .slot import Slot
from .state import QueueState


class Reservation(NamedTuple):
    """A job that nothing may delay: its slots should be free at `at_s`, and `spare` others then."""

    job: int
    at_s: float
    spare: int


class Layout:
    """Mutable, for the time of one plan."""

    def __init__(self, state: QueueState, remaining_s: dict[int, float], now_s: float) -> None:
        self.now_s = now_s
        self.slots = {slot.id: slot for slot in state.slots}
        self.jobs: dict[str, list[Job]] = {slot.id: [] for slot in state.slots}
        self.ends_s = {slot.id: float("inf") if slot.foreign else now_s for slot in state.slots}
        self.kept_for: dict[str, int] = {}
        self._free: dict[float | None, list[str]] = {}  # by need, until something is put somewhere
        for job in state.jobs.values():
            if job.placed:
                self.put(job, job.on, now_s + remaining_s[job.id])
            self.keep(job, job.promised)

    def put(self, job: Job, slots: Iterable[str], end_s: float) -> None:
        self._free.clear()
        for slot in slots:
            if slot in self.jobs:  # else the card is gone
                self.jobs[slot].append(job)
                self.ends_s[slot] = max(self.ends_s[slot], end_s)

    def keep(self, job: Job, slots: Iterable[str]) -> None:
        self._free.clear()
        self.kept_for.update((slot, job.id) for slot in slots)

    def free(self, need_mib: float | None) -> list[str]:
        """Slots without a job that hold so much and are kept for none, the smallest first."""
        if (found := self._free.get(need_mib)) is None:
            empty = [
                slot
                for slot in self.slots.values()
                if not slot.foreign and not self.jobs[slot.id] and slot.holds(need_mib) and slot.id not in self.kept_for
            ]
            found = self._free[need_mib] = [slot.id for slot in sorted(empty, key=lambda slot: slot.memory_mib or 0.0)]
        return found

    def single(self, may_share: Iterable[int]) -> list[tuple[Slot, Job]]:
        """Slots with one running job that may share."""
        allowed = set(may_share)
        return [
            (self.slots[slot], jobs[0])
            for slot, jobs in self.jobs.items()
            if len(jobs) == 1 and jobs[0].id in allowed and not self.slots[slot].foreign and slot not in self.kept_for
        ]

    def usable(self, need_mib: float | None) -> int:
        """Slots that hold so much, busy or not, without those that others have."""
        return sum(not slot.foreign and slot.holds(need_mib) for slot in self.slots.values())

    def by_end(self, need_mib: float | None) -> list[tuple[float, str]]:
        """Slots that hold so much and are not others', in the order in which they should be free; those kept for a job last."""
        return sorted(
            (self.ends_s[slot.id] if slot.id not in self.kept_for else float("inf"), slot.id)
            for slot in self.slots.values()
            if not slot.foreign and slot.holds(need_mib)
        )

    def reserve(self, job: Job, need_mib: float | None) -> Reservation | None:
        """The earliest time at which enough slots should be free; None where that cannot be said."""
        ends = [end_s for end_s, _ in self.by_end(need_mib) if end_s < float("inf")]
        if len(ends) < job.slots:
            return None
        at_s = ends[job.slots - 1]
        return Reservation(job.id, at_s, sum(end_s <= at_s for end_s in ends) - job.slots)
