"""Two ranks by torchrun that reduce their gradients by hand. Rank 0 alone logs; rank 1 loads slowly."""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from slowdown import slowed
from torch import nn

UNIT_S = 0.08
SLOW_RANK = 1


def load_shard(rank: int) -> torch.Tensor:
    if rank != SLOW_RANK:
        time.sleep(0.01)
        return torch.randn(8, 32)
    with slowed(UNIT_S) as extra_s:
        time.sleep(0.01 + extra_s)
    return torch.randn(8, 32)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> float:
    loss = model(batch).square().mean()
    optimizer.zero_grad()
    loss.backward()
    time.sleep(0.066)  # as if a GPU worked
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
    optimizer.step()
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(32, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    log = (folder / "metrics.jsonl").open("a") if rank == 0 else None
    for step in range(1_000_000):
        loss = train_step(model, optimizer, load_shard(rank))
        if log:
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss}), file=log, flush=True)


if __name__ == "__main__":
    main()
