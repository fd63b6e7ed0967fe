"""Only prints, now and then; its output is redirected into the log folder. The loss is processed in Python."""

import time

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.04


def smooth_losses(losses: list[float]) -> float:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.003 + extra_s
        while time.thread_time() < until_s:
            smooth = 0.0
            for loss in losses[-100:]:
                smooth = 0.98 * smooth + 0.02 * loss
    return smooth


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    loss = model(torch.randn(4, 64)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.035)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    model = nn.Linear(64, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for step in range(1_000_000):
        losses.append(train_step(model, optimizer))
        smooth = smooth_losses(losses)
        if step % 25 == 0:
            print(f"{time.strftime('%H:%M:%S')} step {step:6d} loss {smooth:.4f}", flush=True)


if __name__ == "__main__":
    main()
