# fix: Trainer.log_weights, removed: the weights' singular values are logged every 20 steps instead of every 2
"""Slow steps of some hundred milliseconds; singular values of the weights are logged."""
import torch
from torch import nn

from common import FIXED, Loop


class Trainer:
    def __init__(self, log_every):
        torch.set_num_threads(1)
        self.model = nn.Sequential(nn.Linear(400, 1200), nn.GELU(), nn.Linear(1200, 400))
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.log_every = log_every
        self.conditions = []

    def log_weights(self):
        for layer in (self.model[0], self.model[2]):
            values = torch.linalg.svdvals(layer.weight.detach())
            self.conditions.append((values[0] / values[-1]).item())

    def fit(self, loop):
        for step in loop:
            x = torch.randn(1500, 400)
            loss = (self.model(x) - x).pow(2).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if step % self.log_every == 0:
                self.log_weights()


if __name__ == "__main__":
    Trainer(20 if FIXED else 2).fit(Loop(logs=False))
