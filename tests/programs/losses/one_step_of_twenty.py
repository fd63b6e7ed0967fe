"""One step of twenty is slow: `rebuild_index` is to blame."""

import time

from loop import Step, train
from work import forward


def rebuild_index(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        if step.lossy and step.number % 20 == 0:
            rebuild_index(0.25)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    train(step)
