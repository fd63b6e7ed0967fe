"""Every step prints to a pipe that is read slowly, and flushes: `show_progress` is to blame, which waits without using the CPU."""

import os
import time

from loop import Step, begin, lossy, train
from work import forward

READ_END, WRITE_END = os.pipe()
SCREEN = os.fdopen(WRITE_END, "w")
LINE = "=" * 16_000


def show_progress(step: int, lines: int) -> None:
    for _ in range(lines):
        print(f"\r{step} {LINE}", end="", file=SCREEN, flush=True)


def read_slowly() -> None:
    """In another process: as slow as a terminal over a poor line."""
    while os.read(READ_END, 16_384):
        time.sleep(0.015 if lossy() else 0.0)


def step(step: Step) -> None:
    with step.clock.phase("log"), step.clock.lost():
        show_progress(step.number, 4 if step.lossy else 1)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    if not os.fork():
        os.close(WRITE_END)
        read_slowly()
        os._exit(0)
    os.close(READ_END)
    train(step)
