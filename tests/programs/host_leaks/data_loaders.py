# healthy
"""A training with a worker, a queue of batches, lists that are emptied each epoch, and a log of numbers."""

import os
import time

import torch
from torch.utils.data import DataLoader, TensorDataset


def main():
    until_s = time.monotonic() + float(os.environ["SECONDS"])
    model, history = torch.nn.Linear(64, 8), []
    data = TensorDataset(torch.randn(2000, 64))
    while time.monotonic() < until_s:
        outputs = []
        for (batch,) in DataLoader(data, batch_size=100, num_workers=1):
            outputs.append(model(batch).detach())
            time.sleep(0.01)
        history.append(float(torch.cat(outputs).mean()))


if __name__ == "__main__":
    main()
