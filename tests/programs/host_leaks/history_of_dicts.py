# leak: log_step history.append({"step": step, "values": [step + i * 0.5 for i in range(300)]})
"""A log in memory, of small Python objects: about 10 KB a step."""

import itertools
import os
import time

import numpy as np

history = []
weights = np.ones((300, 300))


def forward(batch):
    hidden = weights @ batch
    for _ in range(3):
        hidden = np.tanh(weights @ hidden)
    return hidden


def log_step(step):
    history.append({"step": step, "values": [step + i * 0.5 for i in range(300)]})


until_s = time.monotonic() + float(os.environ["SECONDS"])
for step in itertools.count():
    if time.monotonic() > until_s:
        break
    batch = np.random.rand(300, 300)
    forward(batch)
    log_step(step)
    time.sleep(0.002)
