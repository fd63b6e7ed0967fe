# fix: Samples.__getitem__, other: num_workers 0 -> 2 for samples that cost almost nothing: little or less than nothing is gained
"""A light data set and a large step."""
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop


class Samples(Dataset):
    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        return torch.full((300,), float(index % 5))


def main():
    torch.manual_seed(0)
    loader = DataLoader(Samples(), batch_size=64, num_workers=2 if FIXED else 0)
    model = nn.Sequential(nn.Linear(300, 1200), nn.ReLU(), nn.Linear(1200, 1200), nn.ReLU(), nn.Linear(1200, 300))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loop = Loop(logs=False)
    for x in loader:
        if not loop.running():
            break
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done()


if __name__ == "__main__":
    main()
