# fix: Samples.__getitem__, overlapped: prefetch_factor 1 -> 16: reading ahead evens out the bursts of the store
"""A store that pauses for long at every 400th sample; two workers."""
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
        time.sleep(0.4 if index % 400 == 399 else 0.0)
        return torch.randn(200)


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Samples(), batch_size=20, num_workers=2, prefetch_factor=16 if FIXED else 1)
    model = nn.Sequential(nn.Linear(200, 900), nn.ReLU(), nn.Linear(900, 900), nn.ReLU(), nn.Linear(900, 200))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loop = Loop()
    for x in loader:
        if not loop.running():
            break
        loss = (model(x.repeat(8, 1)) - x.repeat(8, 1)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
