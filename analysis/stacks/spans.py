"""Spans of stacks, cut to a window, each with how far its stack is trusted and when it started and ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame
from collectors.store.store import Process, StackColumns

Interval: TypeAlias = tuple[float, float]  # Unix seconds, from and to

EVER: tuple[Interval, ...] = ((-np.inf, np.inf),)
AT_LOOK = 0.01  # of a period: an edge this little after a look is at it
DENSE = 8  # times as many counters as keys are still faster than a sort


class TrustedSpans(NamedTuple):
    """Arrays have one entry a span, in any order. `stacks[stack[i]]` is span i's stack, from the root to the leaf."""

    frames: list[Frame]
    stacks: list[tuple[int, ...]]  # indices into frames
    trusted: Ints  # one a stack: so many of its frames, from the root, surely stood on each other
    processes: list[Process]
    start_s: Floats
    end_s: Floats
    weight: Floats  # of the time between: below 1 where several share a wait
    process: Ints
    tid: Ints
    stack: Ints
    gil: NDArray[np.int8]  # 1 held, 0 not, -1 unknown
    running: Floats  # share of the time on a CPU, after a join that of the worker; NaN where unknown
    serves: bool = False  # of a service, whose work is in all of its threads
    computes_backward: bool = (
        False  # threads compute their backward passes, as on the CPU; False: they wait for autograd's threads
    )

    @property
    def seconds(self) -> Floats:
        seconds: Floats = (self.end_s - self.start_s) * self.weight
        return seconds

    @property
    def pids(self) -> Ints:
        """Of each process."""
        return np.array([process.pid for process in self.processes], np.int64)

    @property
    def main(self) -> Bools:
        """Which spans are of their process's main thread."""
        is_main: Bools = self.tid == self.pids[self.process] if self.processes else np.zeros(0, bool)
        return is_main

    @property
    def trusted_share(self) -> float:
        """Of the time, how much lies in stacks that are trusted to their leaf; 1 for no time at all."""
        lengths = np.array([len(stack) for stack in self.stacks], np.int64)
        trusted = (self.trusted >= lengths)[self.stack] if len(lengths) else np.zeros(0, bool)
        total_s = float(self.seconds.sum())
        return float(self.seconds[trusted].sum()) / total_s if total_s else 1.0

    def of(self, processes: Sequence[bool]) -> Bools:
        """Which spans are of processes that are marked."""
        marked: Bools = np.array(processes, bool)[self.process] if self.processes else np.zeros(0, bool)
        return marked

    def take(self, spans: Ints | Bools) -> TrustedSpans:
        """These spans, with the same tables."""
        return self._replace(
            start_s=self.start_s[spans],
            end_s=self.end_s[spans],
            weight=self.weight[spans],
            process=self.process[spans],
            tid=self.tid[spans],
            stack=self.stack[spans],
            gil=self.gil[spans],
            running=self.running[spans],
        )

    def within(self, ranges: Sequence[Interval] | Floats) -> TrustedSpans:
        """What lies in these ranges, which neither overlap nor stand out of order."""
        if ranges is EVER:
            return self
        return self._cut(np.asarray(ranges, np.float64).reshape(-1, 2))[0]

    def each_within(self, ranges: Sequence[Interval]) -> list[TrustedSpans]:
        """What lies in each of these ranges, which neither overlap nor stand out of order."""
        cut, which = self._cut(np.asarray(ranges, np.float64).reshape(-1, 2))
        order = np.argsort(which, kind="stable")
        ends = np.cumsum(np.bincount(which, minlength=len(ranges)))
        return [cut.take(part) for part in np.split(order, ends[:-1])]

    def _cut(self, bounds: Floats) -> tuple[TrustedSpans, Ints]:
        """What lies in the ranges, and in which of them."""
        span, which = overlaps(self.start_s, self.end_s, bounds[:, 0], bounds[:, 1])
        cut = self.take(span)
        starts, ends = np.maximum(cut.start_s, bounds[which, 0]), np.minimum(cut.end_s, bounds[which, 1])
        return cut._replace(start_s=starts, end_s=ends), which


def overlaps(starts: Floats, ends: Floats, row_starts: Floats, row_ends: Floats) -> tuple[Ints, Ints]:
    """All pairs (i, j) where interval i overlaps interval j of a row of intervals that are in order and apart from each other."""
    first = np.searchsorted(row_ends, starts, "right")
    count = np.maximum(np.searchsorted(row_starts, ends, "left") - first, 0)
    i = np.repeat(np.arange(len(starts)), count)
    return i, np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(i))


def to_samples(ranges: Sequence[Interval], starts: Floats, ends: Floats, period_s: float) -> list[Interval]:
    """Each edge moved on to when a thread was next looked at, by its spans in order; ranges in which it never was are left out.

    A span lasts until the next look, up to a period after the stack has gone: a phase as short as that would be full of the one before.
    """
    edges = np.asarray(ranges, np.float64).reshape(-1)
    if not len(starts) or not len(edges):
        return list(ranges)
    span = np.maximum(np.searchsorted(starts, edges, "right") - 1, 0)
    looks = starts[span] + np.ceil((edges - starts[span]) / period_s - AT_LOOK) * period_s
    inside = (edges > starts[span]) & (edges < ends[span])
    moved = np.where(inside, np.minimum(looks, ends[span]), edges).reshape(-1, 2)
    return [(lo, hi) for lo, hi in moved.tolist() if hi > lo]


def union(ranges: Sequence[Interval], touching_s: float = 0.0) -> list[Interval]:
    """In order, with those joined that overlap or lie this close to each other."""
    joined: list[Interval] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1] + touching_s:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def compact(keys: Ints, most: int) -> tuple[Ints, Ints]:
    """The distinct keys in order, and which of them each is, like `np.unique`; without a sort where keys are below a small `most`."""
    if most > DENSE * len(keys):
        return np.unique(keys, return_inverse=True)
    distinct = np.flatnonzero(np.bincount(keys, minlength=1))
    place = np.zeros(max(1, most), np.int64)
    place[distinct] = np.arange(len(distinct))
    return distinct, place[keys]


# Where each thread of a run was last: of a program that crashed, what it was doing.

MAX_THREADS = 100


class LastStack(NamedTuple):
    """A thread's last stack, from the root to the leaf, and until when it was seen there."""

    process: Process
    tid: int
    thread: str
    until_s: float
    frames: list[Frame]


def last_stacks(columns: StackColumns) -> list[LastStack]:
    """One a thread, main processes and the threads with the most frames first: at most a hundred."""
    ends = columns.time_s + columns.duration_s
    newest: dict[tuple[int, int], int] = {}
    for place in np.argsort(ends, kind="stable").tolist():
        newest[int(columns.process[place]), int(columns.tid[place])] = place
    found = []
    for (number, tid), place in newest.items():
        process = columns.processes[number]
        frames = [columns.frames[i] for i in columns.stacks[columns.stack[place]]]
        name = columns.threads.get((process.pid, tid), "")
        found.append(LastStack(process, tid, name, float(ends[place]), frames))
    found.sort(
        key=lambda last: (
            last.process.role != "main",
            last.process.rank,
            last.tid != last.process.pid,
            -len(last.frames),
        )
    )
    return found[:MAX_THREADS]
