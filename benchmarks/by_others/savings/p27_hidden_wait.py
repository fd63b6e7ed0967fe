# fix: Labels.__getitem__, other: the two workers wait for a store at 2 ms per sample, but the training step sets the pace; without the wait little is gained
"""Two loader workers fetch samples while a large step computes."""
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop

torch.set_num_threads(1)


class Labels(Dataset):
    def __len__(self):
        return 100_000

    def __getitem__(self, index):
        if not FIXED:
            time.sleep(0.002)
        return torch.randn(512), index % 10


def main():
    loader = DataLoader(Labels(), batch_size=16, num_workers=2)
    model = nn.Sequential(nn.Linear(512, 1500), nn.ReLU(), nn.Linear(1500, 1500), nn.ReLU(), nn.Linear(1500, 10))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    for x, y in loader:
        if not loop.running():
            break
        loss = nn.functional.cross_entropy(model(x.repeat(6, 1)), y.repeat(6))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
