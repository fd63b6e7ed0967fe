"""What is saved is whole, and what is not whole is refused in one sentence."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
import torch

from trainer import checkpoint, precision
from trainer.checkpoint import TrainingState
from trainer.errors import UserError
from trainer.models.gpt import GPT, Shape
from trainer.ranks import Ranks

CPU = torch.device("cpu")
ALONE = Ranks(rank=0, world_size=1, local_rank=0)


@pytest.fixture
def trained() -> TrainingState:
    model = GPT(Shape(layers=2, channels=16, heads=2, context=8, vocabulary=256))
    optimizer = torch.optim.AdamW(model.parameters())
    return TrainingState(model, optimizer, precision.choose("fp32", CPU).scaler(CPU), CPU)


def save(folder: Path, trained: TrainingState, step: int) -> Path:
    return checkpoint.save(folder, trained, step, position=10 * step, config={"task": "gpt"}, ranks=ALONE)


def test_a_save_that_fails_leaves_the_last_checkpoint_whole(tmp_path: Path, trained: TrainingState) -> None:
    path = save(tmp_path, trained, 7)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, limits[1]))
    try:
        with pytest.raises((OSError, RuntimeError)):
            save(tmp_path, trained, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    state = checkpoint.load(tmp_path)
    assert (state["step"], state["position"], state["config"]) == (7, 70, {"task": "gpt"})


def test_a_torn_checkpoint_is_refused_wherever_it_ends(tmp_path: Path, trained: TrainingState) -> None:
    path = save(tmp_path, trained, 7)
    whole = path.read_bytes()
    for share in range(100):
        path.write_bytes(whole[: len(whole) * share // 100])
        with pytest.raises(UserError, match="is not a whole checkpoint: delete it"):
            checkpoint.load(tmp_path)


def test_a_checkpoint_with_a_flipped_bit_is_refused_or_what_was_saved(tmp_path: Path, trained: TrainingState) -> None:
    path = save(tmp_path, trained, 7)
    whole = path.read_bytes()
    saved = checkpoint.load(tmp_path)["model"]
    refused = 0
    for share in range(1, 100):
        damaged = bytearray(whole)
        damaged[len(whole) * share // 100] ^= 0x10
        path.write_bytes(damaged)
        try:
            model = checkpoint.load(tmp_path)["model"]
        except UserError:
            refused += 1
        else:
            assert all(torch.equal(saved[name], value) for name, value in model.items()), "a flipped weight was taken"
    assert refused > 50


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 7}, tmp_path / checkpoint.NAME)
    with pytest.raises(UserError, match="of another version of this trainer"):
        checkpoint.load(tmp_path)


def test_random_numbers_go_on_where_they_were(tmp_path: Path, trained: TrainingState) -> None:
    torch.manual_seed(5)
    save(tmp_path, trained, 7)
    expected = torch.rand(3)
    torch.rand(100)
    checkpoint.restore(checkpoint.load(tmp_path), trained, ALONE)
    assert torch.equal(torch.rand(3), expected)
