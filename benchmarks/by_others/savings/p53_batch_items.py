# fix: Samples.__getitem__, overlapped: num_workers 0 -> 2 of a data set whose items are whole batches
"""Items are batches already: batch_size=None."""
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
        rng = np.random.default_rng(index)
        rows = rng.standard_normal((256, 256))
        left, scale, right = np.linalg.svd(rows)
        return torch.from_numpy((left * np.clip(scale, 1, 5) @ right).astype(np.float32))


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Samples(), batch_size=None, num_workers=2 if FIXED else 0)
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 256))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loop = Loop()
    for x in loader:
        if not loop.running():
            break
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
