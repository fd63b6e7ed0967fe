# fix: Shard.__getitem__, overlapped: num_workers 1 -> 4: reads wait for a share, not for a core
"""Batches wait for a network share; one loader worker reads them."""
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop


class Shard(Dataset):
    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        time.sleep(0.006)
        return torch.randn(3, 24, 24), index % 4


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Shard(), batch_size=8, num_workers=4 if FIXED else 1)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3200, 4))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop(logs=False)
    for x, y in loader:
        if not loop.running():
            break
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done()


if __name__ == "__main__":
    main()
