# fix: FeatureStore.read, removed: a busy read is tried again at once instead of after a sleep
"""Features come from a store that is busy for one read in three."""
import random
import time

import numpy as np
import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Busy(Exception):
    pass


class FeatureStore:
    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.chance = random.Random(seed)

    def _read_once(self, rows):
        if self.chance.random() < 0.33:
            raise Busy
        return self.rng.standard_normal((rows, 200), dtype=np.float32)

    def read(self, rows):
        pause = 0.02
        while True:
            try:
                return torch.from_numpy(self._read_once(rows))
            except Busy:
                if not FIXED:
                    time.sleep(pause)
                    pause *= 2


def main():
    store = FeatureStore()
    model = nn.Sequential(nn.Linear(200, 400), nn.SiLU(), nn.Linear(400, 400), nn.SiLU(), nn.Linear(400, 1))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    while loop.running():
        x = store.read(256)
        loss = (model(x).squeeze(1) - x.sum(1)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(**{"train/loss": loss.item()})


if __name__ == "__main__":
    main()
