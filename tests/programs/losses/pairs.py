"""Six callers, each with a callee of its own that takes about 5 us (`TURNS=1000`: 50), in turn; at a loss `caller_3` is called much more often.

What a sampler says that mixes two moments is a callee below a caller that never calls it.
"""

import os
import time

from loop import Step, train
from work import forward

TURNS = int(os.environ.get("TURNS", "100"))


def callee_0(turns: int) -> None:
    while turns:
        turns -= 1


def caller_0(turns: int) -> None:
    callee_0(turns)


def callee_1(turns: int) -> None:
    while turns:
        turns -= 1


def caller_1(turns: int) -> None:
    callee_1(turns)


def callee_2(turns: int) -> None:
    while turns:
        turns -= 1


def caller_2(turns: int) -> None:
    callee_2(turns)


def callee_3(turns: int) -> None:
    while turns:
        turns -= 1


def caller_3(turns: int) -> None:
    callee_3(turns)


def callee_4(turns: int) -> None:
    while turns:
        turns -= 1


def caller_4(turns: int) -> None:
    callee_4(turns)


def callee_5(turns: int) -> None:
    while turns:
        turns -= 1


def caller_5(turns: int) -> None:
    callee_5(turns)


CALLERS = (caller_0, caller_1, caller_2, caller_3, caller_4, caller_5)


def call_all(seconds: float, often: int) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        for caller in CALLERS:
            caller(TURNS)
        for _ in range(often):
            caller_3(TURNS)


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        call_all(0.04 if step.lossy else 0.001, 100 if step.lossy else 0)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    train(step)
