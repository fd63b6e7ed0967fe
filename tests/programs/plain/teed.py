"""Prints its loss, to be run as `python teed.py | tee logs/teed/train.log`. It prints histograms, too: Python code in the loop."""

import time

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.05


def log_histograms(model: nn.Module) -> int:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.005 + extra_s
        while time.thread_time() < until_s:
            counts = [0] * 16
            for value in next(model.parameters()).flatten().tolist():
                counts[int(abs(value) * 100) % 16] += 1
    return max(counts)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    loss = model(torch.randn(4, 64)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.043)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    model = nn.Linear(64, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for step in range(1_000_000):
        loss = train_step(model, optimizer)
        print(f"step {step} loss {loss:.4f} largest bin {log_histograms(model)}", flush=True)


if __name__ == "__main__":
    main()
