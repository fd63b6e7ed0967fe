# fix: train, other: the convolutions are the cost; the fix drops a cheap progress line and gives nothing
"""An image autoencoder; nearly all time is spent in convolutions."""
import io

import torch
from torch import nn

from common import FIXED, Loop


def progress(out, step, loss):
    out.write(f"{step} {loss:.4f}\n")


def train():
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1),
    )
    optimizer = torch.optim.Adam(model.parameters())
    out = io.StringIO()
    loop = Loop()
    while loop.running():
        x = torch.rand(16, 3, 64, 64)
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not FIXED:
            progress(out, loop.steps, loss.item())
        loop.done(loss=loss.item())


if __name__ == "__main__":
    train()
