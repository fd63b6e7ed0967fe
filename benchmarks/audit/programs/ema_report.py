"""Deep narrow network with averages of its weights, and a report on each layer's rank. Two things that may cost too much."""

import json
import sys
import time
from pathlib import Path

import torch
from pace import more, unit_done
from shadow import Shadows
from torch import nn

LAYERS, WIDTH = 14, 96
HORIZONS = [2**k for k in range(3, 40)]


def build():
    layers = []
    for _ in range(LAYERS):
        layers += [nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 4))


def effective_ranks(model, count):
    ranks = []
    for layer in [layer for layer in model if isinstance(layer, nn.Linear)][:count]:
        values = torch.linalg.svdvals(layer.weight.detach())
        shares = values / values.sum()
        ranks.append(float(torch.exp(-(shares * shares.log()).sum())))
    return ranks


def step_once(model, optimizer, truth):
    x = torch.randn(64, WIDTH)
    loss = nn.functional.cross_entropy(model(x), (x @ truth).argmax(1))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(19)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    shadows = Shadows(model, HORIZONS)
    truth = torch.randn(WIDTH, 4)
    with open(folder / "log.jsonl", "a") as log:
        for step in range(10**9):
            loss = step_once(model, optimizer, truth)
            shadows.update_shadows(model, min(len(HORIZONS), 2 + round(9 * more())))
            ranks = effective_ranks(model, min(LAYERS, 1 + round(4 * more())))
            log.write(json.dumps({"step": step, "t": time.time(), "loss": loss, "rank0": ranks[0]}) + "\n")
            log.flush()
            unit_done()


if __name__ == "__main__":
    main()
