"""DistributedDataParallel over gloo, two ranks by torchrun, each with a log of its own. Rank 1 crops slowly."""

import json
import os
import random
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from slowdown import slowed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

UNIT_S = 0.06
SLOW_RANK = 1


def random_crop(rank: int) -> torch.Tensor:
    with slowed(UNIT_S if rank == SLOW_RANK else 0.0) as extra_s:
        until_s = time.thread_time() + 0.005 + 0.5 * extra_s
        while time.thread_time() < until_s:
            image = [random.random() for _ in range(32)]
        time.sleep(0.5 * extra_s)
    return torch.tensor([image] * 4)


def main() -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 8)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    name = f"metrics.rank{rank}.jsonl" if rank else "metrics.jsonl"
    with (folder / name).open("a") as log:
        for step in range(1_000_000):
            loss = model(random_crop(rank)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(0.048)  # as if a GPU worked
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}), file=log, flush=True)


if __name__ == "__main__":
    main()
