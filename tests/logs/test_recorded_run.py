"""The run that the trainer's tests check what they write against, read: the log format is all that both sides share."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from collectors.logs.tail import Tail
from collectors.records import Event, LogLine, Offset, Points, Record, RunInfo

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "run"


def read(log_dir: Path) -> list[Record]:
    shutil.copytree(RECORDED, log_dir / "run")
    wake = threading.Event()
    tail = Tail(log_dir, "reader", {}, wake)
    records = []
    while batch := tail.collect():
        records += batch
    tail.close()
    return records


def test_a_recorded_run_of_two_ranks_and_two_attempts_is_read_whole(tmp_path: Path) -> None:
    records = read(tmp_path)
    points = [record for record in records if isinstance(record, Points)]
    offsets = {record.path: record for record in records if isinstance(record, Offset)}
    for file in RECORDED.glob("*.*l*"):
        assert offsets[f"run/{file.name}"].lines_read == len(file.read_text().splitlines())
        assert offsets[f"run/{file.name}"].offset == file.stat().st_size
    assert {(offset.lines_skipped, offset.fields_skipped) for offset in offsets.values()} == {(0, 0)}
    assert {dict(one.labels).get("rank") for one in points} == {None, "1"}
    assert all(dict(one.labels)["host"] == "box" for one in points), "the host that the run names, not the reader's"
    assert {one.segment for one in points} == {0, 1}, "two attempts"
    assert any(value == float("inf") for one in points for value in one.values)


def test_its_events_and_text_are_read_in_order(tmp_path: Path) -> None:
    records = read(tmp_path)
    kinds = [record.kind for record in records if isinstance(record, Event)]
    assert kinds[:2] == ["start", "start"]
    assert {"checkpoint", "validation", "overflow", "end"} <= set(kinds)
    assert kinds.count("start") == kinds.count("end") == 4
    assert next(record for record in records if isinstance(record, RunInfo)).info["world_size"] == 2
    lines = [record for record in records if isinstance(record, LogLine)]
    assert {line.file for line in lines} == {"train.log", "train.rank1.log"}
    assert all(line.level == 20 for line in lines)
