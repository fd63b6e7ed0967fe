"""The first numbers of a text wait for other files that bring them: a run has each curve once, whatever is written first."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from collectors.logs import run
from collectors.records import LogLine, Points
from tests.support.following import Follower, points_of, until

LINES = [f"step {step} loss {2 / (step + 1):.4f}\n" for step in range(3)]


def series_of(follower: Follower) -> set[tuple[str, str]]:
    """Names, and where they were read."""
    found = points_of(follower.records)
    return {
        (name, dict(one.labels).get("source", "file"))
        for one in found
        for name in one.names
        if not name.startswith("progress/")
    }


def lines_of(follower: Follower) -> list[str]:
    return [record.text for record in follower.records if isinstance(record, LogLine)]


def losses(found: Sequence[Points]) -> list[float]:
    return [value for one in found for name, value in zip(one.names, one.values, strict=True) if name == "loss"]


def say(folder: Path, lines: Sequence[str]) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / "train.log").open("a") as file:
        file.writelines(lines)


def write_jsonl(folder: Path) -> None:
    rows = [{"step": step, "train/loss": 2 / (step + 1)} for step in range(3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_csv(folder: Path) -> None:
    (folder / "metrics.csv").write_text("step,loss\n0,2.0\n1,1.0\n2,0.6667\n")


@pytest.mark.parametrize("write", [write_jsonl, write_csv])
def test_what_is_printed_just_before_a_file_has_it_is_read_once(write, follower: Follower, tmp_path: Path) -> None:
    follower.collect()
    say(tmp_path / "run", LINES[:1])
    until(follower, lambda: lines_of(follower))
    assert not points_of(follower.records), "a line is shown at once, its number waits"
    write(tmp_path / "run")
    say(tmp_path / "run", LINES[1:])
    until(follower, lambda: len(lines_of(follower)) == 3)
    settled_s = time.monotonic() + run.WRITES_S + 0.5
    until(follower, lambda: time.monotonic() > settled_s)
    assert {source for _, source in series_of(follower)} == {"file"}
    assert len(points_of(follower.records)) == 3


@pytest.mark.parametrize("restarts", [False, True])
def test_the_numbers_of_a_lone_text_come_soon_and_once(restarts: bool, follower: Follower, tmp_path: Path) -> None:
    follower.collect()
    say(tmp_path / "run", LINES[:2])
    until(follower, lambda: len(lines_of(follower)) == 2)
    if restarts:
        assert not points_of(follower.records)
        follower.restart()
    until(follower, lambda: len(losses(points_of(follower.records))) == 2)
    say(tmp_path / "run", LINES[2:])
    until(follower, lambda: len(losses(points_of(follower.records))) == 3)
    assert losses(points_of(follower.records)) == [2.0, 1.0, 0.6667]


def test_an_old_text_does_not_wait(follower: Follower, tmp_path: Path) -> None:
    say(tmp_path / "run", LINES)
    os.utime(tmp_path / "run" / "train.log", (time.time() - 600,) * 2)
    until(follower, lambda: len(lines_of(follower)) == 3)
    assert losses(points_of(follower.records)) == [2.0, 1.0, 0.6667]


@pytest.mark.parametrize("come", [True, False], ids=["and come", "and never come"])
def test_a_file_that_announces_numbers_is_waited_for(
    come: bool, follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FLUSHES_S", 5.0)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "events.jsonl").write_text(
        json.dumps({"time_s": time.time(), "kind": "start", "rank": 0, "pid": 1, "start_ticks": 1}) + "\n"
    )
    say(folder, LINES)
    until(follower, lambda: len(lines_of(follower)) == 3)
    quiet_s = time.monotonic() + run.WRITES_S + 1
    until(follower, lambda: time.monotonic() > quiet_s)
    assert not points_of(follower.records)
    if come:
        write_jsonl(folder)
        due_s = time.monotonic() + 4
        until(follower, lambda: time.monotonic() > due_s)
        assert series_of(follower) == {("train/loss", "file")}
    else:
        until(follower, lambda: losses(points_of(follower.records)))
        assert losses(points_of(follower.records)) == [2.0, 1.0, 0.6667]


def test_a_text_that_has_told_numbers_goes_on_beside_a_table_of_each_epoch(follower: Follower, tmp_path: Path) -> None:
    """The table has other names, and a point where the text has a hundred."""
    follower.collect()
    say(tmp_path / "run", LINES[:2])
    until(follower, lambda: len(losses(points_of(follower.records))) == 2)
    (tmp_path / "run" / "history.csv").write_text("epoch,val_acc\n1,0.5\n2,0.6\n")
    until(follower, lambda: ("val_acc", "file") in series_of(follower))
    say(tmp_path / "run", LINES[2:])
    until(follower, lambda: len(losses(points_of(follower.records))) == 3)
    follower.restart()
    say(tmp_path / "run", ["step 3 loss 0.5000\n"])
    until(follower, lambda: len(losses(points_of(follower.records))) == 4)


def test_a_name_that_the_jsonl_has_later_is_read_from_there(follower: Follower, tmp_path: Path) -> None:
    follower.collect()
    say(tmp_path / "run", [f"step {step} loss {1 / (step + 1):.3f} lr 0.1\n" for step in range(2)])
    until(follower, lambda: len(losses(points_of(follower.records))) == 2)
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 2, "loss": 0.25}\n')
    until(follower, lambda: ("loss", "file") in series_of(follower))
    settled_s = time.monotonic() + run.LOOK_EVERY_S
    until(follower, lambda: time.monotonic() > settled_s)
    say(tmp_path / "run", ["step 3 loss 0.2 lr 0.1\n"])
    until(follower, lambda: len(lines_of(follower)) == 3)
    assert losses(points_of(follower.records)) == [1.0, 0.5, 0.25]
    assert sum(one.names.count("lr") for one in points_of(follower.records)) == 3


def test_the_state_of_a_trainer_neither_silences_nor_repeats_what_it_prints(follower: Follower, tmp_path: Path) -> None:
    """It has no times, and comes with the first checkpoint: the curves of the text would end there."""
    folder = tmp_path / "run"
    follower.collect()
    say(folder, LINES[:2])
    until(follower, lambda: len(losses(points_of(follower.records))) == 2)
    (folder / "checkpoint-1").mkdir()
    history = [{"step": step, "loss": 2 / (step + 1), "epoch": 1.0} for step in range(2)]
    (folder / "checkpoint-1" / "trainer_state.json").write_text(json.dumps({"global_step": 1, "log_history": history}))
    until(follower, lambda: "run/trainer_state.json" in follower.offsets)
    say(folder, LINES[2:])
    until(follower, lambda: len(losses(points_of(follower.records))) == 3)
    assert {name for name, source in series_of(follower) if source == "file"} == set()


def test_a_run_that_has_ended_announces_nothing(follower: Follower, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    now_s = time.time()
    events = [{"time_s": now_s, "kind": kind, "rank": 0} for kind in ("start", "end")]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    say(folder, LINES)
    until(follower, lambda: losses(points_of(follower.records)))
    assert time.time() - now_s < run.FLUSHES_S / 2
