"""Gradients are accumulated over four micro-batches; one line a step of all four. It tidies up its objects by hand."""

import gc
import json
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.2
MICRO_BATCHES = 4


def tidy_up() -> None:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.005 + extra_s
        while time.thread_time() < until_s:
            gc.collect(0)
            gc.collect(1)


def micro_step(model: nn.Module) -> float:
    loss = model(torch.randn(4, 64)).square().mean() / MICRO_BATCHES
    loss.backward()
    time.sleep(0.047)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(64, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            optimizer.zero_grad()
            loss = sum(micro_step(model) for _ in range(MICRO_BATCHES))
            optimizer.step()
            tidy_up()
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss}), file=log, flush=True)


if __name__ == "__main__":
    main()
