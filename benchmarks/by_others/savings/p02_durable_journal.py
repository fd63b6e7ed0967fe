# fix: Journal.append, removed: lines are flushed to the kernel but no longer forced to the disk with fsync
"""A training with a journal of its own that survives power cuts."""
import json
import os
import tempfile

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Journal:
    def __init__(self, folder):
        self.file = open(os.path.join(folder, "journal.jsonl"), "a")

    def append(self, **entry):
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        if not FIXED:
            os.fsync(self.file.fileno())


def main():
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256))
    optimizer = torch.optim.AdamW(model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(folder)
        loop = Loop(logs=False)
        for step in loop:
            x = torch.randn(256, 256)
            loss = (model(x) - x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            journal.append(step=step, loss=loss.item())


if __name__ == "__main__":
    main()
