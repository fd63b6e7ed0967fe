"""A host thread and its GPU in virtual time: a queue of 1,024 launches, kernels, copies, waits, and a second stream for collectives."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .job import Job
from .labels import COLLECTION, COLLECTIVE

QUEUE = 1024
AT_ONCE = 512  # launches that are worked out together
LAUNCH_S, WAIT_S = 15e-6, 12e-6  # of a copy, of a wait for nothing
DRAWN = 65_536
KNOTS = 6  # of a portion's many gaps: the idle time between is straight

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Segment(NamedTuple):
    """The host stood at a label. `first` and `last` say how far it was in the launches of a step; `waited_s` for the GPU."""

    start_s: float
    end_s: float
    label: int
    first: float = 0.0
    last: float = 0.0
    waited_s: float = 0.0


class Step(NamedTuple):
    end_s: float
    data_s: float  # -1 for what is no step
    lead_s: float


class Machine:
    """`idle_*` and `copy_*` are knots of cumulative seconds: at these times, so much idle time, or copying, had passed."""

    def __init__(self, job: Job, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.job = job
        self.host_s = self.gpu_s = self.link_s = 0.0  # until when each is taken
        self.segments: list[Segment] = []
        self.steps: list[Step] = []
        self.collections: list[tuple[float, float]] = []  # begin, seconds
        self.collectives: list[tuple[float, float]] = []  # on the second stream, waiting for other ranks included
        self.idle_at, self.idle_sum = [np.zeros(1)], [np.zeros(1)]
        self.copy_at, self.copy_sum = [0.0], [0.0]
        self._idle_s = self._copied_s = 0.0
        self._queue, self._slot = np.zeros(QUEUE), 0  # when each slot is free again, and the oldest of them
        self._noise, self._drawn = np.zeros((2, 0)), 0
        self._next_collection_s = job.collection_every_s or np.inf

    def varied(self, amount: float) -> float:
        return amount * max(0.2, 1 + self.job.noise * float(self.random.standard_normal())) if amount else 0.0

    def work(self, label: int, ms: float) -> None:
        if ms > 0:
            self._stand(Segment(self.host_s, self.host_s + ms / 1e3, label))

    def launch(self, label: int, count: int, host_us: float, kernel_us: float, position: float = 0.0) -> None:
        """So many kernels. The host blocks while the queue is full, and then looks as if it were launching."""
        while count > 0:
            self._collect(position)
            portion = min(count, AT_ONCE)
            count -= portion
            host, kernel = self._durations(portion, host_us, kernel_us)
            slots = self._slots(portion)
            asked = np.add.accumulate(host)
            launched = asked + np.maximum(self.host_s, np.maximum.accumulate(self._queue[slots] - asked))
            worked = np.add.accumulate(kernel)
            ends = worked + np.maximum(self.gpu_s, np.maximum.accumulate(launched - (worked - kernel)))
            before = np.empty(portion)
            before[0], before[1:] = self.gpu_s, ends[:-1]
            self._gaps(before, ends - kernel)
            self._queue[slots] = ends
            self._stand(Segment(self.host_s, float(launched[-1]), label, position, position + portion / 10))
            position += portion / 10
            self.gpu_s = float(ends[-1])

    def _slots(self, count: int) -> slice | Ints:
        """The oldest of the queue, which are free first."""
        first, self._slot = self._slot, (self._slot + count) % QUEUE
        return slice(first, first + count) if first + count <= QUEUE else np.arange(first, first + count) % QUEUE

    def _durations(self, count: int, host_us: float, kernel_us: float) -> tuple[Floats, Floats]:
        """Of so many launches, and of their kernels; random numbers are drawn many at a time."""
        if self._drawn + count > self._noise.shape[1]:
            drawn = 1 + self.job.noise * self.random.standard_normal((2, DRAWN))
            self._noise, self._drawn = np.minimum(np.maximum(drawn, 0.3), 3.0) * 1e-6, 0
        begin, self._drawn = self._drawn, self._drawn + count
        return self._noise[0, begin : self._drawn] * host_us, self._noise[1, begin : self._drawn] * kernel_us

    def copy(self, label: int, ms: float) -> None:
        """Takes its place among the kernels; the GPU does not count as busy meanwhile."""
        self._stand(Segment(self.host_s, self.host_s + LAUNCH_S, label))
        self._gap(self.gpu_s, self.host_s)
        begin = max(self.gpu_s, self.host_s)
        end = begin + ms / 1e3
        self._gap(begin, end)
        self.copy_at += [begin, end]
        self.copy_sum += [self._copied_s, self._copied_s + end - begin]
        self._copied_s += end - begin
        self.gpu_s = end

    def wait(self, label: int) -> None:
        """Until the GPU has done all that was launched."""
        until = max(self.host_s, self.gpu_s) + WAIT_S
        self._stand(Segment(self.host_s, until, label, waited_s=max(0.0, self.gpu_s - self.host_s)))

    def collective(self, ms: float, after_gpu: bool) -> Generator[float, float, None]:
        """Yields when this rank is ready for it, is sent when all are; the kernel spins from one to the other."""
        self._stand(Segment(self.host_s, self.host_s + LAUNCH_S, COLLECTIVE))
        ready = max(self.host_s, self.link_s, self.gpu_s if after_gpu else 0.0)
        all_ready = yield ready
        self.link_s = all_ready + ms / 1e3
        self.collectives.append((ready, self.link_s))

    def join_streams(self) -> None:
        """Kernels that are launched from here on need what the collectives bring."""
        self._gap(self.gpu_s, self.link_s)
        self.gpu_s = max(self.gpu_s, self.link_s)

    def _stand(self, segment: Segment) -> None:
        self.segments.append(segment)
        self.host_s = segment.end_s

    def _collect(self, position: float) -> None:
        if self.host_s > self._next_collection_s:
            seconds = self.varied(self.job.collection_ms) / 1e3
            self.collections.append((self.host_s, seconds))
            self._stand(Segment(self.host_s, self.host_s + seconds, COLLECTION, position, position))
            self._next_collection_s = self.host_s + float(self.random.exponential(self.job.collection_every_s))

    def _gap(self, begin: float, end: float) -> None:
        if end > begin:
            self.idle_at.append(np.array([begin, end]))
            self.idle_sum.append(np.array([self._idle_s, self._idle_s + end - begin]))
            self._idle_s += end - begin

    def _gaps(self, begins: Floats, ends: Floats) -> None:
        gaps = np.flatnonzero(ends > begins + 1e-9)
        if not len(gaps):
            return
        begins, ends = begins[gaps], ends[gaps]
        length = ends - begins
        sums = self._idle_s + np.add.accumulate(length)
        if len(gaps) > 2 * KNOTS:  # straight from the first gap's beginning over the ends of some
            apart = len(gaps) // KNOTS
            knots, total = np.empty(KNOTS + 2), np.empty(KNOTS + 2)
            some = np.minimum(np.arange(1, KNOTS + 2) * apart, len(gaps)) - 1
            knots[0], total[0], knots[1:], total[1:] = begins[0], self._idle_s, ends[some], sums[some]
            knots[-1], total[-1] = ends[-1], sums[-1]
        else:
            knots, total = np.empty(2 * len(gaps)), np.empty(2 * len(gaps))
            knots[::2], knots[1::2], total[::2], total[1::2] = begins, ends, sums - length, sums
        self.idle_at.append(knots)
        self.idle_sum.append(total)
        self._idle_s = float(sums[-1])
