"""Windows of a sampler become longer rows, in any number, whatever else was sampled."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from collectors.records import Frame, StackRecording, StackSpan
from collectors.store.sqlite import files, stacks
from collectors.store.sqlite.compact import LIVE_S, REVIEW_S, Compactor
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.sqlite.ingest import FileWriter

NS = 10**9
MAIN = (Frame("main", "train.py", 1),)


def window(run: str, start_s: float, rank: int = 0) -> StackRecording:
    samples = [StackSpan(0, 5 * NS, 7, MAIN)]
    return StackRecording(
        run, rank, 99 + rank, "main", "box", "native", 100.0, start_s, 0, 5 * NS, {7: "MainThread"}, samples, 500
    )


def test_all_windows_of_a_file_are_merged_where_it_is_packed(tmp_path: Path) -> None:
    start_s = time.time() - 86400.0
    store = SqliteStore(tmp_path, write=True)
    store.append(window("a", start_s + 5 * number, rank) for rank in range(4) for number in range(360))
    store.settle()
    counts = store.stack_counts(0, 2e9, "a")
    found = store.stacks(start_s, start_s + 1800, "a")
    store.close()
    assert len(counts) <= 4 * (360 / 12 + 1), "rows of about a minute"
    assert round(float(found.duration_s.sum())) == 4 * 1800 and found.samples == 4 * 360 * 500


def test_runs_with_one_window_each_do_not_keep_others_from_being_merged(tmp_path: Path) -> None:
    now_s = time.time()
    start_s = now_s - LIVE_S - 120
    path = tmp_path / files.week_file(start_s)
    store = SqliteStore(tmp_path, write=True)
    store.append(window(f"a{number:04}", start_s) for number in range(stacks.MERGED_AT_ONCE + 100))
    store.append([window("b", start_s), window("b", start_s + 5)])
    store.close()
    with contextlib.closing(FileWriter(path, threading.Lock())) as writer:
        clock = [now_s]
        compactor = Compactor(writer, clock=lambda: clock[0])
        clock[0] += REVIEW_S
        while compactor.run(time.monotonic() + 1):
            pass
        compactor.close()
        rows = writer.db.execute("SELECT start_s, end_s FROM profile WHERE run = 'b'").fetchall()
    assert rows == [(start_s, start_s + 10)]
