"""Which sample comes when: exactly the same whether the loader is resumed, has workers, or shares its work with other ranks."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from tests.conftest import wait_for
from tests.support.trainings import lines_of, train_here, training, values_of
from trainer.data.sample_order import Place, ShuffledPlaces, batches, held_out


class Numbers:
    """A sample is its own number, and one at random."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, place: Place) -> tuple[Tensor, Tensor]:
        return torch.tensor(place.sample), torch.tensor(place.random().randrange(1000))


def drawn(batch: int, count: int, workers: int = 0, **where: int) -> list[tuple[int, int]]:
    """The first samples of that many batches."""
    loader = batches(Numbers(), ShuffledPlaces(10, seed=3, **where), batch, workers)
    taken = [
        (int(one), int(other))
        for inputs, targets in islice(loader, count)
        for one, other in zip(inputs, targets, strict=True)
    ]
    loader.close()
    return taken


def test_each_epoch_holds_every_sample_once_in_an_order_of_its_own() -> None:
    samples = [sample for sample, _ in drawn(5, 6)]
    epochs = [samples[first : first + 10] for first in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert samples != [place.sample for place in islice(ShuffledPlaces(10, seed=4), 30)]


@pytest.mark.parametrize("position", [0, 1, 9, 10, 25])
def test_it_goes_on_from_any_position(position: int) -> None:
    assert drawn(1, 10, position=position) == drawn(1, 10 + position)[position:]


def test_neither_the_batch_nor_workers_nor_ranks_change_a_sample() -> None:
    whole = drawn(4, 6)
    assert drawn(2, 12) == whole
    assert drawn(4, 6, workers=2) == whole
    shares = [drawn(4, 3, rank=rank, world_size=2) for rank in range(2)]
    assert [sample for pair in zip(*shares, strict=True) for sample in pair] == whole


def test_loading_leaves_the_trainings_own_generator_alone() -> None:
    before = torch.get_rng_state()
    drawn(2, 3)
    drawn(2, 3, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_held_out_samples_are_the_same_every_time_and_shared_by_the_ranks() -> None:
    whole = held_out(Numbers(), samples=5, batch=5)[0]
    assert whole[0].tolist() == [0, 2, 4, 6, 8]
    assert torch.equal(held_out(Numbers(), samples=5, batch=5)[0][1], whole[1])
    assert [held_out(Numbers(), 5, 5, rank, 2)[0][0].tolist() for rank in range(2)] == [[0, 4, 8], [2, 6]]
    assert all(held_out(Numbers(), 2, 5, rank, world_size=3) for rank in range(3)), (
        "each rank has something to validate on"
    )


def test_workers_change_nothing_and_end_with_the_training(tmp_path: Path) -> None:
    flags = ("--steps", "3", "--task", "resnet50", "--batch", "2")
    before = psutil.Process().children()
    assert train_here(tmp_path, "--run", "without", *flags) == 0
    assert train_here(tmp_path, "--run", "with", *flags, "--workers", "2", "--prefetch", "3") == 0
    assert psutil.Process().children() == before
    assert values_of(tmp_path, "with", "train/loss") == values_of(tmp_path, "without", "train/loss")


def test_a_signal_to_the_whole_group_stops_at_the_end_of_a_step_and_leaves_no_worker(tmp_path: Path) -> None:
    """So do Ctrl-C, torchrun and batch systems."""
    with training(tmp_path, "--run", "group", "--task", "resnet50", "--batch", "2", "--workers", "2") as process:
        wait_for(lambda: len(lines_of(tmp_path, "group")) > 3)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        for child in children:
            child.terminate()
        process.terminate()
        assert process.wait(60) == 0
    wait_for(lambda: not any(child.is_running() for child in children))
    assert [event["kind"] for event in lines_of(tmp_path, "group", "events.jsonl")][-2:] == ["checkpoint", "end"]
