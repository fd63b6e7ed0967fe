# fix: Samples.__getitem__, other: worker count 1 -> 2 where the step takes both cores: little is gained
"""One worker beside a step with two threads."""
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
        x = np.random.default_rng(index).standard_normal(6000)
        return torch.from_numpy(np.abs(np.fft.rfft(x))[:500].astype(np.float32))


def main():
    torch.manual_seed(0)
    loader = DataLoader(Samples(), batch_size=32, num_workers=2 if FIXED else 1)
    model = nn.Sequential(nn.Linear(500, 1500), nn.ReLU(), nn.Linear(1500, 1500), nn.ReLU(), nn.Linear(1500, 500))
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
