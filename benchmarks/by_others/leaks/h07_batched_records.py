# healthy: per-sample records collect in a list that is written out and emptied every 300 steps
import json
import os
import tempfile

import torch
from torch import nn

from common import open_log, running

torch.set_num_threads(1)


class SampleRecords:
    def __init__(self, folder, every=300):
        self.path = os.path.join(folder, "samples.jsonl")
        self.every = every
        self.rows = []

    def add(self, step, losses):
        for number, value in enumerate(losses.tolist()):
            self.rows.append({"step": step, "sample": number, "loss": value})
        if step % self.every == self.every - 1:
            self.write()

    def write(self):
        with open(self.path, "w") as file:
            for row in self.rows:
                file.write(json.dumps(row) + "\n")
        self.rows = []


def main():
    model = nn.Sequential(nn.Linear(32, 300), nn.ELU(), nn.Linear(300, 300), nn.ELU(), nn.Linear(300, 1))
    optimizer = torch.optim.Adam(model.parameters())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, open_log() as log:
        records = SampleRecords(folder)
        step = 0
        while running():
            x = torch.randn(256, 32)
            losses = (model(x).squeeze(1) - x.norm(dim=1)).pow(2)
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            records.add(step, losses.detach())
            log.scalars(step, {"loss": losses.mean().item()})
            step += 1


if __name__ == "__main__":
    main()
