"""A loop that is fed by two worker processes through a queue, and every 4 s starves for 4 s because they decode slowly.

Writes to the file that it is given, a line a phase: `<monotonic seconds> healthy|starved`.
"""

import multiprocessing
import sys
import time
from multiprocessing.queues import Queue
from pathlib import Path

PHASE_S = 4.0


def burn(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def decode_image() -> None:
    burn(0.06)


def read_small() -> None:
    time.sleep(0.002)


def work(feed: "Queue[int]", begun_s: float) -> None:
    while True:
        starved = int((time.monotonic() - begun_s) / PHASE_S) % 2
        decode_image() if starved else read_small()
        feed.put(1)


def train_step() -> None:
    burn(0.01)


def train(feed: "Queue[int]", truth: Path, begun_s: float) -> None:
    phase = -1
    with truth.open("w", buffering=1) as lines:
        while True:
            now_s = time.monotonic()
            if int((now_s - begun_s) / PHASE_S) != phase:
                phase = int((now_s - begun_s) / PHASE_S)
                lines.write(f"{now_s} {'starved' if phase % 2 else 'healthy'}\n")
            feed.get()
            train_step()


if __name__ == "__main__":
    begun_s = time.monotonic()
    feed: "Queue[int]" = multiprocessing.Queue(maxsize=2)
    for _ in range(2):
        multiprocessing.Process(target=work, args=(feed, begun_s), daemon=True).start()
    print("ready", flush=True)
    train(feed, Path(sys.argv[1]), begun_s)
