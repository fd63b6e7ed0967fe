# leak: __getitem__ self.store[key] = patch
"""Patches cut out of a few large pictures, prepared once and kept."""
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import running


class CropDataset(Dataset):
    def __init__(self, pictures=6, side=512, patch=64):
        rng = np.random.default_rng(1)
        self.pictures = rng.integers(0, 255, (pictures, side, side, 3), dtype=np.uint8)
        self.patch = patch
        self.side = side
        self.store = {}

    def __len__(self):
        return 100_000

    def _prepare(self, number, top, left):
        raw = self.pictures[number, top : top + self.patch, left : left + self.patch]
        scaled = raw.astype(np.float32) / 255.0
        return np.ascontiguousarray(((scaled - scaled.mean()) / (scaled.std() + 1e-6)).transpose(2, 0, 1))

    def __getitem__(self, index):
        number = index % len(self.pictures)
        top = random.randrange(self.side - self.patch)
        left = random.randrange(self.side - self.patch)
        key = (number, top, left)
        if key not in self.store:
            patch = self._prepare(number, top, left)
            self.store[key] = patch
        return torch.from_numpy(self.store[key])


def build():
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, stride=2), nn.ReLU(), nn.Conv2d(24, 48, 3, stride=2), nn.ReLU(),
        nn.Conv2d(48, 48, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 4)
    )


def main():
    torch.set_num_threads(1)
    loader = DataLoader(CropDataset(), batch_size=8, num_workers=0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for patches in loader:
        if not running():
            break
        # four rotations, as in self-supervised rotation prediction
        rotated = torch.cat([torch.rot90(patches, k, (2, 3)) for k in range(4)])
        rotated = torch.cat([rotated, rotated.flip(3)]).repeat(2, 1, 1, 1)
        target = torch.arange(4).repeat_interleave(len(patches)).repeat(4)
        loss = nn.functional.cross_entropy(model(rotated), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
