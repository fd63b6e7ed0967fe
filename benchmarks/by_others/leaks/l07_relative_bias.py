# leak: relative_bias return torch.exp(-distance * slope).unsqueeze(0)
# (the decorator @functools.lru_cache(maxsize=None) of the same function is right as well)
"""Attention with a decaying bias whose slope is drawn anew for every batch as augmentation."""
import functools
import random

import torch
from torch import nn

from common import open_log, running

torch.set_num_threads(1)


@functools.lru_cache(maxsize=None)
def relative_bias(length, slope):
    positions = torch.arange(length, dtype=torch.float32)
    distance = (positions[None, :] - positions[:, None]).abs()
    return torch.exp(-distance * slope).unsqueeze(0)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, slope):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / x.shape[-1] ** 0.5
        weights = (scores.softmax(-1)) * relative_bias(x.shape[1], slope)
        return x + self.out(weights @ v)


class Model(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.blocks = nn.ModuleList(Attention(width) for _ in range(4))
        self.head = nn.Linear(width, 1)

    def forward(self, x, slope):
        for block in self.blocks:
            x = block(x, slope)
        return self.head(x.mean(1))


def main():
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    with open_log() as log:
        step = 0
        while running():
            x = torch.randn(20, 160, 96)
            loss = (model(x, random.uniform(0.01, 0.2)) - x.mean((1, 2)).unsqueeze(1)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.scalars(step, {"train/loss": loss})
            step += 1


if __name__ == "__main__":
    main()
