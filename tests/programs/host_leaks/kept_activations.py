# leak: keep activations.append(output)
"""A hook that keeps what a layer gives, and two lists that are emptied."""

import os
import time
from collections import deque

import torch

model = torch.nn.Sequential(torch.nn.Linear(128, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
activations, newest = [], deque(maxlen=50)


def keep(module, inputs, output):
    activations.append(output)


def main():
    model[0].register_forward_hook(keep)
    until_s = time.monotonic() + float(os.environ["SECONDS"])
    rows = []
    while time.monotonic() < until_s:
        batch = torch.randn(64, 128)
        rows.append(batch)
        if len(rows) == 20:
            rows = []
        output = model(batch)
        newest.append(output.detach())
        output.square().mean().backward()
        time.sleep(0.01)


main()
