"""A cache that every step asks begins to miss, one time in twelve, and sorts a table anew: `load_features` is to blame, no collector."""

import random
import time

from loop import Step, train
from work import forward

TABLE = [random.random() for _ in range(800_000)]


def load_features(miss: bool) -> float:
    until_s = time.thread_time() + 0.003
    while time.thread_time() < until_s:
        pass
    if miss:
        return sorted(TABLE)[0]
    return TABLE[0]


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        load_features(step.lossy and step.number % 12 == 0)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    train(step)
