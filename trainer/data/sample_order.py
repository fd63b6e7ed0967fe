"""The order of samples: a training's place in its data is one number, the samples that all its ranks have drawn."""

from __future__ import annotations

import random
import signal
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..stop import SIGNALS

Batch: TypeAlias = tuple[Tensor, Tensor]  # inputs and targets


class Place(NamedTuple):
    sample: int  # its number in its data set
    key: str  # seeds whatever is random in it, so that neither batch, workers nor ranks change a sample

    def random(self) -> random.Random:
        return random.Random(self.key)


class Data(Protocol):
    """Samples that depend only on their place."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: Place) -> Batch: ...


@dataclass(frozen=True)
class ShuffledPlaces:
    """Endless places, in a new order each epoch; each of several ranks draws its share."""

    samples: int
    seed: int
    position: int = 0  # samples that all ranks drew before
    rank: int = 0
    world_size: int = 1

    def __iter__(self) -> Iterator[Place]:
        epoch, order = -1, torch.empty(0)
        for draw in count(self.position + self.rank, self.world_size):
            if draw // self.samples != epoch:
                epoch = draw // self.samples
                generator = torch.Generator().manual_seed(random.Random(f"{self.seed}/epoch {epoch}").getrandbits(32))
                order = torch.randperm(self.samples, generator=generator)
            yield Place(int(order[draw % self.samples]), f"{self.seed}/{draw}")


def batches(
    data: Data, places: Iterable[Place], batch: int, workers: int = 0, prefetch: int = 2, pin: bool = False
) -> Generator[Batch, None, None]:
    """Batches in the order of the places. Workers are child processes that each stay `prefetch` batches ahead; close() ends them."""
    yield from DataLoader(
        data,
        batch,
        sampler=places,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_leave_signals_to_the_parent,
        pin_memory=pin,
        generator=torch.Generator(),  # of a seed that nothing here uses: else it would be drawn from the training's own generator
    )


def held_out(data: Data, samples: int, batch: int, rank: int = 0, world_size: int = 1) -> list[Batch]:
    """The same samples every time, spread evenly over the data; of several ranks each takes its share, at least one."""
    samples = max(samples, world_size)
    places = [Place(number * len(data) // samples, f"held out/{number}") for number in range(rank, samples, world_size)]
    return list(batches(data, places, batch))


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C, torchrun and batch systems signal whole groups: the parent still needs its workers for its last step."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
