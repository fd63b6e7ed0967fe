"""Which job is next: what first-in-first-out would have started, then the class that had less, then the highest response ratio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .fifo import Fifo
from .job import Job
from .usage import Usage


def overdue(waiting: Sequence[Job], fifo: Fifo, fifo_high: Fifo, share: float, now_s: float) -> list[Job]:
    """Jobs that first-in-first-out would have started, the earliest first. The high class has a queue of its own, too."""
    late_s, late_high_s, never = share * fifo.longest_s, share * fifo_high.longest_s, float("inf")
    found = list[tuple[float, int, Job]]()
    for job in waiting:
        due_s = fifo.starts_s.get(job.id, never) + late_s
        if job.high:
            due_s = min(due_s, fifo_high.starts_s.get(job.id, never) + late_high_s)
        if due_s <= now_s:
            found.append((due_s, job.id, job))
    return [job for _, _, job in sorted(found, key=lambda row: row[:2])]


class ByClass:
    """Each class by response ratio; while both wait, the one with less usage for its weight goes first."""

    def __init__(self, waiting: Sequence[Job], predicted: Mapping[int, float], usage: Usage, now_s: float) -> None:
        self._predicted, self._usage = predicted, usage
        ordered = sorted(
            waiting, key=lambda job: (-job.waited(now_s) / predicted[job.id], job.id)
        )  # of (waited + predicted) / predicted
        self._high = [job for job in ordered if job.high]
        self._normal = [job for job in ordered if not job.high]

    def __iter__(self) -> Iterator[Job]:
        high, normal = iter(self._high), iter(self._normal)
        first, second = next(high, None), next(normal, None)
        while first or second:
            if first and (second is None or self._usage.of(True) <= self._usage.of(False)):
                yield first
                first = next(high, None)
            elif second:
                yield second
                second = next(normal, None)

    def started(self, job: Job) -> None:
        """It counts to its class from now on, also for those that are still to come."""
        self._usage = self._usage.plus(job, self._predicted[job.id])
