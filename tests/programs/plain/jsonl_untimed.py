"""A loop of short steps with a JSONL that says no time, only the step and the loss. The augmentation is Python."""

import json
import random
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.016


def elastic_warp(image: list[float]) -> list[float]:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.002 + extra_s
        while time.thread_time() < until_s:
            image = [0.9 * value + 0.1 * random.random() for value in image]
    return image


def load(step: int) -> torch.Tensor:
    return torch.tensor(elastic_warp([float(step % 5)] * 64))


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(64, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(10_000_000):
            loss = model(load(step)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(0.013)  # as if a GPU worked
            print(json.dumps({"step": step, "loss": loss.item()}), file=log, flush=True)


if __name__ == "__main__":
    main()
