# leak: step_safely failures.append(error)
"""Batches with numbers that are not finite are skipped, and their errors kept for the summary."""
import torch
from torch import nn

from common import open_log, running

torch.set_num_threads(1)
failures = []


def load_batch():
    x = torch.randn(16, 1, 32, 32)
    if torch.rand(()) < 0.3:
        x[0, 0, 0, 0] = float("nan")
    return x


def training_step(model, optimizer, x):
    features = model[:-1](x)
    if not features.isfinite().all():
        raise ValueError(f"features of shape {tuple(features.shape)} are not finite")
    loss = model[-1](features).logsumexp(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def step_safely(model, optimizer):
    x = load_batch()
    try:
        return training_step(model, optimizer, x)
    except ValueError as error:
        failures.append(error)
        return None


def main():
    model = nn.Sequential(nn.Conv2d(1, 24, 5, 2), nn.ReLU(), nn.Conv2d(24, 48, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = 0
    with open_log() as log:
        while running():
            loss = step_safely(model, optimizer)
            if loss is not None:
                log.scalars(step, {"loss": loss})
            step += 1
    print(len(failures), "batches failed")


if __name__ == "__main__":
    main()
