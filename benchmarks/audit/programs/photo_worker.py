"""Sorts photos. They are resized by the workers of the data loader; some cameras make larger ones."""

import logging

import numpy as np
import torch
from pace import more, unit_done
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

SIDE = 32
logging.basicConfig(format="[%(asctime)s] %(message)s", level=logging.INFO, datefmt="%Y-%m-%d %H:%M:%S")


class Photos(IterableDataset):
    def __init__(self, base=160):
        self.base = base
        self.scene = np.random.default_rng(1).integers(0, 255, (1800, 1800, 3), dtype=np.uint8)

    def __iter__(self):
        info = get_worker_info()
        rng = np.random.default_rng(info.id if info else 0)
        while True:
            yield self.prepare(self.shoot(rng)), int(rng.integers(0, 10))

    def shoot(self, rng):
        side = min(1500, self.base + int(560 * more()))
        y, x = rng.integers(0, 1800 - side, 2)
        return self.scene[y : y + side, x : x + side]

    def prepare(self, photo):
        return torch.from_numpy(resize(photo, SIDE)).permute(2, 0, 1)


def resize(photo, side):
    """By area, row by row: each pixel is the mean of its part of the photo."""
    edges = np.linspace(0, len(photo), side + 1).astype(int)
    columns = np.diff(edges)[:, None]
    small = np.zeros((side, side, 3), np.float32)
    for row in range(side):
        for y in range(edges[row], edges[row + 1]):
            small[row] += np.add.reduceat(photo[y].astype(np.float32), edges[:-1], axis=0) / columns
        small[row] /= edges[row + 1] - edges[row]
    return small / 255


def build():
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48 * 16, 10),
    )  # fmt: skip


def main():
    torch.manual_seed(10)
    torch.set_num_threads(1)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(Photos(), batch_size=4, num_workers=2, prefetch_factor=2)
    for step, (photos, labels) in enumerate(loader):
        loss = nn.functional.cross_entropy(model(photos), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        unit_done()
        if step % 5 == 0:
            logging.info("step=%d loss=%.4f", step, loss.item())


if __name__ == "__main__":
    main()
