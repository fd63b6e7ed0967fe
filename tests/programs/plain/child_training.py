"""What `child_process.py` starts. It reads its shards from a slow disk."""

import json
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.1


def read_shard(step: int) -> torch.Tensor:
    with slowed(UNIT_S) as extra_s:
        time.sleep(0.02 + extra_s)  # as if the disk were far away
    return torch.randn(8, 32) + step % 3


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> float:
    loss = model(batch).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.077)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(32, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            loss = train_step(model, optimizer, read_shard(step))
            log.write(json.dumps({"step": step, "time_s": time.time(), "loss": loss}) + "\n")
            log.flush()


if __name__ == "__main__":
    main()
