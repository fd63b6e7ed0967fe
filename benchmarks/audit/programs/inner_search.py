"""Searches learning rates for a small model; each trial is a short training."""

import math

import torch
from pace import more, unit_done
from parzen import Parzen
from torch import nn

INNER_STEPS = 12


def objective(log_rate):
    torch.manual_seed(17)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=10**log_rate)
    x = torch.randn(128, 20)
    y = x[:, :1] * x[:, 1:2]
    for _ in range(INNER_STEPS):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item() if math.isfinite(loss.item()) else 1e9


def refine(study):
    """Asks for more candidates the less the last trials have gained."""
    return study.suggest(4 + int(130 * more()))


def main():
    study = Parzen(-4.0, 0.0, seed=17)
    best = float("inf")
    number = 0
    while True:
        log_rate = refine(study)
        value = objective(log_rate)
        study.tell(log_rate, value)
        best = min(best, value)
        print(f"Trial {number} finished with value: {value:.6f} and lr: {10**log_rate:.2e}. Best is {best:.6f}.", flush=True)
        number += 1
        unit_done()


if __name__ == "__main__":
    main()
