# fix: RemoteRows.__getitem__, overlapped: num_workers 0 -> 2
"""Rows come from a remote store, one request each."""
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop


class RemoteRows(Dataset):
    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        time.sleep(0.0015)  # request
        return torch.full((64,), index % 7 / 7.0) + 0.1 * torch.randn(64)


def main():
    torch.set_num_threads(1)
    loader = DataLoader(RemoteRows(), batch_size=16, num_workers=2 if FIXED else 0)
    model = nn.Sequential(nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 64))
    optimizer = torch.optim.Adam(model.parameters())
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
