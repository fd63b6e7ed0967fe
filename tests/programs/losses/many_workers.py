"""Each rank has twelve workers that read for it; those of one rank become slow: rank 3's `read_shard` is to blame."""

import multiprocessing
import os
import queue
import time
from multiprocessing.queues import Queue

from loop import RANK, Step, begin, lossy, train
from work import forward

SLOW, WORKERS = 3, 12


def read_shard(seconds: float) -> None:
    time.sleep(seconds)


def work(wanted: "Queue[int]", done: "Queue[int]") -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            index = wanted.get(timeout=5)
        except queue.Empty:
            continue
        read_shard(1.2 if RANK == SLOW and lossy() else 0.005)
        done.put(index)


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        done.get()
    wanted.put(step.number)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    wanted: "Queue[int]" = multiprocessing.Queue()
    done: "Queue[int]" = multiprocessing.Queue()
    for _ in range(WORKERS):
        multiprocessing.Process(target=work, args=(wanted, done), daemon=True).start()
    for index in range(WORKERS):
        wanted.put(index)
    train(step)
