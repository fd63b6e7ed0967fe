# fix: decode, overlapped: num_workers 0 -> 2: batches are decoded in workers
"""Pictures stored as 8x8 cosine coefficients, decoded with numpy."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop

BASIS = np.cos(np.pi * (np.arange(8)[:, None] + 0.5) * np.arange(8)[None] / 8)


def decode(blocks):
    """Pictures of (8 n, 8 n) from (n, n, 8, 8) coefficients."""
    size = len(blocks)
    picture = np.empty((8 * size, 8 * size), np.float32)
    for row in range(size):
        for column in range(size):
            picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = BASIS @ blocks[row, column] @ BASIS.T
    return picture


class Coefficients(Dataset):
    def __init__(self):
        self.stored = np.random.default_rng(0).integers(-30, 30, (50, 8, 8, 8, 8)).astype(np.float32)

    def __len__(self):
        return 100_000

    def __getitem__(self, index):
        return torch.from_numpy(decode(self.stored[index % 50]) / 64.0)[None]


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Coefficients(), batch_size=32, num_workers=2 if FIXED else 0)
    model = nn.Sequential(nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 13 * 13, 50))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop(logs=False)
    for x in loader:
        if not loop.running():
            break
        loss = model(x).logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done()


if __name__ == "__main__":
    main()
