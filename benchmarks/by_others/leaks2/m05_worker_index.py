# leak: __getitem__ self.offsets[(self.reads, index)] = features
"""Records with features that each loader worker wants to compute only once."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import open_log, running


class Records(Dataset):
    def __init__(self):
        self.base = np.random.default_rng(2).standard_normal((500, 2000)).astype(np.float32)
        self.offsets = {}
        self.reads = 0

    def __len__(self):
        return 500

    def __getitem__(self, index):
        self.reads += 1
        if (self.reads, index) not in self.offsets:
            features = np.sort(self.base[index] * np.float32(1 + 0.01 * np.random.randn()))
            self.offsets[(self.reads, index)] = features
        return torch.from_numpy(self.offsets[(self.reads, index)]), index % 10


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Records(), batch_size=10, shuffle=True, num_workers=1, persistent_workers=True)
    model = nn.Sequential(nn.Linear(2000, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    step = 0
    with open_log() as log:
        while running():
            for x, y in loader:
                if not running():
                    break
                loss = nn.functional.cross_entropy(model(x.repeat(20, 1)), y.repeat(20))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                log.scalars(step, {"loss": loss.item()})
                step += 1


if __name__ == "__main__":
    main()
