# fix: Settings.snapshot, removed: the settings are read, not copied with copy.deepcopy, for each step
"""A settings object with schedules, of which each step gets a copy of its own."""
import copy

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Settings:
    def __init__(self):
        self.rates = [{"step": n, "lr": 1e-3 * 0.999**n} for n in range(2500)]
        self.name = "base"

    def snapshot(self):
        return self if FIXED else copy.deepcopy(self)

    def rate(self, step):
        return self.rates[min(step, len(self.rates) - 1)]["lr"]


class Trainer:
    def __init__(self):
        self.settings = Settings()
        self.model = nn.Sequential(nn.Linear(80, 320), nn.ReLU(), nn.Linear(320, 80))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)

    def train_step(self, step):
        settings = self.settings.snapshot()
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate(step)
        x = torch.randn(400, 80)
        loss = (self.model(x) - x).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


if __name__ == "__main__":
    trainer, loop = Trainer(), Loop(logs=False)
    while loop.running():
        trainer.train_step(loop.steps)
        loop.done()
