# fix: Samples.__getitem__, overlapped: num_workers 0 -> 1
"""Wavelet-like features in the training process."""
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
        x = np.random.default_rng(index).standard_normal(4096)
        parts = []
        while len(x) > 64:
            low = (x[::2] + x[1::2]) / 2
            parts.append((x[::2] - x[1::2]) / 2)
            x = low
        order = np.sort(np.abs(np.concatenate(parts)))
        return torch.from_numpy(np.concatenate([x, order[::16]]).astype(np.float32))


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Samples(), batch_size=32, num_workers=1 if FIXED else 0)
    model = nn.Sequential(nn.Linear(316, 700), nn.ReLU(), nn.Linear(700, 700), nn.ReLU(), nn.Linear(700, 316))
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
