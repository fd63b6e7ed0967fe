"""How long the first all-reduce of a step takes on each rank: most of it is waiting for the last one, whose own is the shortest."""

# No `from __future__ import annotations`: DistributedDataParallel compares its hook's annotations with the types.

from time import perf_counter_ns

from torch import Tensor, distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from .gpu_clock import GpuClock

SERIES = "collective/first_all_reduce_s"


class FirstAllReduce:
    """Averages gradients as DistributedDataParallel does by itself, and times the bucket that is ready first."""

    def __init__(self, model: DistributedDataParallel, clock: GpuClock | None) -> None:
        self._clock = clock
        self._begun_ns = self._spent_ns = 0
        model.register_comm_hook(model.process_group, self._hook)

    def take_s(self) -> dict[str, float]:
        """Seconds since the last call, as the host sees it; on a GPU its clock measures it."""
        spent_ns, self._spent_ns = self._spent_ns, 0
        return {SERIES: spent_ns // 1000 / 1e6} if spent_ns else {}

    def _hook(self, group: distributed.ProcessGroup, bucket: distributed.GradBucket) -> Future[Tensor]:
        if bucket.index() > 0:
            return allreduce_hook(group, bucket)
        self._begin()
        return allreduce_hook(group, bucket).then(self._end)

    def _begin(self) -> None:
        if self._clock:
            self._clock.begin(SERIES)
        self._begun_ns = perf_counter_ns()

    def _end(self, averaged: Future[Tensor]) -> Tensor:
        if self._clock:
            self._clock.end(SERIES)  # the stream here is the one that waits for the collective
        else:
            self._spent_ns += perf_counter_ns() - self._begun_ns
        return averaged.value()
