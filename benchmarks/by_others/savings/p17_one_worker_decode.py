# fix: Spectrograms.__getitem__, overlapped: num_workers 1 -> 2
"""Log spectrograms made on the fly by loader workers."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop

torch.set_num_threads(1)


class Spectrograms(Dataset):
    def __len__(self):
        return 100_000

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        signal = rng.standard_normal(12_000)
        frames = np.lib.stride_tricks.sliding_window_view(signal, 400)[::160] * np.hanning(400)
        power = np.abs(np.fft.rfft(frames)) ** 2
        return torch.from_numpy(np.log1p(power).astype(np.float32)), index % 5


def main():
    loader = DataLoader(Spectrograms(), batch_size=16, num_workers=2 if FIXED else 1)
    model = nn.Sequential(nn.Linear(201, 128), nn.ReLU(), nn.Linear(128, 5))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    for x, y in loader:
        if not loop.running():
            break
        loss = nn.functional.cross_entropy(model(x).mean(1), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
