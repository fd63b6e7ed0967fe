"""A tokenizer's merging becomes slow, in a method that the loop reaches through `partial` and `map`: `merge` is to blame."""

import time
from functools import partial
from itertools import pairwise

from loop import Step, train
from work import forward


class Tokenizer:
    def __init__(self) -> None:
        self.ranks = {chr(97 + i) + chr(97 + i // 2): i for i in range(26)}

    def encode(self, text: str, *, seconds: float) -> list[str]:
        return self.merge(list(text), seconds)

    def merge(self, pieces: list[str], seconds: float) -> list[str]:
        until_s = time.thread_time() + seconds
        while time.thread_time() < until_s:
            sorted(map("".join, pairwise(pieces)), key=self.ranks.__contains__)
        return pieces


TOKENIZER = Tokenizer()
TEXTS = ["the quick brown fox jumps over the lazy dog"] * 8


def step(step: Step) -> None:
    encode = partial(TOKENIZER.encode, seconds=0.006 if step.lossy else 0.0003)
    with step.clock.phase("data"), step.clock.lost():
        list(map(encode, TEXTS))
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    train(step)
