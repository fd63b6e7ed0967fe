# fix: Samples.__getitem__, overlapped: num_workers 2 -> 6 for reads that wait
"""Two workers wait for seeks of a tape-like disk."""
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
        time.sleep(0.008)
        return torch.randn(3, 16, 16).flatten()


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Samples(), batch_size=6, num_workers=6 if FIXED else 2)
    model = nn.Sequential(nn.Linear(768, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 768))
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
