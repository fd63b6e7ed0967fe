"""Ranks items by clicks. Features come from a small database; the popular ones are kept in memory."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from feature_store import DIM, FeatureStore
from pace import more, unit_done
from torch import nn

ITEMS, POPULAR = 6000, 300
BATCH = 64


class Ranker(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(DIM, 512), nn.GELU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def draw_clicks(rng):
    """In some hours people click on what nobody else clicks on."""
    rare = min(BATCH, 1 + int(30 * more()))
    keys = rng.integers(POPULAR, ITEMS, rare).tolist() + rng.integers(0, POPULAR, BATCH - rare).tolist()
    return [f"item-{key}" for key in keys], rng.integers(0, 2, BATCH).astype(np.float32)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    store = FeatureStore(":memory:")
    store.fill(ITEMS)
    hot = {f"item-{i}": store.compute(f"item-{i}") for i in range(POPULAR)}
    rng = np.random.default_rng(11)
    model = Ranker()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
    log = open(folder / "rank.jsonl", "a", buffering=1)
    for step in range(10**9):
        keys, clicked = draw_clicks(rng)
        features = torch.from_numpy(store.fetch(keys, hot))
        loss = nn.functional.binary_cross_entropy_with_logits(model(features), torch.from_numpy(clicked))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.write(json.dumps({"global_step": step, "timestamp": time.time(), "loss": loss.item()}) + "\n")
        unit_done()


if __name__ == "__main__":
    main()
