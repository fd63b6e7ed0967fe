"""Decoding in the worker of a PyTorch data loader becomes slow: `decode_image` is to blame, which the main process never runs."""

import time

from loop import Step, begin, lossy, train
from torch.utils.data import DataLoader, Dataset
from work import forward


class Images(Dataset[int]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> int:
        decode_image(0.06 if lossy() else 0.002)
        return index


def decode_image(seconds: float) -> None:
    until_s = time.thread_time() + seconds
    while time.thread_time() < until_s:
        pass


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        next(batches)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    batches = iter(DataLoader(Images(), batch_size=1, num_workers=1, prefetch_factor=2))
    train(step)
