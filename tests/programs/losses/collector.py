"""Garbage collections stop the loop at lines that are innocent. The run logs them as events; with LOG_GC=0 in the environment it does not."""

import gc
import os
import time
from collections import deque

from loop import Step, train
from work import forward

HEAP = [[0] * 24_000_000]  # one object that takes long to look through
KEPT: deque[list[list[int]]] = deque(maxlen=8)
TOLD = os.environ.get("LOG_GC", "1") == "1"
begun_s = 0.0


def make_samples() -> list[list[int]]:
    return [[i] for i in range(1500)]


def step(step: Step) -> None:
    if step.number == 0 and TOLD:
        tell(step)
    gc.enable() if step.lossy else gc.disable()
    with step.clock.phase("data"), step.clock.lost():
        KEPT.append(make_samples())
    with step.clock.phase("forward"):
        forward()


def tell(step: Step) -> None:
    def collected(phase: str, info: dict[str, int]) -> None:
        global begun_s
        if phase == "start":
            begun_s = time.perf_counter()
        elif info["generation"] == 2:
            step.log.event("gc", seconds=time.perf_counter() - begun_s)

    gc.callbacks.append(collected)


if __name__ == "__main__":
    gc.collect()
    gc.set_threshold(700, 4, 4)
    train(step)
