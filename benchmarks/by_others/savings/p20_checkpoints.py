# fix: save, removed: a checkpoint every 100 steps instead of every 10
"""Checkpoints of weights and optimizer."""
import os
import tempfile

import torch
from torch import nn

from common import FIXED, Loop

EVERY = 100 if FIXED else 10


def save(folder, step, model, optimizer):
    path = os.path.join(folder, f"checkpoint-{step % 3}.pt")
    torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, path + ".part")
    os.replace(path + ".part", path)


def main():
    torch.set_num_threads(1)
    model = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(600, 600), nn.GELU())])
    optimizer = torch.optim.AdamW(model.parameters())
    loop = Loop()
    with tempfile.TemporaryDirectory() as folder:
        while loop.running():
            x = torch.randn(64, 600)
            loss = (model(x) - x.sin()).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loop.steps % EVERY == EVERY - 1:
                save(folder, loop.steps, model, optimizer)
            loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
