# fix: Signals.__getitem__, other: the filter in the two workers is removed, but the training step sets the pace
"""A heavy step with two loader workers that filter signals."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop

torch.set_num_threads(1)


class Signals(Dataset):
    def __len__(self):
        return 100_000

    def __getitem__(self, index):
        signal = np.random.default_rng(index).standard_normal(2048).astype(np.float32)
        if not FIXED:
            signal = np.convolve(signal, np.hanning(15), mode="same").astype(np.float32)
        return torch.from_numpy(signal)


def main():
    loader = DataLoader(Signals(), batch_size=8, num_workers=2)
    model = nn.Sequential(nn.Linear(2048, 2000), nn.ReLU(), nn.Linear(2000, 2000), nn.ReLU(), nn.Linear(2000, 2048))
    optimizer = torch.optim.Adam(model.parameters())
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
