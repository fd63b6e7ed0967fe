"""Decoding in the main process becomes slow: `decode_image` is to blame."""

import time

from loop import Step, train
from work import forward


def decode_image(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        decode_image(0.06 if step.lossy else 0.002)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    train(step)
