# fix: Average.update, removed: the averaged weights are updated every 10 steps instead of every step
"""Averaged weights of a model with many parameters."""
import copy

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Average:
    def __init__(self, model, every, decay=0.99):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.every = every
        self.decay = decay**every

    @torch.no_grad()
    def update(self, model):
        for own, other in zip(self.model.parameters(), model.parameters()):
            own.mul_(self.decay).add_(other, alpha=1 - self.decay)


def main():
    model = nn.Sequential(*[layer for _ in range(5) for layer in (nn.Linear(800, 800), nn.ReLU())])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    average = Average(model, 10 if FIXED else 1)
    loop = Loop()
    while loop.running():
        x = torch.randn(16, 800)
        loss = (model(x) - x.relu()).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loop.steps % average.every == 0:
            average.update(model)
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
