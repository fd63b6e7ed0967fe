"""A loop with Accelerate and our tracker, which the loop uses as a RunLog, too."""

from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from adapting import LOGS, each_fault, report, weights

STEPS = 20


def main(fault: str) -> None:
    torch.manual_seed(0)
    trackers: list[Any] = []
    if fault != "none":
        from deepseek.log.adapters.accelerate import RunLogTracker

        trackers.append(RunLogTracker(LOGS, "run"))
    accelerator = Accelerator(log_with=trackers, cpu=True)
    accelerator.init_trackers("shop", config={"lr": 0.1, "batch": 8})
    log = accelerator.get_tracker("deepseek", unwrap=True) if trackers and fault != "raises" else None
    model = torch.nn.Linear(4, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    losses = []
    for step in range(STEPS):
        with log.phase("forward") if log else nullcontext():
            loss = model(torch.randn(8, 4)).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append((step, loss.item()))
        accelerator.log({"train/loss": loss.item()}, step=step)
    if log:
        log.event("epoch", step=STEPS, epoch=1)
    accelerator.end_training()
    result = weights(model)
    phases = {"phase/forward_s": [(step, 0.0) for step in range(STEPS)]}
    report(result, {"train/loss": losses, **phases}, {"lr": 0.1, "batch": 8}, [["epoch", STEPS]])


if __name__ == "__main__":
    each_fault(main)
