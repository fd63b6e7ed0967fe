"""The log folder is followed: nothing lost, nothing twice."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from collectors.logs import file as followed
from collectors.logs.file import BATCH_BYTES, MIN_BATCH_BYTES
from collectors.records import Event, LogLine, Offset, Points, RunInfo
from tests.support.following import DEADLINE_S, Follower, until


def write(path: Path, *values: float, mode: str = "a") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode) as file:
        for value in values:
            file.write(json.dumps({"time_s": 1.0, "step": int(value), "x": value}) + "\n")


def test_a_new_run_is_noticed_and_its_lines_come_once(follower: Follower) -> None:
    write(follower.root / "group" / "a" / "metrics.jsonl", 1, 2, 3)
    assert follower.values(3) == [1, 2, 3]
    write(follower.root / "group" / "a" / "metrics.jsonl", 4)
    assert follower.values(4) == [1, 2, 3, 4]
    assert {record.run for record in follower.records if isinstance(record, Points)} == {"group/a"}


def test_a_half_written_line_waits_for_its_newline(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    write(path, 1)
    with path.open("a") as file:
        file.write('{"time_s": 1.0, "step": 2, ')
    assert follower.values(1) == [1]
    with path.open("a") as file:
        file.write('"x": 2}\n')
    assert follower.values(2) == [1, 2]


def test_reading_goes_on_from_the_stored_offset(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    write(path, 1, 2)
    follower.values(2)
    write(path, 3)
    follower.restart()
    write(path, 4)
    assert follower.values(4) == [1, 2, 3, 4]


def test_a_rotated_file_is_read_to_its_end_and_its_successor_from_the_start(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    write(path, 1)
    follower.values(1)
    write(path, 2)
    path.rename(path.with_suffix(".old"))
    write(path, 3)
    assert follower.values(3) == [1, 2, 3]


def test_a_successor_is_read_though_nothing_more_is_noticed_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a" / "metrics.jsonl"
    write(path, 1)
    follower = Follower(tmp_path)
    follower.values(1)
    monkeypatch.setattr(follower.tail._watch, "take", list)
    write(path, 2)
    path.rename(path.with_suffix(".old"))
    write(path, 3)
    follower.tail._queue([path])  # the last that is noticed
    assert follower.values(3) == [1, 2, 3]


@pytest.mark.parametrize("moved", ["a run's folder", "the folder above it", "the log folder"])
def test_what_waits_in_a_folder_that_is_moved_away_is_read_once_it_is_back(
    moved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "logs"
    monkeypatch.setattr("collectors.logs.tail.TURN_RECORDS", 1)  # a file a turn
    for number in range(12):
        write(root / "sweep" / f"run-{number}" / "metrics.jsonl", number)
    follower = Follower(root)
    follower.records += follower.tail.collect()
    place = {"a run's folder": root / "sweep" / "run-3", "the folder above it": root / "sweep", "the log folder": root}[
        moved
    ]
    place.rename(tmp_path / "away")
    for _ in range(30):
        follower.records += follower.tail.collect()
    (tmp_path / "away").rename(place)
    assert sorted(follower.values(12)) == list(range(12))


def test_what_is_left_of_a_deleted_giant_is_not_read_and_holds_no_disk(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "DELETED_BYTES", 1 << 20)
    path = follower.root / "a/train.log"
    path.parent.mkdir()
    path.write_bytes(b"x" * 99 + b"\n" + (b"y" * 99 + b"\n") * 100_000)
    inode = path.stat().st_ino
    while not any(isinstance(record, LogLine) for record in follower.records):
        follower.collect()
    path.unlink()
    for _ in range(10):
        follower.collect()
    read = sum(isinstance(record, LogLine) for record in follower.records)
    opened = [found.stat().st_ino for found in Path("/proc/self/fd").iterdir() if found.exists()]
    assert read < 60_000 and inode not in opened
    path.write_bytes(b"anew\n")
    while not follower.records or getattr(follower.records[-2], "text", "") != "anew":
        follower.collect()
        follower.wake.wait(0.05)


@pytest.mark.parametrize("longer", [False, True])
def test_a_truncated_file_is_read_from_its_new_start(follower: Follower, longer: bool) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    write(path, 1, 2)
    follower.values(2)
    write(path, *([7, 8, 9] if longer else [7]), mode="w")
    assert follower.values(5 if longer else 3)[2:] == ([7, 8, 9] if longer else [7])


ROWS = {"metrics.jsonl": '{{"step": {0}, "loss": {0}.5}}', "train.log": "step {0} loss {0}.5"}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("first", "segments"), [(1, [0, 1]), (5, [0, 1]), (40, [0, 1]), (41, [0])])
@pytest.mark.parametrize("replaced", [False, True])
def test_what_begins_again_in_a_replaced_file_is_another_attempt(
    follower: Follower, name: str, first: int, segments: list[int], replaced: bool
) -> None:
    path = follower.root / "a" / name
    path.parent.mkdir()

    def written(steps: range) -> None:
        if replaced:
            path.unlink(missing_ok=True)
        path.write_text("".join(ROWS[name].format(step) + "\n" for step in steps))
        until(follower, lambda: (found := points(follower)) and found[-1].step == steps[-1])

    def points(follower: Follower) -> list[Points]:
        return [record for record in follower.records if isinstance(record, Points)]

    written(range(1, 41))
    written(range(first, first + 20))
    assert sorted({point.segment for point in points(follower)}) == segments
    assert {point.step for point in points(follower) if point.segment == segments[-1]} >= set(range(first, first + 20))


def test_a_line_over_a_mebibyte_is_skipped_and_counted(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    write(path, 1)
    with path.open("a") as file:
        file.write('{"y": "' + "x" * (3 * BATCH_BYTES) + '"}\n')
    write(path, 2)
    assert follower.values(2) == [1, 2]
    offset = follower.offsets["a/metrics.jsonl"]
    assert (offset.lines_read, offset.lines_skipped, offset.first_skip) == (3, 1, "line 2: longer than 1 MiB")


def test_a_line_that_is_longer_than_the_least_batch_is_read(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.logs.file.BATCH_BYTES", MIN_BATCH_BYTES)
    path = follower.root / "a" / "metrics.jsonl"
    write(path, 1)
    with path.open("a") as file:
        file.write('{"time_s": 1.0, "x": 2, "y": "' + "x" * 700_000 + '"}\n')
    write(path, 3)
    assert follower.values(3) == [1, 2, 3]


def test_a_large_file_comes_in_batches(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    values = [float(value) for value in range(120_000)]
    write(path, *values)
    assert path.stat().st_size > 2 * BATCH_BYTES
    assert follower.values(len(values)) == values


@pytest.mark.long
@pytest.mark.timeout(300)  # most of it the kernel's, which fills 10 GB with zeros
def test_ten_gigabytes_without_a_newline_are_skipped_in_the_memory_of_a_batch(follower: Follower) -> None:
    """The file is sparse: its holes read as zeros."""
    path = follower.root / "a" / "metrics.jsonl"
    write(path, 1)
    with path.open("r+b") as file:
        file.truncate(10 * 10**9)
    with path.open("ab") as file:
        file.write(b"\n")
    write(path, 2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = resident("VmRSS")
    while len(follower._values()) < 2:
        follower.collect()
    offset = follower.offsets["a/metrics.jsonl"]
    assert follower.values(2) == [1, 2] and offset.offset == path.stat().st_size > 10**10
    assert (offset.lines_read, offset.lines_skipped, offset.first_skip) == (3, 1, "line 2: longer than 1 MiB")
    assert resident("VmHWM") - before < 16 * BATCH_BYTES


def resident(field: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` at most."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def test_run_info_and_events_come_before_the_metrics_that_follow_them(follower: Follower) -> None:
    folder = follower.root / "a"
    write(folder / "metrics.jsonl", 1)
    (folder / "events.jsonl").write_text('{"time_s": 0.5, "kind": "start", "pid": 1}\n')
    (folder / "run.json").write_text('{"run": "a", "host": "node7"}')
    follower.values(1)
    kinds = [type(record) for record in follower.records if not isinstance(record, Offset)]
    assert kinds == [RunInfo, Event, Points]
    assert next(record for record in follower.records if isinstance(record, Points)).labels == (("host", "node7"),)


def test_each_rank_has_its_label(follower: Follower) -> None:
    write(follower.root / "a" / "metrics.jsonl", 1)
    write(follower.root / "a" / "metrics.rank1.jsonl", 2)
    follower.values(2)
    labels = {record.values[0]: dict(record.labels) for record in follower.records if isinstance(record, Points)}
    assert labels == {1.0: {"host": "box"}, 2.0: {"host": "box", "rank": "1"}}


def test_a_file_in_the_log_folder_itself_is_a_run(follower: Follower) -> None:
    write(follower.root / "mine.jsonl", 1)
    follower.values(1)
    assert [record.run for record in follower.records if isinstance(record, Points)] == ["mine"]


def test_links_that_leave_the_log_folder_and_hidden_folders_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "metrics.jsonl"
    write(outside, 1)
    root = tmp_path / "logs"
    write(root / "a" / "metrics.jsonl", 2)
    write(root / ".deepseek" / "x.jsonl", 3)
    (root / "a" / "linked.jsonl").symlink_to(outside)
    (root / "b").symlink_to(outside.parent)
    follower = Follower(root)
    assert follower.values(1) == [2]
    follower.tail.close()


def test_text_lines_are_followed_with_their_arrival(follower: Follower) -> None:
    before = time.time()
    path = follower.root / "a" / "train.log"
    path.parent.mkdir()
    path.write_text("hello\n")
    deadline = time.monotonic() + DEADLINE_S
    while not any(isinstance(record, LogLine) for record in follower.records) and time.monotonic() < deadline:
        follower.collect()
        follower.wake.wait(0.05)
    line = next(record for record in follower.records if isinstance(record, LogLine))
    assert (line.text, line.file) == ("hello", "train.log")
    assert before - 0.011 <= line.time_s <= time.time()  # it comes from the clock of the file system, which ticks


def test_a_folder_that_was_copied_is_read_on_and_not_again(
    follower: Follower, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A backup, a move to another disk: other inodes, the same content."""
    write(follower.root / "a" / "metrics.jsonl", *range(50))
    assert len(follower.values(50)) == 50
    copy = tmp_path_factory.mktemp("copy") / "logs"
    shutil.copytree(follower.root, copy)
    follower.root = copy
    follower.restart()
    write(copy / "a" / "metrics.jsonl", 50)
    assert follower.values(51) == [*range(51)]


def test_another_file_with_the_same_beginning_is_read_from_its_start(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    write(path, *range(50))
    assert len(follower.values(50)) == 50
    write(path.with_suffix(".new"), *range(20), *range(1000, 1040))
    follower.tail.close()
    path.with_suffix(".new").rename(path)
    follower.restart()
    assert len(follower.values(110)) == 110
