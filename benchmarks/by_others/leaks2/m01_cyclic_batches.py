# leak: __init__ self.samples = [Sample(self, row) for row in rows]
"""Automatic garbage collection is switched off, as advised for steady step times."""
import gc

import torch
from torch import nn

from common import open_log, running

torch.set_num_threads(1)


class Sample:
    def __init__(self, batch, row):
        self.batch = batch
        self.row = row

    def position(self):
        return self.batch.samples.index(self)


class Batch:
    def __init__(self, rows):
        rows = rows + 0.01 * torch.randn_like(rows)
        self.samples = [Sample(self, row) for row in rows]

    def stacked(self):
        return torch.stack([sample.row for sample in self.samples])


def main():
    gc.disable()
    model = nn.Sequential(nn.Linear(300, 700), nn.ReLU(), nn.Linear(700, 700), nn.ReLU(), nn.Linear(700, 300))
    optimizer = torch.optim.Adam(model.parameters())
    step = 0
    with open_log() as log:
        while running():
            x = Batch(torch.randn(64, 300)).stacked().repeat(4, 1)
            loss = (model(x) - x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.scalars(step, {"loss": loss.item()})
            step += 1


if __name__ == "__main__":
    main()
