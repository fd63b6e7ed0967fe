# fix: Patches.__getitem__, other: num_workers 2 -> 4 on two cores that are already busy gives nothing
"""Loader workers that keep both cores busy."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop

torch.set_num_threads(1)


class Patches(Dataset):
    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        picture = rng.standard_normal((96, 96))
        blurred = np.fft.irfft2(np.fft.rfft2(picture) * np.exp(-np.arange(49) / 20.0), s=(96, 96))
        edges = np.hypot(*np.gradient(blurred))
        return torch.from_numpy(np.stack([blurred, edges]).astype(np.float32))


def main():
    loader = DataLoader(Patches(), batch_size=32, num_workers=4 if FIXED else 2)
    model = nn.Sequential(nn.Conv2d(2, 8, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 23 * 23, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loop = Loop()
    for x in loader:
        if not loop.running():
            break
        loss = model(x).logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
