"""Putting a batch together in the worker becomes slow: `pad_batch` is to blame."""

import time

from loop import Step, begin, lossy, train
from torch.utils.data import DataLoader, Dataset
from work import compute, forward


class Texts(Dataset[int]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> int:
        compute(0.0005)
        return index


def pad_batch(batch: list[int]) -> list[int]:
    until_s = time.thread_time() + (0.05 if lossy() else 0.001)
    while time.thread_time() < until_s:
        pass
    return batch


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        next(batches)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    batches = iter(DataLoader(Texts(), batch_size=4, num_workers=1, prefetch_factor=2, collate_fn=pad_batch))
    train(step)
