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
KNOTS = 6  # of a portion's many gaps: the idle time between is straight

Floats = NDArray[np.float64]


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
        self._queue = np.zeros(QUEUE)  # when each slot is free again
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
            noise = self.random.standard_normal((2, portion)) * self.job.noise
            host, kernel = np.clip(1 + noise, 0.3, 3.0) * np.array([[host_us], [kernel_us]]) * 1e-6
            asked, free = np.cumsum(host), self._queue[:portion]
            launched = asked + np.maximum(self.host_s, np.maximum.accumulate(free - asked))
            worked = np.cumsum(kernel)
            ends = worked + np.maximum(self.gpu_s, np.maximum.accumulate(launched - (worked - kernel)))
            self._gaps(np.r_[self.gpu_s, ends[:-1]], ends - kernel)
            self._queue = np.r_[self._queue[portion:], ends]
            self._stand(Segment(self.host_s, float(launched[-1]), label, position, position + portion / 10))
            position += portion / 10
            self.gpu_s = float(ends[-1])

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
        length = ends[gaps] - begins[gaps]
        sums = self._idle_s + np.cumsum(length)
        if len(gaps) > 2 * KNOTS:
            some = np.r_[np.arange(len(gaps) // KNOTS - 1, len(gaps) - 1, len(gaps) // KNOTS), len(gaps) - 1]
            self.idle_at.append(np.r_[begins[gaps[0]], ends[gaps[some]]])
            self.idle_sum.append(np.r_[self._idle_s, sums[some]])
        else:
            self.idle_at.append(np.c_[begins[gaps], ends[gaps]].ravel())
            self.idle_sum.append(np.c_[sums - length, sums].ravel())
        self._idle_s = float(sums[-1])
