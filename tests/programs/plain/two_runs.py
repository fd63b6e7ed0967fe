"""Two runs, one after the other in one process, as a sweep in a for loop makes them: <folder>/first, then <folder>/second."""

import json
import random
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.05
FIRST_S = 20.0


def shuffle_buffer(buffer: list[int]) -> list[int]:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.006 + extra_s
        while time.thread_time() < until_s:
            random.shuffle(buffer)
    return buffer[:64]


def train(folder: Path, rate: float, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(64, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    buffer = [*range(256)]
    until_s = time.monotonic() + seconds
    step = 0
    with (folder / "metrics.jsonl").open("a") as log:
        while time.monotonic() < until_s:
            loss = model(torch.tensor(shuffle_buffer(buffer)).float() / 256).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(0.042)  # as if a GPU worked
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}), file=log, flush=True)
            step += 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]) / "first", 1e-3, FIRST_S)
    train(Path(sys.argv[1]) / "second", 1e-4, 1e9)
