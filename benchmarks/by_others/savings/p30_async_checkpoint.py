# fix: write_weights, overlapped: a thread writes the copied weights while training goes on
"""Weights are sent to a slow archive every 15 steps."""
import io
import threading
import time

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def write_weights(weights):
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    time.sleep(buffer.tell() / 20e6)  # the archive takes 20 MB/s


class Archive:
    def __init__(self, background):
        self.background = background
        self.writer = None

    def keep(self, model):
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        if not self.background:
            write_weights(weights)
            return
        if self.writer is not None:
            self.writer.join()
        self.writer = threading.Thread(target=write_weights, args=(weights,), daemon=True)
        self.writer.start()


def main():
    model = nn.Sequential(nn.Linear(300, 600), nn.ReLU(), nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 300))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    archive = Archive(FIXED)
    loop = Loop()
    while loop.running():
        x = torch.randn(256, 300)
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loop.steps % 15 == 14:
            archive.keep(model)
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
