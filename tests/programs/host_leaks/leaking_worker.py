# leak: __getitem__ self.seen[index] = item
"""A data set that keeps each item, in the workers of a DataLoader."""

import os
import time

import torch
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __init__(self):
        self.seen = {}

    def __len__(self):
        return 10_000_000

    def __getitem__(self, index):
        item = torch.randn(3, 64, 64)
        self.seen[index] = item
        return item * 0.5


if __name__ == "__main__":
    until_s = time.monotonic() + float(os.environ["SECONDS"])
    losses = []
    for batch in DataLoader(Images(), batch_size=16, num_workers=1):
        losses.append(batch.square().mean().item())
        time.sleep(0.03)
        if time.monotonic() > until_s:
            break
