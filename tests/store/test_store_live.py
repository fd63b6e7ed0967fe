"""Several collectors write, compaction runs, pages read and follow, all at once."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from collectors.logs.tail import Tail
from collectors.records import Labels, LogLine, Points, Record, labels_of
from collectors.store.engines import open_store
from collectors.store.sqlite import files
from collectors.store.sqlite.compact import CHECKPOINT_BYTES
from collectors.store.sqlite.logs import BlockRow
from collectors.store.store import Store, series_id
from collectors.supervisor import Supervisor
from tests.conftest import script, wait_for

START_S = 1_764_000_000.0
COMMITS = 150
ROWS = 3  # in a commit


def source(number: int) -> tuple[str | None, Labels]:
    return (None, labels_of(host="box", gpu=number)) if number % 2 else (f"run-{number}", labels_of(host="box"))


def write(store: Store, number: int) -> None:
    run, labels = source(number)
    for commit in range(COMMITS):
        steps = range(commit * ROWS, (commit + 1) * ROWS)
        records: list[Record] = [
            Points(run, labels, ("x", "y"), (float(step), -float(step)), START_S + step, step) for step in steps
        ]
        if run:
            records.append(LogLine(run, "out.log", START_S + commit, 20, f"{run} {commit}"))
        store.append(records)


def test_readers_see_whole_commits_and_a_cursor_hands_out_everything_once(tmp_path: Path) -> None:
    store = open_store(tmp_path, write=True)
    writers = [threading.Thread(target=write, args=(store, number)) for number in range(4)]
    done = threading.Event()
    followed: dict[tuple[str | None, Labels, str], list[float]] = defaultdict(list)
    lines: list[str] = []
    torn: list[object] = []

    def compact() -> None:
        while not done.is_set():
            store.compact(0.05)

    def follow() -> None:
        reader = open_store(tmp_path, write=False)
        cursor, last_round = 0, False
        while not last_round:
            last_round = done.is_set()
            delta = reader.since(cursor)
            if not delta.complete:
                torn.append(cursor)
            cursor = delta.seq
            for one in delta.points:
                followed[one.run, one.labels, one.name] += one.value.tolist()
            lines.extend(line.text for line in delta.lines)
        reader.close()

    def read() -> None:
        reader = open_store(tmp_path, write=False)
        while not done.is_set():
            for number in range(4):
                run, labels = source(number)
                one = series_id(run, "x", labels)
                steps = reader.range([one], None, None, "step", 10**6).get(one)
                if steps is not None and (
                    len(steps.t) % ROWS or not np.array_equal(steps.last, np.arange(len(steps.t)))
                ):
                    torn.append(steps)
        reader.close()

    helpers = [threading.Thread(target=work) for work in (compact, follow, read, read)]
    for thread in [*helpers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    files_seen = open_store(tmp_path, write=False).seq()
    assert files_seen == 4 * COMMITS
    done.set()
    for thread in helpers:
        thread.join()
    assert torn == []
    for number in range(4):
        run, labels = source(number)
        assert followed[run, labels, "y"] == [-float(step) for step in range(COMMITS * ROWS)]
    assert sorted(lines) == sorted(f"run-{number} {commit}" for number in (0, 2) for commit in range(COMMITS))
    store.close()


READER = """
import sys, threading
from pathlib import Path
from collectors.store.store import Store, series_id
from collectors.store.engines import open_store
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
store, one, seen = open_store(Path(sys.argv[1]), write=False), series_id("a", "x", (("host", "box"),)), set()
print("begun", flush=True)
while not ended.is_set():
    seen.add(sum(buckets.points_total for buckets in store.range([one], None, None).values()))
