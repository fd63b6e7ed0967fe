# leak: _snapshot self.snapshots[self.step] = copy.deepcopy(self.model.state_dict())
"""A trainer class that takes snapshots of the weights to average them later."""
import copy

import torch
from torch import nn

from common import running


class Trainer:
    def __init__(self, model, lr=1e-3, every=5):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.every = every
        self.snapshots = {}
        self.step = 0

    def _snapshot(self):
        self.snapshots[self.step] = copy.deepcopy(self.model.state_dict())

    def training_step(self, batch):
        x, y = batch
        loss = nn.functional.cross_entropy(self.model(x), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def fit(self, batches):
        for batch in batches:
            self.training_step(batch)
            self.step += 1
            if self.step % self.every == 0:
                self._snapshot()


def toy_batches():
    centers = torch.randn(20, 128) * 2
    while running():
        y = torch.randint(0, 20, (1024,))
        yield centers[y] + torch.randn(1024, 128), y


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    Trainer(nn.Sequential(nn.Linear(128, 600), nn.ReLU(), nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 20))).fit(toy_batches())
