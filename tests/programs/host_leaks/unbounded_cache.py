# leak: features return np.repeat(np.random.rand(100), 300)
"""A function with a cache without a bound, whose argument never comes back; beside it a log of numbers, which is no leak to speak of."""

import itertools
import os
import time
from functools import cache

import numpy as np

history = []


@cache
def features(index):
    return np.repeat(np.random.rand(100), 300)


def train(batch):
    loss = 0.0
    for _ in range(20):
        loss += float(np.tanh(batch).sum())
    history.append(float(loss))
    return loss


until_s = time.monotonic() + float(os.environ["SECONDS"])
for step in itertools.count():
    if time.monotonic() > until_s:
        break
    train(features(step))
    time.sleep(0.005)
