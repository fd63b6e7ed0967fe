"""What strict first-in-first-out would have done with the same jobs: a virtual host that is advanced with each plan, and a comparison afterwards. Pure.

It is the measure of waiting, and the guard against starvation: a job that first-in-first-out would have started goes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple


class FifoEntry(NamedTuple):
    """A job that has entered the queue, or is about to."""

    submitted_s: float
    job: int
    slots: int


@dataclass(frozen=True)
class Fifo:
    """A virtual host of `slots` slots, as of the last `advanced`."""

    slots: int
    running: Mapping[int, tuple[float, int]] = field(default_factory=dict)  # by job: since when, on how many slots
    queue: tuple[FifoEntry, ...] = ()  # in order
    starts_s: Mapping[int, float] = field(default_factory=dict)  # of jobs that it has started and that are not over
    at_s: float = 0.0
    longest_s: float = 0.0  # the longest wait so far

    def advanced(self, entries: Iterable[FifoEntry], length: Callable[[int], float], now_s: float) -> Fifo:
        """At `now_s`, with an entry of each job that is neither over nor on hold; `length(job)` is how long one runs as far as is known, 0 if it was
        cancelled. Costs O(jobs).
        """
        known = {entry.job: entry for entry in entries}
        starts = {job: start for job, start in self.starts_s.items() if job in known}
        entered = {entry.job for entry in self.queue} | self.running.keys() | starts.keys()
        new = sorted(entry for job, entry in known.items() if job not in entered)
        queue, first, longest = [*self.queue, *new], 0, self.longest_s
        running, time_s = dict(self.running), self.at_s
        free = self.slots - sum(slots for _, slots in running.values())
        ends = [(start + length(job), job) for job, (start, _) in running.items()]
        heapq.heapify(ends)
        while True:
            if first < len(queue) and min(queue[first].slots, self.slots) <= free:
                submitted_s, job, slots = queue[first]
                slots = min(slots, self.slots)
                first += 1
                time_s = max(time_s, submitted_s)
                if (seconds := length(job)) > 0:
                    running[job], free, longest = (time_s, slots), free - slots, max(longest, time_s - submitted_s)
                    heapq.heappush(ends, (time_s + seconds, job))
                    if job in known:
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
        return {entry.job for entry in self.queue} | set(self.running)


# Beside what this queue did with them.

Span = tuple[str, float, float]  # a slot, and from when to when it was in use; Unix seconds


class Submission(NamedTuple):
    """A job that ran, runs or waits. Seconds, and Unix seconds."""

    job: int
    slots: int
    submitted_s: float
    waited_s: float  # in the queue until now, also after a stop
    held_s: float  # by its user
    runs_s: float  # how long it runs, as far as is known


class FifoComparison(NamedTuple):
    """Of the jobs that were submitted in a time. Waits are seconds until now, also of jobs that still wait; shares are of all slots."""

    jobs: int
    from_s: float
    mean_s: float
    longest_s: float
    fifo_mean_s: float
    fifo_longest_s: float
    busy: float
    fifo_busy: float
    slots: int = 0  # with which all of it is replayed: those of now


def compare_with_fifo(
    submissions: Iterable[Submission], slots: Sequence[str], used: Iterable[Span], since_s: float, now_s: float
) -> FifoComparison | None:
    """None where no job was submitted in the time, or no slot is known.

    All submissions are replayed, also those before `since_s`, whose jobs may still hold slots then. A job that was on hold is submitted that
    much later there. Costs O(n log n): about 60 ms for 10,000 jobs.
    """
    known = {each.job: each for each in submissions if each.submitted_s <= now_s}
    chosen = [each for each in known.values() if each.submitted_s >= since_s]
    if not chosen or not slots:
        return None
    entered_s = {each.job: min(now_s, each.submitted_s + each.held_s) for each in known.values()}
    entries = [FifoEntry(entered_s[each.job], each.job, each.slots) for each in known.values()]
    starts_s = Fifo(len(slots)).advanced(entries, lambda job: known[job].runs_s, now_s).starts_s
    waits_s = [starts_s.get(each.job, now_s) - entered_s[each.job] for each in chosen]
    from_s = max(since_s, min(each.submitted_s for each in known.values()))
    whole_s = max(1e-9, (now_s - from_s) * len(slots))
    fifo_used_s = sum(
        min(each.slots, len(slots)) * _inside(starts_s[each.job], starts_s[each.job] + each.runs_s, from_s, now_s)
        for each in known.values()
        if each.job in starts_s
    )
    return FifoComparison(
        len(chosen),
        from_s,
        sum(each.waited_s for each in chosen) / len(chosen),
        max(each.waited_s for each in chosen),
        sum(waits_s) / len(chosen),
        max(waits_s),
        min(1.0, used_s(used, slots, from_s, now_s) / whole_s),
        min(1.0, fifo_used_s / whole_s),
        len(slots),
    )


def used_s(used: Iterable[Span], slots: Sequence[str], lo: float, hi: float) -> float:
    """Slot-seconds with at least one job between `lo` and `hi`: time that two jobs share counts once."""
    by_slot: dict[str, list[tuple[float, float]]] = {slot: [] for slot in slots}
    for slot, from_s, to_s in used:
        if slot in by_slot and to_s > lo and from_s < hi:
            by_slot[slot].append((max(lo, from_s), min(hi, to_s)))
    return sum(map(_union_s, by_slot.values()))


def _union_s(spans: list[tuple[float, float]]) -> float:
    total, reached = 0.0, float("-inf")
    for from_s, to_s in sorted(spans):
        total += max(0.0, to_s - max(from_s, reached))
        reached = max(reached, to_s)
    return total


def _inside(from_s: float, to_s: float, lo: float, hi: float) -> float:
    return max(0.0, min(to_s, hi) - max(from_s, lo))
