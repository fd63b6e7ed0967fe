# leak: step losses.append(loss)
"""A training that keeps each loss with its graph, as tensors of the last batch."""

import os
import time

import torch

model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 64))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
losses = []


def step(batch):
    output = model(batch)
    loss = (output - batch[:, :64]).square()
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()
    losses.append(loss)


until_s = time.monotonic() + float(os.environ["SECONDS"])
while time.monotonic() < until_s:
    batch = torch.randn(256, 256)
    step(batch)
    time.sleep(0.005)
