"""Threads of the same process compute in Python beside the main thread: their `tokenize` is to blame, not what the main thread does."""

import threading
import time

from loop import Step, begin, lossy, train

THREADS = 2


def tokenize() -> None:
    words = 0
    while lossy():
        for letter in "the quick brown fox jumps over the lazy dog" * 20:
            words += letter == " "


def work() -> None:
    while True:
        tokenize()
        time.sleep(0.02)


def forward() -> float:
    total = 0.0
    for i in range(150_000):
        total += i * 0.5
    return total


def step(step: Step) -> None:
    with step.clock.phase("forward"), step.clock.lost():
        forward()


if __name__ == "__main__":
    begin()
    for i in range(THREADS):
        threading.Thread(target=work, name=f"tokenizer-{i}", daemon=True).start()
    train(step)
