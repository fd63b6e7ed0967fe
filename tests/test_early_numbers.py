"""The first numbers of a text wait for other files that bring them: a run has each curve once, whatever is written first."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from collectors.logs import rivals
from collectors.records import LogLine, Points
from tests.following import Follower, points_of, until

LINES = [f"step {step} loss {2 / (step + 1):.4f}\n" for step in range(3)]


def series_of(follower: Follower) -> set[tuple[str, str]]:
    """Names, and where they were read."""
    found = points_of(follower.records)
    return {
        (name, dict(one.labels).get("source", "file")) for one in found for name in one.names if not name.startswith("progress/")
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
    settled_s = time.monotonic() + rivals.WRITES_S + 0.5
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
    monkeypatch.setattr(rivals, "FLUSHES_S", 5.0)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "events.jsonl").write_text(
        json.dumps({"time_s": time.time(), "kind": "start", "rank": 0, "pid": 1, "start_ticks": 1}) + "\n"
    )
    say(folder, LINES)
    until(follower, lambda: len(lines_of(follower)) == 3)
    quiet_s = time.monotonic() + rivals.WRITES_S + 1
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
