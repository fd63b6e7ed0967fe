"""Several collectors write, compaction runs, pages read and follow, all at once."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np

from collectors.records import Labels, LogLine, Points, Record, labels_of
from collectors.store.protocol import series_id
from collectors.store.sqlite import SqliteStore

START_S = 1_764_000_000.0
COMMITS = 150
ROWS = 3  # in a commit


def source(number: int) -> tuple[str | None, Labels]:
    return (None, labels_of(host="box", gpu=number)) if number % 2 else (f"run-{number}", labels_of(host="box"))


def write(store: SqliteStore, number: int) -> None:
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
    store = SqliteStore(tmp_path, write=True)
    writers = [threading.Thread(target=write, args=(store, number)) for number in range(4)]
    done = threading.Event()
    followed: dict[tuple[str | None, Labels, str], list[float]] = defaultdict(list)
    lines: list[str] = []
    torn: list[object] = []

    def compact() -> None:
        while not done.is_set():
            store.compact(0.05)

    def follow() -> None:
        reader = SqliteStore(tmp_path, write=False)
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
        reader = SqliteStore(tmp_path, write=False)
        while not done.is_set():
            for number in range(4):
                run, labels = source(number)
                one = series_id(run, "x", labels)
                steps = reader.range([one], None, None, "step", 10**6).get(one)
                if steps is not None and (len(steps.t) % ROWS or not np.array_equal(steps.last, np.arange(len(steps.t)))):
                    torn.append(steps)
        reader.close()

    helpers = [threading.Thread(target=work) for work in (compact, follow, read, read)]
    for thread in [*helpers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    files_seen = SqliteStore(tmp_path, write=False).seq()
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


def test_a_follower_is_woken_by_records_and_not_by_packing(tmp_path: Path) -> None:
    store, reader = SqliteStore(tmp_path, write=True), SqliteStore(tmp_path, write=False)
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
