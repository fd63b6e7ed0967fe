"""One of four ranks loads slowly, and the others wait for it in their collective: rank 2 and its `load_shard` are to blame."""

import os
import time

import torch
import torch.distributed as dist
from loop import RANK, RANKS, Step, train
from work import forward

LATE = 2


def load_shard(seconds: float) -> None:
    time.sleep(seconds)


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        load_shard(0.06 if step.lossy and RANK == LATE else 0.002)
    with step.clock.phase("forward"):
        forward()
    with step.clock.phase("reduce"):
        dist.all_reduce(torch.ones(8))


if __name__ == "__main__":
    os.environ.setdefault("MASTER_PORT", "29517")
    dist.init_process_group("gloo", rank=RANK, world_size=RANKS)
    train(step)
