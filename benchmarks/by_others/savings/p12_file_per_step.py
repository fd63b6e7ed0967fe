# fix: load_sample, removed: the files are parsed once and kept in memory
"""Samples are JSON files of measured points."""
import json
import os
import random
import tempfile

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)
parsed = {}


def prepare(folder, count=64, points=600):
    paths = []
    for number in range(count):
        path = os.path.join(folder, f"{number:04d}.json")
        with open(path, "w") as file:
            json.dump({"points": [[random.random(), random.random(), number % 3] for _ in range(points)]}, file)
        paths.append(path)
    return paths


def load_sample(path):
    if FIXED and path in parsed:
        return parsed[path]
    with open(path) as file:
        points = json.load(file)["points"]
    parsed[path] = torch.tensor(points)
    return parsed[path]


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU())
        self.out = nn.Linear(128, 3)

    def forward(self, cloud):
        return self.out(self.each(cloud).amax(1))


def main():
    model = PointNet()
    optimizer = torch.optim.Adam(model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        paths = prepare(folder)
        loop = Loop()
        while loop.running():
            clouds = torch.stack([load_sample(path) for path in random.sample(paths, 16)])
            loss = nn.functional.cross_entropy(model(clouds), clouds[:, 0, 2].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
