"""The processes that train one model together: RANK and WORLD_SIZE say which one this is, as torchrun sets them."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


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
        return DistributedDataParallel(model) if self.world_size > 1 else model

    def any(self, flag: bool) -> bool:
        """Whether it is true on any rank; all must ask at the same step, or they would wait for each other for ever."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(int(flag))
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)

    def leave(self) -> None:
        if self.world_size > 1:
            distributed.destroy_process_group()
