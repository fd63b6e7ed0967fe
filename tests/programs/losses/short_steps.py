"""Steps of 5 ms become steps of 8 ms: `normalize` is to blame."""

import time

from loop import Step, train


def normalize(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        normalize(0.003 if step.lossy else 0.0001)
    with step.clock.phase("forward"):
        time.sleep(0.0046)


if __name__ == "__main__":
    train(step)
