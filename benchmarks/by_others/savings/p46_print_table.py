# fix: show, removed: the table is shown every 100 steps instead of every 2
"""A wide text table of moving averages on the terminal (here: a file)."""
import os
import tempfile
from collections import deque
from statistics import mean, pstdev

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Averages:
    def __init__(self, names, window=300):
        self.kept = {name: deque(maxlen=window) for name in names}

    def add(self, **values):
        for name, value in values.items():
            self.kept[name].append(value)

    def rows(self):
        for name, values in self.kept.items():
            yield f"{name:>12} {mean(values):12.6f} {pstdev(values):12.6f} {min(values):12.6f} {max(values):12.6f}"


def show(averages, out):
    for row in averages.rows():
        print(row, file=out, flush=True)


def main():
    model = nn.Sequential(nn.Linear(50, 256), nn.ReLU(), nn.Linear(256, 50))
    optimizer = torch.optim.Adam(model.parameters())
    names = ["loss", "mean", "low", "high"]
    averages = Averages(names)
    every = 100 if FIXED else 2
    loop = Loop()
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "terminal"), "w") as out:
        while loop.running():
            x = torch.randn(300, 50)
            guess = model(x)
            loss = (guess - x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            averages.add(loss=loss.item(), mean=guess.mean().item(), low=guess.min().item(), high=guess.max().item())
            if loop.steps % every == 0:
                show(averages, out)
            loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
