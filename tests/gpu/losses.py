"""What the planted causes of training.py do: each takes its time in a function of its own, which blame should name."""

from __future__ import annotations

import gc
import io
import threading
import time

import numpy as np
from torch.utils.data import Dataset

from tests.gpu.planted import CauseName, Turn

LOST_S = 0.04  # what a cause takes from a step
NOISE = np.arange(4000.0)[::-1]


class Images(Dataset[int]):  # type: ignore[misc]
    def __init__(self, turns: tuple[Turn, ...]) -> None:
        self.turns = turns

    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> int:
        if on("workers", self.turns):
            decode_in_worker()
        return index


def on(name: CauseName, turns: tuple[Turn, ...]) -> bool:
    now_s = time.time()
    return any(turn.cause == name and turn.begin_s <= now_s < turn.end_s for turn in turns)


def decode_in_worker() -> None:
    until_s = time.thread_time() + 2 * LOST_S
    while time.thread_time() < until_s:
        np.sort(NOISE)


def decode_image() -> None:
    until_s = time.thread_time() + LOST_S
    while time.thread_time() < until_s:
        np.sort(NOISE)


def count_words(seconds: float = LOST_S) -> int:
    words, until_s = 0, time.thread_time() + seconds
    while time.thread_time() < until_s:
        for letter in "the quick brown fox jumps over the lazy dog":
            words += letter == " "
    return words


def write_log(file: io.StringIO) -> None:
    until_s = time.thread_time() + LOST_S
    while time.thread_time() < until_s:
        file.write("".join(f"tensor {i}: mean {i * 0.5:.4f}\n" for i in range(200)))
    file.seek(0)


def make_garbage(kept: list[list[int]]) -> None:
    if not kept:
        kept += [[i] for i in range(400_000)]
    gc.collect()


class Lock:
    """Held by a thread that writes, while the cause is on."""

    def __init__(self, turns: tuple[Turn, ...]) -> None:
        self._lock, self._turns = threading.Lock(), turns
        threading.Thread(target=self._write, name="cache", daemon=True).start()

    def take_turn(self) -> None:
        with self._lock:
            pass

    def _write(self) -> None:
        while True:
            if on("lock", self._turns):
                self.write_cache()
            time.sleep(0.002)

    def write_cache(self) -> None:
        with self._lock:
            time.sleep(LOST_S)


def tokenize_forever(turns: tuple[Turn, ...]) -> None:
    while True:
        if on("gil", turns):
            tokenize()
        else:
            time.sleep(0.005)


def tokenize() -> None:
    words = 0
    for letter in "the quick brown fox jumps over the lazy dog" * 500:
        words += letter == " "
