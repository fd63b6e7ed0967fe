# fix: Tracker.flush, removed: the tracker's flush no longer waits; the loader's wait for the store stays
"""Two slow services: samples from a store, metrics to a tracker."""
import time

from torch.utils.data import DataLoader, Dataset

import torch
from torch import nn

from common import FIXED, Loop


class Store(Dataset):
    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        time.sleep(0.001)
        return torch.randn(100)


class Tracker:
    def __init__(self):
        self.values = []

    def track(self, value):
        self.values.append(value)
        if len(self.values) == 10:
            self.flush()

    def flush(self):
        if not FIXED:
            time.sleep(0.3)
        self.values.clear()


def main():
    torch.set_num_threads(1)
    tracker = Tracker()
    model = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Linear(300, 100))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    for x in DataLoader(Store(), batch_size=10):
        if not loop.running():
            break
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.track(loss.item())
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
