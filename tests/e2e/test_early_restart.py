"""Of a text and another file of the run, the same one has the numbers after a restart of the collector."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from collectors.logs.run import WRITES_S
from tests.support.following import Follower, points_of, until

Found = list[tuple[str, int | None, str]]


def wait(follower: Follower, seconds: float) -> None:
    at_s = time.monotonic() + seconds
    until(follower, lambda: time.monotonic() > at_s)


def found(follower: Follower) -> Found:
    return sorted(
        (name, one.step, dict(one.labels).get("source", "file"))
        for one in points_of(follower.records)
        for name in one.names
        if not name.startswith("progress/")
    )


def add(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def write(run: Path, name: str, step: int) -> None:
    """A step in the text, and then in the other file."""
    add(run / "train.log", f"step {step} loss {2 / (step + 1):.4f}\n")
    if name.endswith(".csv"):
        add(run / name, ("" if step else "step,loss\n") + f"{step},{2 / (step + 1):.4f}\n")
    else:
        add(run / name, json.dumps({"step": step, "loss": 2 / (step + 1)}) + "\n")


@pytest.mark.parametrize("name", ["metrics.csv", "events.jsonl", "events_train.jsonl"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "has ended"])
def test_what_waited_in_vain_is_not_told_after_a_restart(
    name: str, goes_on: bool, follower: Follower, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    follower.collect()
    add(run / "train.log", "step 0 loss 2.0\n")
    wait(follower, 0.3)
    add(run / name, "step,loss\n0,2.0\n" if name.endswith(".csv") else json.dumps({"step": 0, "loss": 2.0}) + "\n")
    wait(follower, WRITES_S + 0.5)
    assert found(follower) == [("loss", 0, "file")]
    if goes_on:
        write(run, name, 1)
        until(follower, lambda: len(found(follower)) == 2)
    follower.restart()
    wait(follower, 0.3)
    if goes_on:
        add(run / "train.log", "step 2 loss 0.6667\n")
        wait(follower, 0.3)
        add(run / name, "2,0.6667\n" if name.endswith(".csv") else json.dumps({"step": 2, "loss": 2 / 3}) + "\n")
    wait(follower, WRITES_S + 0.5)
    assert found(follower) == [("loss", step, "file") for step in range(3 if goes_on else 1)]


def test_the_first_number_waits_though_the_collector_was_restarted_before_it(
    follower: Follower, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    follower.collect()
    add(run / "train.log", "Starting training\n")
    wait(follower, 0.3)
    follower.restart()
    wait(follower, 0.3)
    add(run / "train.log", "step 0 loss 2.0\n")
    wait(follower, 0.3)
    add(run / "metrics.jsonl", json.dumps({"step": 0, "train/loss": 2.0}) + "\n")
    wait(follower, WRITES_S + 0.5)
    assert found(follower) == [("train/loss", 0, "file")]


def test_a_dropped_text_keeps_no_name_that_it_never_told(follower: Follower, tmp_path: Path) -> None:
    run = tmp_path / "run"
    follower.collect()
    add(run / "train.log", "step 0 loss 2.0 acc 0.5\n")
    wait(follower, 0.3)
    add(run / "a.csv", "step,loss\n0,2.0\n")
    wait(follower, WRITES_S + 0.5)
    add(run / "train.log", "step 1 loss 1.0 acc 0.6\n")
    add(run / "b.csv", "step,acc\n0,0.5\n1,0.6\n")
    wait(follower, 0.5)
    assert found(follower) == [("acc", 0, "file"), ("acc", 1, "file"), ("loss", 0, "file")]


def test_each_rank_has_the_numbers_of_its_own_text(follower: Follower, tmp_path: Path) -> None:
    follower.collect()
    for rank in range(3):
        add(tmp_path / "run" / f"train.rank{rank}.log", f"step 0 loss {rank + 1}\nstep 1 loss {rank + 2}\n")
    wait(follower, WRITES_S + 0.5)
    follower.restart()
    for rank in range(3):
        add(tmp_path / "run" / f"train.rank{rank}.log", f"step 2 loss {rank + 3}\n")
    wait(follower, WRITES_S + 0.5)
    points = [
        (dict(one.labels).get("rank", "0"), one.step) for one in points_of(follower.records) if "loss" in one.names
    ]
    assert sorted(points) == [(rank, step) for rank in "012" for step in range(3)]
