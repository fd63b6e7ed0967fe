# leak: watch samples.append(bytes([len(samples) % 256]) * 200_000)
"""A thread that watches and keeps what it saw, beside a healthy training with large temporary arrays."""

import os
import threading
import time

import numpy as np

samples = []


def watch():
    while True:
        state = sum(range(20_000))
        samples.append(bytes([len(samples) % 256]) * 200_000)
        time.sleep(0.02 + state * 0)


def train():
    batch = np.random.rand(1000, 1000)
    hidden = batch @ batch
    gradient = hidden * 0.5
    del hidden
    return gradient.sum()


threading.Thread(target=watch, daemon=True).start()
until_s = time.monotonic() + float(os.environ["SECONDS"])
while time.monotonic() < until_s:
    train()
