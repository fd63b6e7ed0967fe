"""Several ranks train one model: real processes, started by hand and by torchrun, that average their gradients over gloo."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from tests.conftest import wait_for
from tests.support.trainings import command, events_of, free_port, lines_of, train_here, training, values_of
from trainer.ranks import Ranks

STEPS = 4
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
RANKS = ("metrics.jsonl", "metrics.rank1.jsonl")


def torchrun(folder: Path, *flags: str) -> None:
    """Its own flags end at the `--`: else it would take our --run for its --run-path."""
    with command(
        folder, sys.executable, *TORCHRUN, "--master-port", free_port(), "-m", "--", "trainer", *flags
    ) as process:
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors


@pytest.mark.long
def test_two_ranks_learn_what_one_learns_from_as_many_samples(tmp_path: Path) -> None:
    flags = ("--steps", str(STEPS), "--task", "gpt")
    torchrun(tmp_path, "--run", "two", "--batch", "2", "--accumulate", "2", *flags)
    assert train_here(tmp_path, "--run", "one", "--batch", "8", *flags) == 0
    assert train_here(tmp_path, "--run", "parts", "--batch", "2", "--accumulate", "4", *flags) == 0
    losses = [values_of(tmp_path, "two", "train/loss", file) for file in RANKS]
    assert losses[0] != losses[1], "each has samples of its own"
    for step, loss in values_of(tmp_path, "one", "train/loss").items():
        assert (losses[0][step] + losses[1][step]) / 2 == pytest.approx(loss, rel=1e-3)
        assert values_of(tmp_path, "parts", "train/loss")[step] == pytest.approx(loss, rel=1e-3)
    norms = [values_of(tmp_path, "two", "train/grad_norm", file) for file in RANKS]
    assert norms[0] == norms[1], "gradients are averaged over the ranks"
    assert norms[0][0] == pytest.approx(values_of(tmp_path, "one", "train/grad_norm")[0], rel=1e-3)
    val_losses = [values_of(tmp_path, run, "val/loss")[STEPS - 1] for run in ("two", "one", "parts")]
    assert val_losses == pytest.approx([val_losses[0]] * 3, rel=1e-3)


def test_two_ranks_are_one_run_and_stop_together(tmp_path: Path) -> None:
    flags, port = ("--run", "two", "--batch", "2"), free_port()
    with (
        training(tmp_path, *flags, RANK="0", WORLD_SIZE="2", MASTER_PORT=port) as one,
        training(tmp_path, *flags, RANK="1", WORLD_SIZE="2", MASTER_PORT=port) as two,
    ):
        wait_for(lambda: len(lines_of(tmp_path, "two")) > 3)
        two.send_signal(signal.SIGTERM)
        assert (one.wait(20), two.wait(20)) == (0, 0)
    assert len(events_of(tmp_path, "two", "checkpoint")) == 1
    assert {event["reason"] for event in events_of(tmp_path, "two", "end")} == {
        "stopped by SIGTERM",
        "stopped with another rank",
    }


@pytest.mark.long
def test_a_torchrun_that_is_stopped_goes_on_bit_for_bit_each_rank_with_its_own_dropout(tmp_path: Path) -> None:
    flags = ("--task", "bert", "--batch", "2", "--steps", "60")
    torchrun(tmp_path, "--run", "whole", *flags)
    with command(
        tmp_path,
        sys.executable,
        *TORCHRUN,
        "--master-port",
        free_port(),
        "-m",
        "--",
        "trainer",
        "--run",
        "parts",
        *flags,
    ) as agent:
        wait_for(lambda: len(lines_of(tmp_path, "parts")) > 3)
        agent.send_signal(signal.SIGTERM)  # it hands it on to the ranks
        agent.communicate(timeout=60)
    assert 3 < len(values_of(tmp_path, "parts", "train/loss")) < 60
    torchrun(tmp_path, "--run", "parts", "--resume")
    for file in RANKS:
        assert values_of(tmp_path, "parts", "train/loss", file) == values_of(tmp_path, "whole", "train/loss", file)


@pytest.fixture
def process_group() -> Iterator[None]:
    """Of this process alone."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_gradients_travel_with_the_last_micro_batch_only() -> None:
    travelled = []

    def hook(state, bucket):  # type: ignore[no-untyped-def]  # PyTorch compares annotations with its own
        travelled.append(micro_batch)
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    ranks = Ranks(rank=0, world_size=2, local_rank=0)
    shared = ranks.share(nn.Linear(2, 1))
    shared.register_comm_hook(None, hook)
    for micro_batch in range(3):
        with ranks.averaging(shared, last=micro_batch == 2):
            shared(torch.ones(1, 2)).sum().backward()
    assert travelled == [2]
