"""Files that a script calls as the dashboard's own are called."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from collectors.records import Event
from tests.support.following import Follower, points_of, until


@pytest.mark.parametrize("name", ["events.jsonl", "events.rank1.jsonl"])
def test_metrics_of_a_script_in_a_file_called_like_events_are_read(
    name: str, follower: Follower, tmp_path: Path
) -> None:
    path = tmp_path / "run" / name
    path.parent.mkdir()
    path.touch()
    for _ in range(3):
        follower.collect()
    for step in range(4):
        with path.open("a") as file:
            file.write(json.dumps({"ts": time.time(), "iteration": step, "loss": 1 / (step + 1)}) + "\n")
        until(follower, lambda step=step: len(points_of(follower.records)) == step + 1)
        if step == 1:
            follower.restart()
    found = points_of(follower.records)
    assert [one.names for one in found] == [("loss",)] * 4 and [one.step for one in found] == [0, 1, 2, 3]
    assert follower.offsets[f"run/{name}"].lines_skipped == 0


def test_events_are_events_also_behind_a_faulty_line(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lines = [
        "not JSON",
        json.dumps({"kind": "start", "time_s": 1.8e9, "rank": 0}),
        json.dumps({"kind": "checkpoint", "time_s": 1.8e9 + 1}),
    ]
    (tmp_path / "run" / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    until(
        follower,
        lambda: [record.kind for record in follower.records if isinstance(record, Event)] == ["start", "checkpoint"],
    )
    assert follower.offsets["run/events.jsonl"].lines_skipped == 1


def test_a_kind_does_not_make_a_line_of_metrics_an_event(follower: Follower, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    rows = [{"kind": "train", "step": step, "loss": 1 / (step + 1)} for step in range(3)]
    (tmp_path / "run" / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    until(follower, lambda: len(points_of(follower.records)) == 3)
