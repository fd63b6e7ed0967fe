"""What the store does when processes are killed, bits flip and disks fill up."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from collectors.records import LogLine, Offset, Points, SourceText, StackRecording, labels_of
from collectors.store.engines import maintenance
from collectors.store.sqlite import codec, compact, files
from collectors.store.sqlite.chunks import ROWS
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.sqlite.files import apply_limits
from collectors.store.sqlite.logs import BLOCK_BYTES
from collectors.store.store import Limits, LogQuery, StoreError, series_id

ROOT = Path(__file__).parents[2]
START_S = 1_764_000_000.0
HOST = labels_of(host="box")
LOSS = series_id("a", "loss", HOST)
WEEK_S = 7 * 86400
AIM_S = 30.0  # until the compaction is seen at work: at most so long, on a machine that does other work, too
SMALL, LARGE = [1, 20], [200, 3000]  # rows of a commit; with small ones a compaction is seldom


class Killed(NamedTuple):
    safe: dict[str, int]  # by source, the offset that the writer had acknowledged
    compacting: bool  # whether it was changing packed data at that moment


def killed_after(data_dir: Path, batch: int, after_s: float, aimed: bool) -> Killed:
    """Let the writer run for a while, then kill it: at once or, aimed, when the compaction is next seen at work."""
    flag = data_dir.with_suffix(".compacting")
    flag.write_bytes(b"\0")
    command = [
        sys.executable,
        str(ROOT / "tests/programs/store_writer.py"),
        str(ROOT),
        str(data_dir),
        str(batch),
        str(flag),
    ]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert writer.stdout
    first = writer.stdout.readline()
    assert first, "the writer ended by itself"
    time.sleep(after_s)  # the fault itself: a moment that nothing announces
    give_up_s = time.monotonic() + AIM_S
    with flag.open("r+b") as file, mmap.mmap(file.fileno(), 1) as inside:
        while aimed and not inside[0] and time.monotonic() < give_up_s:
            time.sleep(0)
        writer.kill()
        told = (first + writer.stdout.read()).decode().splitlines(keepends=True)
        writer.stdout.close()
        writer.wait()
        safe = {line.split()[0]: int(line.split()[1]) for line in told if line.endswith("\n")}
        return Killed(safe, inside[0] == 1)


def assert_exactly_once(data_dir: Path, acknowledged: dict[str, int]) -> None:
    store = SqliteStore(data_dir, write=False)
    offsets = store.offsets()
    for source, safe in acknowledged.items():
        offset = offsets[source].offset
        assert offset >= safe
        run, labels = source.split("/")[0], labels_of(host="box", rank=1 if "rank1" in source else None)
        for name, every in (("loss", 1), ("lr", 1), ("norm", 7)):
            one = series_id(run, name, labels)
            steps = store.range([one], None, None, "step", buckets=10**9)[one].t
            np.testing.assert_array_equal(steps, np.arange(0, offset, every))
        lines = store.logs(LogQuery(run=run, text=f"{source} ", limit=10**9))
        assert [line.text for line in lines.lines] == [f"{source} {step}" for step in range(0, offset, 3)]
    store.close()
    assert maintenance(data_dir).check() == []


def kill_again_and_again(data_dir: Path, times: int) -> None:
    chance = random.Random(5)
    safe: dict[str, int] = {}
    compacting = 0
    for round_ in range(times):
        aimed = round_ % 2 == 0
        killed = killed_after(
            data_dir, chance.choice(LARGE if aimed else SMALL + LARGE), chance.uniform(0.0, 0.4), aimed
        )
        safe |= killed.safe
        compacting += killed.compacting
        if round_ % 20 == 19 or round_ == times - 1:
            assert_exactly_once(data_dir, safe)
    assert compacting >= times // 5, f"only {compacting} of {times} kills fell into a compaction"


def test_kill_9_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 10)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_kill_9_two_hundred_times_loses_and_doubles_nothing(tmp_path: Path) -> None:
    for part in range(4):
        kill_again_and_again(tmp_path / str(part), 50)


def lines(start: int, count: int) -> list[Points]:
    return [
        Points("a", HOST, ("loss", "lr"), (float(step), step / 7), START_S + step, step)
        for step in range(start, start + count)
    ]


def test_a_flipped_bit_is_named_and_costs_only_itself(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    store.append(lines(0, 10_240))
    store.close()
    assert maintenance(tmp_path).check() == []
    db = sqlite3.connect(tmp_path / files.RUNS_FILE)
    chunk, data = db.execute("SELECT id, data FROM chunk WHERE series = ? AND start = ?", (LOSS, 2 * ROWS)).fetchone()
    for at in (0, 5, len(data) // 2, len(data) - 1):
        with db:
            db.execute(
                "UPDATE chunk SET data = ? WHERE id = ?", (data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], chunk)
            )
        reader = SqliteStore(tmp_path, write=False)
        steps = reader.range([LOSS], None, None, "step", buckets=10**6)[LOSS].t
        np.testing.assert_array_equal(steps, np.concatenate([np.arange(2 * ROWS), np.arange(3 * ROWS, 10_240)]))
        reader.close()
        (trouble,) = maintenance(tmp_path).check()
        assert f"chunk {chunk} of loss of a" in trouble
    db.close()


def test_a_wrong_summary_is_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    store.append(lines(0, 2048))
    store.close()
    db = sqlite3.connect(tmp_path / files.RUNS_FILE)
    with db:
        db.execute("UPDATE chunk SET most = 1e9 WHERE series = ? AND start = 0", (LOSS,))
    db.close()
    (trouble,) = maintenance(tmp_path).check()
    assert "its points are not those of its summary" in trouble


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_pauses_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "data", write=True)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    kept = 0
    with pytest.raises(StoreError, match="the disk is full; make room"):
        while True:
            store.append([*lines(kept, 500), Offset("a/m.jsonl", "a", 1, 2, kept + 500, 0, 0, 0, "", {})])
            kept += 500
    assert store.offsets()["a/m.jsonl"].offset == kept == store.range([LOSS], None, None)[LOSS].points_total
    ballast.unlink()
    store.append([*lines(kept, 500), Offset("a/m.jsonl", "a", 1, 2, kept + 500, 0, 0, 0, "", {})])
    assert store.offsets()["a/m.jsonl"].offset == kept + 500 == store.range([LOSS], None, None)[LOSS].points_total
    store.close()
    assert maintenance(small_disk / "data").check() == []


def test_old_machine_files_go_first_and_runs_never(tmp_path: Path) -> None:
    weeks = [tmp_path / files.week_file(START_S + week * WEEK_S) for week in range(4)]
    sizes = [(tmp_path / files.RUNS_FILE, 50), *((week, 10) for week in weeks)]
    now_s = files.week_start(weeks[3]) + 3600
    assert apply_limits(sizes, Limits(), now_s) == ([], False)
    assert apply_limits(sizes, Limits(retention_s=WEEK_S), now_s) == (weeks[:2], False)
    assert apply_limits(sizes, Limits(max_bytes=75), now_s) == (weeks[:2], False)
    assert apply_limits(sizes, Limits(max_bytes=55), now_s) == (weeks[:3], True)


def test_samples_of_the_machine_go_by_age_as_whole_files_and_nothing_else_does(tmp_path: Path) -> None:
    """The week of these is long over; the run is as old."""
    log_file = tmp_path / "a" / "metrics.jsonl"
    log_file.parent.mkdir()
    log_file.write_text("the user's own")
    data_dir = tmp_path / ".deepseek"
    old, recent = files.week_start(Path(files.week_file(time.time()))) - 6 * WEEK_S, time.time()
    store = SqliteStore(data_dir, write=True, limits=Limits(retention_s=3 * WEEK_S))
    util = series_id(None, "gpu/util", HOST)
    store.append(
        [Points(None, HOST, ("gpu/util",), (float(i),), second, None) for i, second in enumerate((old, recent))]
    )
    store.append([*lines(0, 10), window(0)])
    reader = SqliteStore(data_dir, write=False)
    assert reader.range([util], None, None)[util].last.tolist() == [0, 1]
    store.compact(0.1)
    assert [path.name for path in files.machine_files(data_dir)] == [files.week_file(recent)]
    reader._readers.look()
    assert reader.range([util], None, None)[util].last.tolist() == [1]
    assert (
        reader.range([LOSS], None, None)[LOSS].points_total == 10
        and reader.stacks(START_S, START_S + 1, "a").covered == []
    )
    assert log_file.read_text() == "the user's own"
    store.append([Points(None, HOST, ("gpu/util",), (2.0,), recent, None)])
    assert reader.range([util], None, None)[util].last.tolist() == [1, 2]
    reader.close()
    store.close()
    assert maintenance(data_dir).check() == []


def test_too_large_a_store_drops_machine_files_then_pauses(tmp_path: Path) -> None:
    gpu = Points(None, HOST, ("gpu/util",), (1.0,), START_S, None)
    store = SqliteStore(tmp_path, write=True, limits=Limits(max_bytes=1))
    store.append([gpu, *lines(0, 10)])
    assert len(files.machine_files(tmp_path)) == 1
    store.compact(0.1)
    assert files.machine_files(tmp_path) == []
    with pytest.raises(StoreError, match="--max-size"):
        store.append(lines(10, 10))
    assert store.range([LOSS], None, None)[LOSS].points_total == 10


def test_a_deleted_run_is_gone_and_can_come_back(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    other = Points("b", HOST, ("loss",), (1.0,), START_S, 0)
    cursor = store.append([*lines(0, 3000), other, LogLine("a", "out.log", START_S, 20, "hello")])
    store.append(lines(3000, 10))
    store.delete("a")
    assert (
        [run.name for run in store.runs()] == ["b"] and store.series("a") == [] and store.logs(LogQuery()).lines == []
    )
    assert store.range([LOSS], None, None)[LOSS].points_total == 0 and store.since(cursor).points == []
    store.append(lines(0, 5))
    assert store.range([LOSS], None, None)[LOSS].points_total == 5
    store.close()
    assert SqliteStore(tmp_path, write=True).series("a")[0].points == 5
    assert maintenance(tmp_path).check() == []


def test_compacting_by_hand_keeps_everything_in_less_space(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    for at in range(0, 3000, 10):
        store.append([*lines(at, 10), LogLine("a", "out.log", START_S + at, 20, f"line {at}"), window(at / 10)])
    store.close()
    before = sum(files.size_bytes(path) for path in files.all_files(tmp_path))
    maintenance(tmp_path).compact()
    assert sum(files.size_bytes(path) for path in files.all_files(tmp_path)) < before
    db = sqlite3.connect(tmp_path / files.RUNS_FILE)
    assert db.execute("SELECT (SELECT count(*) FROM pack), (SELECT count(*) FROM log)").fetchone() == (0, 1)
    db.close()
    reader = SqliteStore(tmp_path, write=False)
    np.testing.assert_array_equal(reader.range([LOSS], None, None, "step", 10**6)[LOSS].last, np.arange(3000))
    assert len(reader.logs(LogQuery(limit=1000)).lines) == 300
    found = reader.stacks(START_S, START_S + 300, "a")
    assert (found.covered, found.samples) == ([(START_S, START_S + 300)], 300)
    reader.close()
    assert maintenance(tmp_path).check() == []


def test_log_blocks_of_any_size_are_merged_in_order(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    count = 0
    for size in (1500, 2000, 1, 1, 700, 5000, 1200, 900, 3):
        store.append([LogLine("a", "out.log", START_S, 20, f"line {count + i}") for i in range(size)])
        count += size
    store.settle()
    found = store.logs(LogQuery(limit=count))
    assert [line.text for line in found.lines] == [f"line {i}" for i in range(count)] and found.total == count
    store.close()
    db = sqlite3.connect(tmp_path / files.RUNS_FILE)
    assert db.execute("SELECT count(*), max(lines), count(seq) FROM log").fetchone() == (8, 2000, 0)
    db.close()


def test_log_blocks_are_bounded_in_bytes(tmp_path: Path) -> None:
    """A line may have a mebibyte: 2,000 of them in one block took 2 GB to open."""
    store, count = SqliteStore(tmp_path, write=True), 0
    for size in (1, 2, 30, 1, 1, 3):
        store.append([LogLine("a", "out.log", START_S, 20, f"line {count + i} " + "x" * 700_000) for i in range(size)])
        count += size
    store.append([LogLine("a", "out.log", START_S, 20, f"line {count + i} ") for i in range(10)])
    count += 10
    for settled in (False, True):
        if settled:
            store.settle()
        found = store.logs(LogQuery(limit=count))
        assert [int(line.text.split()[1]) for line in found.lines] == list(range(count))
    store.close()
    db = sqlite3.connect(tmp_path / files.RUNS_FILE)
    sizes = [codec.unsealed_bytes(blob) for (blob,) in db.execute("SELECT texts FROM log ORDER BY last_line")]
    db.close()
    assert max(sizes) <= BLOCK_BYTES + 100 and len(sizes) <= 12, "and small ones are still merged"


def test_files_of_weeks_to_come_do_not_hurt(tmp_path: Path) -> None:
    """A clock that jumped to 2099 and back leaves them: live pages looked for what is new in them, and nowhere else."""
    now_s, wrong_s = time.time(), 4_080_000_000.0
    util = series_id(None, "gpu/util", HOST)
    store = SqliteStore(tmp_path, write=True)
    for week in range(3):
        store.append([Points(None, HOST, ("gpu/util",), (99.0,), wrong_s + week * WEEK_S, None)])
    store.close()
    reader, store = SqliteStore(tmp_path, write=False), SqliteStore(tmp_path, write=True)
    cursor = reader.seq()
    for i in range(3):
        store.append([Points(None, HOST, ("gpu/util",), (float(i),), now_s + i, None)])
        reader._readers.look()
        delta = reader.since(cursor)
        assert delta.complete and [value for points in delta.points for value in points.value] == [float(i)], (
            "in the live page"
        )
        assert delta.seq > cursor
        cursor = delta.seq
    assert reader.range([util], None, None)[util].last.tolist() == [0.0, 1.0, 2.0]
    assert reader.last([util])[util].value == 2.0
    (series,) = reader.series()
    assert series.last_time_s == now_s + 2
    reader.close()
    store.close()
    assert maintenance(tmp_path).check() == []
    sizes = [(path, 10) for path in files.all_files(tmp_path)]
    assert len(apply_limits(sizes, Limits(max_bytes=20), now_s).remove) == 3, "they go first where there is too much"
    assert apply_limits(sizes, Limits(retention_s=WEEK_S), now_s).remove == []


def window(second: float) -> StackRecording:
    start = int(second * 1e9)
    return StackRecording(
        "a", 0, 7, "main", "box", "native", 1.0, START_S + second, start, start + 10**9, {7: "main"}, [], 1
    )


def test_head_rows_go_when_they_are_packed_and_old(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    cursor = store.append(lines(0, 10))
    store.append(lines(10, 100))
    while store.compact(1.0):
        pass
    assert store.since(cursor).complete and len(store.since(cursor).points[0].value) == 100
    writer = store._writers[files.RUNS_FILE]
    later = compact.Compactor(writer, clock=lambda: time.time() + compact.LIVE_S + 1)
    later._swept_s = 0
    later.run(time.monotonic() + 5)
    later.close()
    assert not store.since(cursor).complete and store.since(store.seq()).complete
    assert store.range([LOSS], None, None)[LOSS].points_total == 110


def test_texts_go_with_their_last_run(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    store.append([SourceText(run, "/job/train.py", "5f", "step = 1\n", 1.0) for run in ("a", "b")])
    store.delete("a")
    assert store.source_text("a", "/job/train.py") is None and store.source_text("b", "/job/train.py") is not None
    store.delete("b")
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM source_text").fetchone() == (0,)
