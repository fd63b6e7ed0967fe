"""A data set's `__getitem__` asks numpy for ever more, in a loader's worker: `__getitem__` is to blame, inside numpy's sort."""

import time

import numpy as np
from loop import Step, begin, lossy, train
from torch.utils.data import DataLoader, Dataset
from work import forward

NOISE = np.random.default_rng(0).random(20_000)


class Signals(Dataset[float]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> float:
        until_s = time.thread_time() + (0.05 if lossy() else 0.002)
        largest = 0.0
        while time.thread_time() < until_s:
            largest = float(np.sort(NOISE)[-1])
        return largest


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        next(batches)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    batches = iter(DataLoader(Signals(), batch_size=1, num_workers=1, prefetch_factor=2))
    train(step)
