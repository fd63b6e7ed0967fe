"""The processes that train one model together: RANK and WORLD_SIZE identify this one, as torchrun sets them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


class Ranks(NamedTuple):
    rank: int
    world_size: int
    local_rank: int  # on this host; picks the GPU

    @classmethod
    def join(cls) -> Ranks:
        """One process alone needs no peers; several meet at MASTER_ADDR and MASTER_PORT, on this host if not set."""
        rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if world_size > 1:
            os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
            os.environ.setdefault("MASTER_PORT", "29500")
            # gloo beside NCCL, so that hosts can agree without waiting for their GPUs
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return cls(rank, world_size, int(os.environ.get("LOCAL_RANK", rank)))

    def share(self, model: nn.Module) -> nn.Module:
        """The same model, its gradients averaged over all ranks in the backward pass."""
        return DistributedDataParallel(model, gradient_as_bucket_view=True) if self.world_size > 1 else model

    def averaging(self, shared: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Around the passes of a micro-batch: gradients add up on each rank, and are exchanged only with the last one."""
        return nullcontext() if last or self.world_size == 1 else shared.no_sync()

    def any(self, flag: bool) -> bool:
        """Whether it is true on any rank; all must call it at the same step, or they would wait for each other for ever."""
        return self._reduce(int(flag), distributed.ReduceOp.MAX) > 0

    def mean(self, value: float) -> float:
        """Over all ranks, which must all call it."""
        return self._reduce(value, distributed.ReduceOp.SUM) / self.world_size

    def gather(self, value: T) -> list[T]:
        """Of all ranks, which must all call it; only rank 0 receives the others' ones."""
        if self.world_size == 1:
            return [value]
        values: list[T | None] | None = [None] * self.world_size if self.rank == 0 else None
        distributed.gather_object(value, values)
        return [item for item in values or [value] if item is not None]

    def leave(self) -> None:
        if self.world_size > 1:
            distributed.destroy_process_group()

    def _reduce(self, value: float, operation: distributed.ReduceOp) -> float:
        if self.world_size == 1:
            return value
        reduced = torch.tensor(float(value), dtype=torch.float64)
        distributed.all_reduce(reduced, operation)
        return float(reduced)
