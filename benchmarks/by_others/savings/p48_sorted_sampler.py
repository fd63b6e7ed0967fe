# fix: PrioritySampler.draw, removed: priorities are sampled with torch.multinomial instead of sorting a list of all in Python
"""Samples with a large loss are drawn more often."""
import random

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class PrioritySampler:
    def __init__(self, count):
        self.losses = torch.ones(count)

    def draw(self, size):
        if FIXED:
            return torch.multinomial(self.losses, size)
        keyed = sorted(((random.random() ** (1 / max(loss, 1e-6)), n) for n, loss in enumerate(self.losses.tolist())), reverse=True)
        return torch.tensor([n for _, n in keyed[:size]])

    def update(self, rows, losses):
        self.losses[rows] = 0.5 * self.losses[rows] + 0.5 * losses


def main():
    x, sampler = torch.randn(8000, 64), PrioritySampler(8000)
    model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop(logs=False)
    for _ in loop:
        rows = sampler.draw(128)
        losses = (model(x[rows]).squeeze(1) - x[rows, 0] * x[rows, 1]).pow(2)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        sampler.update(rows, losses.detach())


if __name__ == "__main__":
    main()
