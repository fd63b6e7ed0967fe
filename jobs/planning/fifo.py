"""What strict first-in-first-out would have done with the same submissions: which jobs it would have started by now.

It is the measure of waiting, and the guard against starvation: a job that first-in-first-out would have started goes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from .job import Job


@dataclass(frozen=True)
class Fifo:
    """A virtual host of `slots` slots, as of the last `advanced`."""

    slots: int
    running: Mapping[int, tuple[float, int]] = field(default_factory=dict)  # by job: since when, on how many slots
    queue: tuple[tuple[float, int, int], ...] = ()  # submitted, job, slots: in order
    starts_s: Mapping[int, float] = field(default_factory=dict)  # of jobs that it has started and that are not over
    at_s: float = 0.0
    longest_s: float = 0.0  # the longest wait so far

    def advanced(self, jobs: Iterable[Job], length: Callable[[int], float], now_s: float) -> Fifo:
        """At `now_s`, with `jobs`, all that are not over; `length(job)` is how long one runs as far as is known, 0 if it was cancelled.

        Costs O(jobs).
        """
        sizes = {job.id: (job.submitted_s, job.slots) for job in jobs if job.state != "held"}
        starts = {job: start for job, start in self.starts_s.items() if job in sizes}
        entered = {job for _, job, _ in self.queue} | self.running.keys() | starts.keys()
        new = sorted((submitted_s, job, slots) for job, (submitted_s, slots) in sizes.items() if job not in entered)
        queue, first, longest = [*self.queue, *new], 0, self.longest_s
        running, free, time_s = (
            dict(self.running),
            self.slots - sum(slots for _, slots in self.running.values()),
            self.at_s,
        )
        ends = [(start + length(job), job) for job, (start, _) in running.items()]
        heapq.heapify(ends)
        while True:
            if first < len(queue) and min(queue[first][2], self.slots) <= free:
                submitted_s, job, slots = queue[first]
                slots = min(slots, self.slots)
                first += 1
                time_s = max(time_s, submitted_s)
                if (seconds := length(job)) > 0:
                    running[job], free, longest = (time_s, slots), free - slots, max(longest, time_s - submitted_s)
                    heapq.heappush(ends, (time_s + seconds, job))
                    if job in sizes:
                        starts[job] = time_s
            elif ends and ends[0][0] <= now_s:
                end_s, job = heapq.heappop(ends)
                free, time_s = free + running.pop(job)[1], max(time_s, end_s)
            else:
                return Fifo(self.slots, running, tuple(queue[first:]), starts, time_s, longest)

    def of(self, slots: int) -> Fifo:
        """On so many slots from now on: a card came or went."""
        return self if slots == self.slots else replace(self, slots=slots)

    @property
    def knows(self) -> set[int]:
        """The jobs whose length matters to it."""
        return {job for _, job, _ in self.queue} | set(self.running)
