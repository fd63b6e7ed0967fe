"""Two of three workers augment slowly: `jitter` is to blame, which runs only there."""

import time

from loop import Step, begin, lossy, train
from torch.utils.data import DataLoader, Dataset, get_worker_info
from work import compute, forward

SLOW = (0, 2)


def crop(index: int) -> int:
    compute(0.002)
    return index


def jitter(index: int) -> int:
    until_s = time.thread_time() + 0.1
    while time.thread_time() < until_s:
        pass
    return index


class Images(Dataset[int]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> int:
        info = get_worker_info()
        cropped = crop(index)
        return jitter(cropped) if lossy() and info is not None and info.id in SLOW else cropped


def step(step: Step) -> None:
    with step.clock.phase("data"), step.clock.lost():
        next(batches)
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    begin()
    batches = iter(DataLoader(Images(), batch_size=1, num_workers=3, prefetch_factor=2))
    train(step)
