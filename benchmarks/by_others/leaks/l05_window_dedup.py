# leak: _is_new self.known[digest] = window.tobytes()
"""Windows of a long signal, read by two loader workers that leave out repeated ones."""
import hashlib

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from common import open_log, running


class WindowStream(IterableDataset):
    def __init__(self, length=10_000):
        self.length = length
        self.known = {}

    def _is_new(self, window):
        digest = hashlib.sha1(window).hexdigest()
        if digest in self.known:
            return False
        self.known[digest] = window.tobytes()
        return True

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng(info.id if info else 0)
        phase = 0.0
        while True:
            phase += rng.random()
            window = np.sin(np.linspace(phase, phase + 60, self.length)).astype(np.float32)
            window += rng.standard_normal(self.length, dtype=np.float32) * 0.1
            if self._is_new(window):
                yield torch.from_numpy(window)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv1d(1, 64, 16, stride=4), nn.ReLU(), nn.Conv1d(64, 128, 8, stride=2), nn.ReLU(),
            nn.Conv1d(128, 64, 8, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(8), nn.Flatten(), nn.Linear(512, 1)
        )

    def forward(self, signal):
        return self.down(signal.unsqueeze(1)).squeeze(1)


def main():
    torch.set_num_threads(1)
    loader = DataLoader(WindowStream(), batch_size=8, num_workers=2, prefetch_factor=2)
    model = Encoder()
    optimizer = torch.optim.Adam(model.parameters())
    with open_log() as log:
        for step, signal in enumerate(loader):
            if not running():
                break
            loss = nn.functional.mse_loss(model(signal), signal.std(dim=1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.scalars(step, {"loss": loss.item()})


if __name__ == "__main__":
    main()
