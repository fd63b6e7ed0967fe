"""Another thread keeps a lock that every step takes: its `write_cache` is to blame, and `step` only waits."""

import threading
import time

from loop import Step, begin, lossy, train
from work import forward

CACHE_LOCK = threading.Lock()


def write_cache(seconds: float) -> None:
    with CACHE_LOCK:
        time.sleep(seconds)


def keep_cache() -> None:
    while True:
        write_cache(0.05 if lossy() else 0.001)
        time.sleep(0.003)


def step(step: Step) -> None:
    with step.clock.phase("data"):
        with step.clock.lost():
            CACHE_LOCK.acquire()
        CACHE_LOCK.release()
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    threading.Thread(target=keep_cache, name="cache", daemon=True).start()
    train(step)
