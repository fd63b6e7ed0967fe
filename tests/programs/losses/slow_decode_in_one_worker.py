"""One of four workers decodes slowly, and the loader gives batches out in order: `decode_image` is to blame."""

import time

from loop import Step, begin, lossy, train
from torch.utils.data import DataLoader, Dataset, get_worker_info
from work import forward

SLOW = 2


class Images(Dataset[int]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> int:
        info = get_worker_info()
        decode_image(0.12 if lossy() and info is not None and info.id == SLOW else 0.001)
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
    batches = iter(DataLoader(Images(), batch_size=1, num_workers=4, prefetch_factor=2))
    train(step)
