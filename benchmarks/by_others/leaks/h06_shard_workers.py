# healthy: two persistent loader workers, each with a cache of the last 12 shards of 4 MB
from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import running


class Shards(Dataset):
    """Rows of 200 shards; the last shards read stay in memory."""

    rows = 1000

    def __init__(self, keep=12):
        self.keep = keep
        self.open = OrderedDict()

    def __len__(self):
        return 200 * self.rows

    def _shard(self, number):
        if number in self.open:
            self.open.move_to_end(number)
        else:
            self.open[number] = np.random.default_rng(number).standard_normal((self.rows, 1024), dtype=np.float32)
            while len(self.open) > self.keep:
                self.open.popitem(last=False)
        return self.open[number]

    def __getitem__(self, index):
        return torch.from_numpy(self._shard(index // self.rows)[index % self.rows])


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Shards(), batch_size=128, num_workers=2, persistent_workers=True)
    model = nn.Sequential(nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 1024))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    while running():
        for rows in loader:
            if not running():
                break
            loss = (model(rows) - rows).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
