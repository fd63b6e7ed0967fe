# healthy
"""A cache that fills up in half a minute, and then answers."""

import itertools
import os
import time
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=400)
def item(index):
    return np.random.rand(50_000)


def train(batch):
    return np.tanh(batch).sum()


until_s = time.monotonic() + float(os.environ["SECONDS"])
for step in itertools.count():
    if time.monotonic() > until_s:
        break
    train(item(step // 4 % 400))
    time.sleep(0.015)
