"""A short script; what it calls lies in a package that is installed with `pip install -e` from another folder."""

import json
import sys
import time
from pathlib import Path

import torch
from mylab.augment import jitter
from torch import nn


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    loss = model(torch.tensor(jitter([0.5] * 64))).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.042)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(64, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            loss = train_step(model, optimizer)
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss}), file=log, flush=True)


if __name__ == "__main__":
    main()
