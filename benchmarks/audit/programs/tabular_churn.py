"""Churn of customers from tables of events: features by pandas, a small network on top."""

import numpy as np
import pandas as pd
import torch
from churn_features import clean_events, rolling_features, static_features, to_matrix
from pace import more, unit_done
from torch import nn

EVENTS = 600
STEPS_PER_EPOCH = 200


class Churn(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def read_events(rng: np.random.Generator) -> pd.DataFrame:
    """A day's export. Some days have many more customers, each with few events."""
    customers = 6 + int(16 * more())
    return pd.DataFrame(
        {
            "customer": rng.integers(0, customers, EVENTS),
            "day": rng.integers(0, 90, EVENTS),
            "amount": rng.normal(40.0, 30.0, EVENTS),
        }
    )


def make_batch(rng: np.random.Generator):
    events = clean_events(read_events(rng))
    frame = static_features(events).join(rolling_features(events))
    x = torch.from_numpy(to_matrix(frame))
    y = (x[:, 0] + 0.3 * torch.randn(len(x)) > 0).float()
    return x, y


def train_epoch(model, optimizer, epoch, rng):
    for step in range(STEPS_PER_EPOCH):
        x, y = make_batch(rng)
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        unit_done()
        if step % 10 == 0:
            print(f"epoch {epoch} step {epoch * STEPS_PER_EPOCH + step} loss {loss.item():.4f}", flush=True)


def main():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Churn(7)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(10_000):
        train_epoch(model, optimizer, epoch, rng)


if __name__ == "__main__":
    main()
