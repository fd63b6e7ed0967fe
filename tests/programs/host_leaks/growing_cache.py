# leak: load decoded[index] = rng.normal(size=20_000)
"""A data set that keeps all that it has decoded, below an index that never comes back."""

import itertools
import os
import time

import numpy as np

rng = np.random.default_rng(1)
decoded = {}
weights = rng.normal(size=(400, 400))


def load(index):
    decoded[index] = rng.normal(size=20_000)
    noise = rng.normal(size=200_000)
    return noise[:160_000].reshape(400, 400)


def train(batch):
    hidden = weights @ batch
    hidden = np.tanh(hidden)
    return float(hidden.mean())


until_s = time.monotonic() + float(os.environ["SECONDS"])
for index in itertools.count():
    if time.monotonic() > until_s:
        break
    batch = load(index)
    train(batch)
    time.sleep(0.003)
