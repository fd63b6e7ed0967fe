"""A plain script that uses RunLog: `python -m tests.programs.traced LOG_DIR RUN` trains a layer until it is ended."""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

from deepseek.log import RunLog


def loss_of(layer: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    return torch.relu(layer(rows)).sum()


def main(log_dir: str, run: str) -> None:
    torch.set_num_threads(1)
    layer = nn.Linear(64, 64)
    with RunLog(log_dir, run) as log:
        for step in range(100_000):
            loss_of(layer, torch.ones(32, 64)).backward()
            log.scalars(step, {"train/loss": 1 / (step + 1)})
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