print(max(seen), len(seen))
"""


def test_the_write_ahead_log_stays_short_while_another_process_reads(tmp_path: Path) -> None:
    """800 commits alone make it 40 MB long."""
    store = open_store(tmp_path, write=True)
    longest = 0
    with script(READER, str(tmp_path)) as reader:
        assert reader.stdout and reader.stdin and reader.stdout.readline() == "begun\n"
        for commit in range(800):
            steps = range(commit * 20, (commit + 1) * 20)
            store.append(
                [
                    Points("a", labels_of(host="box"), ("x", "y"), (step / 3, step / 7), START_S + step, step)
                    for step in steps
                ]
            )
            if commit % 5 == 0:
                store.compact(0.05)
            longest = max(longest, files.wal_bytes(tmp_path / files.RUNS_FILE))
        reader.stdin.close()
        most, different = map(int, reader.stdout.readline().split())
    store.close()
    assert longest < 4 * CHECKPOINT_BYTES
    assert 0 < most <= 16_000 and different > 10


def test_of_a_large_file_that_is_being_read_what_has_arrived_so_far_can_be_drawn(tmp_path: Path) -> None:
    """And it has come to an end exactly once, when all of it is there."""
    rows = 150_000
    path = tmp_path / "logs" / "a" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f'{{"time_s":{START_S + step},"step":{step},"x":{step}}}\n' for step in range(rows)))
    store, wake = open_store(tmp_path / "data", write=True), threading.Event()
    supervisor = Supervisor(store, on_stale=lambda error: None)
    supervisor.add(Tail(tmp_path / "logs", "box", store.offsets(), wake), wake)
    supervisor.start()
    reader, one = open_store(tmp_path / "data", write=False), series_id("a", "x", labels_of(host="box"))
    seen: list[int] = []

    def drawn() -> bool:
        found = reader.range([one], None, None, "step").get(one)
        if found is not None and found.points_total:
            assert (found.t[0], found.t_end[-1], found.count.sum()) == (0, found.points_total - 1, found.points_total)
            seen.append(found.points_total)
        return bool(seen) and seen[-1] == rows

    wait_for(drawn)
    supervisor.stop()
    reader.close()
    store.close()
    assert len(set(seen)) > 1 and seen == sorted(seen)


def test_threads_that_are_gone_and_stores_that_are_closed_leave_no_file_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def opened_and_closed(write: bool) -> None:
        store = open_store(tmp_path, write=write)
        store.runs()
        store.changed()
        store.close()

    opened_and_closed(write=True)
    before = descriptors()
    for number in range(50):
        opened_and_closed(write=number % 2 == 0)
    assert descriptors() == before
    store = open_store(tmp_path, write=False)
    for _ in range(50):
        thread = threading.Thread(target=store.runs)
        thread.start()
        thread.join()
    assert (
        descriptors() <= before + 2 * 3
    )  # a file, its log and its index, of the last thread that asked and of the one before
    store.close()
    assert descriptors() == before


def test_a_follower_is_woken_by_records_and_not_by_packing(tmp_path: Path) -> None:
    store, reader = open_store(tmp_path, write=True), open_store(tmp_path, write=False)
    for number in (0, 1):
        write(store, number)
    assert reader.changed() and not reader.changed()
    store.settle()
    assert not reader.changed()
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM chunk").fetchone()[0], "nothing was packed that could have woken it"
    store.append([LogLine("run-0", "out.log", START_S, 20, "one more")])
    assert reader.changed() and not reader.changed()
    store.close()
    reader.close()


@pytest.mark.parametrize("looks_between", [0, 1])
def test_a_follower_goes_on_in_the_store_that_takes_the_place_of_a_removed_one(
    looks_between: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not it looks while there is none."""
    monkeypatch.setattr(files, "LOOK_S", 0.0)
    data_dir = tmp_path / "data"
    line = LogLine("run-0", "out.log", START_S, 20, "one more")
    first, reader = open_store(data_dir, write=True), open_store(data_dir, write=False)
    for _ in range(3):
        first.append([line])
    assert reader.changed() and reader.since(0).seq == 3
    shutil.rmtree(data_dir)
    for _ in range(looks_between):
        reader.changed()
    first.close()
    second = open_store(data_dir, write=True)
    for number in (1, 2):
        second.append([line])
        assert reader.changed(), number
        assert len(reader.since(number - 1).lines) == 1
    second.close()
    reader.close()


def test_a_run_that_floods_its_log_costs_a_delta_little_and_takes_no_other_runs_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read = BlockRow.read
    monkeypatch.setattr(BlockRow, "read", lambda row: (opened.append(row.run), read(row))[1])
    store = open_store(tmp_path, write=True)
    store.append([LogLine("quiet", "out.log", START_S, 20, "one line")])
    for number in range(20):
        store.append([LogLine("flood", "out.log", START_S + number, 20, f"{number} {'x' * 900_000}") for _ in range(2)])
    assert [line.run for line in store.since(0, ["quiet"]).lines] == ["quiet"]
    assert opened == ["quiet"], "a log that nobody looks at is opened"
    both = store.since(0).lines
    assert both[0].run == "quiet" and both[-1].text.startswith("19 ")
    assert len(both) < 10 and len(opened) < 10, "more is opened than a delta may hold"
    store.append([LogLine("flood", "out.log", START_S, 20, f"line {i}") for i in range(5000)])
    store.append([LogLine("quiet", "out.log", START_S, 20, "another")])
    some = store.since(0, {"flood", "quiet"}).lines
    assert [line.text for line in some if line.run == "quiet"] == ["one line", "another"]
    assert [line.text for line in some if line.run == "flood"] == [f"line {i}" for i in range(4000, 5000)]
    store.close()
