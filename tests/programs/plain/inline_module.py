"""A script without a function, which waits now and then for a disk that it shares."""

import json
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.05

torch.set_num_threads(1)
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
log = (folder / "metrics.jsonl").open("a")
for step in range(1_000_000):
    inputs, targets = torch.randn(64, 256), torch.randint(0, 10, (64,))
    loss = nn.functional.cross_entropy(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    sum(value * value for value in range(200_000))  # its metrics, in Python
    time.sleep(0.034)  # as if a GPU worked
    with slowed(UNIT_S) as extra_s:
        time.sleep(0.002 + extra_s)  # as long as the disk takes
    log.write(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}) + "\n")
    log.flush()
