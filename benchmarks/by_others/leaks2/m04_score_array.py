# leak: add self.values = np.concatenate([self.values, batch])
"""All scores of the training are kept for a calibration curve."""
import numpy as np
import torch
from torch import nn

from common import running

torch.set_num_threads(1)


class Scores:
    def __init__(self):
        self.values = np.empty((0, 16), np.float32)

    def add(self, probabilities):
        batch = probabilities.numpy()
        self.values = np.concatenate([self.values, batch])

    def latest(self, count=4096):
        return self.values[-count:].mean(axis=0)


def train():
    model = nn.Sequential(nn.Linear(100, 800), nn.Mish(), nn.Linear(800, 800), nn.Mish(), nn.Linear(800, 16))
    optimizer = torch.optim.AdamW(model.parameters())
    scores, recent = Scores(), []
    while running():
        x = torch.randn(600, 100)
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, x[:, :16].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scores.add(logits.detach().softmax(1))
        recent = [*recent[-50:], scores.latest()]


if __name__ == "__main__":
    train()
