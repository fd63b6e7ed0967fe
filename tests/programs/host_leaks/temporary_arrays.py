# healthy
"""Large arrays each step, of changing size, none of which is kept."""

import os
import time

import numpy as np

rng = np.random.default_rng(1)


def load():
    rows = int(rng.integers(100, 2000))
    return rng.normal(size=(rows, 500))


def train(batch):
    hidden = np.tanh(batch)
    return hidden.sum()


until_s = time.monotonic() + float(os.environ["SECONDS"])
while time.monotonic() < until_s:
    train(load())
    time.sleep(0.002)
