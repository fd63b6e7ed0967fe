"""Garbage collections that nobody logs stop the loop in whichever of three innocent functions happens to allocate: none of them is to blame."""

import gc
from collections import deque

from loop import Step, train
from work import forward

HEAP = [[0] * 24_000_000]  # one object that takes long to look through
KEPT: deque[list[list[int]]] = deque(maxlen=24)


def read_rows() -> list[list[int]]:
    return [[i] for i in range(700)]


def pad_rows() -> list[list[int]]:
    return [[i, i] for i in range(600)]


def make_masks() -> list[list[int]]:
    return [[i, 0, 1] for i in range(500)]


def step(step: Step) -> None:
    gc.enable() if step.lossy else gc.disable()
    with step.clock.phase("data"), step.clock.lost():
        KEPT.extend((read_rows(), pad_rows(), make_masks()))
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    gc.collect()
    gc.set_threshold(701, 4, 4)
    train(step)
