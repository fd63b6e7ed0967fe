"""Learns shapes from drawn images; the operations on them are classes whose method has one name."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from operations import Chain, Flip, Normalize, SoftBlur
from pace import more, unit_done
from torch import nn

SIDE, BATCH = 28, 12


def draw(rng):
    image = rng.random((SIDE, SIDE)) * 0.2
    y, x, size = rng.integers(4, 16, 3)
    kind = int(rng.integers(0, 3))
    if kind == 0:
        image[y : y + size, x : x + size] += 0.7
    elif kind == 1:
        image[y, x : x + size] += 0.7
        image[y : y + size, x] += 0.7
    else:
        grid = np.mgrid[0:SIDE, 0:SIDE]
        image[(grid[0] - y) ** 2 + (grid[1] - x) ** 2 < size * 3] += 0.7
    return image.astype(np.float32), kind


class ShapeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 32, 5, 2), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU(), nn.Flatten())
        self.head = nn.LazyLinear(3)

    def forward(self, images):
        return self.head(self.features(images))


class Experiment:
    def __init__(self, folder):
        self.rng = np.random.default_rng(23)
        self.blur = SoftBlur(2)
        self.chain = Chain(Flip(self.rng), self.blur, Normalize())
        self.net = ShapeNet()
        self.net(torch.zeros(1, 1, SIDE, SIDE))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.log = open(folder / "results.jsonl", "a", buffering=1)

    def batch(self):
        self.blur.radius = 2 + round(2.2 * more())
        images, kinds = zip(*(draw(self.rng) for _ in range(BATCH)))
        return torch.from_numpy(np.stack([self.chain(image) for image in images]))[:, None].float(), torch.tensor(kinds)

    def run(self):
        for iteration in range(10**9):
            images, kinds = self.batch()
            loss = nn.functional.cross_entropy(self.net(images), kinds)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            print(json.dumps({"iteration": iteration, "loss": round(loss.item(), 4)}), file=self.log)
            unit_done()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    Experiment(folder).run()
