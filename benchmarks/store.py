"""The store against a plain table with a row a point: speed of reading and writing, bytes on disk, while it is being written.

    python -m benchmarks.store                 all, about 10 minutes and 4 GB of disk
    STORE_BENCH_SCALE=0.02 python -m benchmarks.store    the same on a fiftieth of the points
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from collectors.records import Labels, LogLine, Points, labels_of
from collectors.store import files
from collectors.store.protocol import series_id
from collectors.store.sqlite import SqliteStore

from .report import Row, run

SCALE = float(os.environ.get("STORE_BENCH_SCALE", "1"))
START_S = 1_764_000_000.0
LONG = int(10_000_000 * SCALE)
MONTH = int(30 * 86400 * SCALE)
BATCH = 50_000
HOST = labels_of(host="box")
NAMES = tuple(f"train/metric_{i}" for i in range(10))
REPEATS = 9


def measure() -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="store-bench-", dir=os.environ.get("STORE_BENCH_DIR")))
    try:
        return [*codec_rows(folder), *ingest_rows(folder), *read_rows(folder), *log_rows(folder)]
    finally:
        shutil.rmtree(folder)


def codec_rows(folder: Path) -> list[Row]:
    """Bytes a point on disk, all overhead included, for three kinds of data."""
    rng = np.random.default_rng(1)
    count = max(20_000, int(200_000 * SCALE))
    step = np.arange(count)
    time_s = np.round(START_S + np.cumsum(rng.normal(0.05, 0.002, count)), 6)
    metrics = [2.0 * np.exp(-step / 50_000) * scale + rng.normal(0, 0.02 * scale, count) for scale in np.geomspace(0.1, 1000, 10)]
    logged = [np.array([float(str(np.float32(value))) for value in column]) for column in metrics]
    lines = (Points("a", HOST, NAMES, row, t, s) for row, t, s in zip(zip(*(c.tolist() for c in logged), strict=True), time_s.tolist(), step.tolist(), strict=True))
    random = (Points("a", HOST, NAMES, tuple(row), t, s) for row, t, s in zip(rng.normal(size=(count, 10)).tolist(), time_s.tolist(), step.tolist(), strict=True))
    gpu = gpu_lines(count, 8)
    return [
        Row("bytes a point, RunLog (float32 in shortest decimal form)", stored_bytes(folder / "runlog", lines) / (count * 10), "B", 4),
        Row("bytes a point, arbitrary float64", stored_bytes(folder / "random", random) / (count * 10), "B", 8.5),
        Row("bytes a point, 8 GPUs x 6 metrics at 1 Hz", stored_bytes(folder / "gpu", gpu) / (count * 8 * 6), "B", 4),
    ]


def gpu_lines(seconds: int, gpus: int) -> Iterator[Points]:
    """Power (3 decimals), utilization, memory, temperature, clock, fan: a random walk each, as a GPU under load shows."""
    rng = np.random.default_rng(2)
    names = ("gpu/power_w", "gpu/util", "gpu/mem_used_bytes", "gpu/temp_c", "gpu/sm_mhz", "gpu/pcie_tx")
    for gpu in range(gpus):
        labels = labels_of(gpu=gpu, host="box", uuid=f"GPU-{gpu}")
        columns = [
            np.round(450 + 60 * np.sin(np.arange(seconds) / 300) + rng.normal(0, 12, seconds), 3),
            rng.integers(80, 101, seconds),
            70e9 + rng.integers(0, 4, seconds) * 2.0**21,
            np.round(65 + np.cumsum(rng.choice([-1, 0, 0, 0, 0, 0, 1], seconds)) % 9),
            rng.choice([1980, 1965, 1755], seconds),
            np.round(rng.gamma(2, 1e6, seconds)),
        ]
        times = START_S + np.arange(seconds) + rng.normal(0, 0.003, seconds)
        rows = zip(*(np.asarray(column, float).tolist() for column in columns), strict=True)
        yield from (Points(None, labels, names, row, t, None) for row, t in zip(rows, times.tolist(), strict=True))


def stored_bytes(folder: Path, lines: Iterable[Points]) -> int:
    store = SqliteStore(folder, write=True)
    append_all(store, lines)
    store.settle()
    store.close()
    return sum(files.size_bytes(path) for path in files.all_files(folder))


def ingest_rows(folder: Path) -> list[Row]:
    """How fast batches go in: of a file that is already there, and while one is followed."""
    rng = np.random.default_rng(3)
    count = max(50_000, int(300_000 * SCALE))
    wide = [Points("a", HOST, NAMES, tuple(row), START_S + i / 20, i) for i, row in enumerate(np.round(rng.normal(size=(count // 5, 10)), 4).tolist())]
    narrow = [Points("b", HOST, ("loss",), (value,), START_S + i / 20, i) for i, value in enumerate(np.round(rng.normal(size=count), 4).tolist())]
    plain = RowTable(folder / "plain-ingest.sqlite")
    rows = []
    for what, lines, batch, budget in (
        ("append, batches of 5,000 lines x 10", wide, 5000, 500_000),
        ("append, batches of 20,000 lines x 1", narrow, 20_000, 150_000),
        ("append, batches of 100 lines x 10 (following)", wide[:20_000], 100, 100_000),
    ):
        points = sum(len(line.values) for line in lines)
        store = SqliteStore(folder / f"ingest-{batch}", write=True)
        taken_s = timed(lambda lines=lines, batch=batch, store=store: append_all(store, lines, batch))
        plain_s = timed(lambda lines=lines, batch=batch: plain.append_all(lines, batch))
        store.close()
        rows.append(Row(what, points / taken_s, "points/s", budget, True, points / plain_s))
    return [*rows, small_commits(folder)]


def small_commits(folder: Path) -> Row:
    """200 points each 100 ms, as eight GPUs and a run bring, while compaction runs."""
    with writing(folder / "small") as taken_s:
        time.sleep(max(10.0, 60 * SCALE))
    low, p99 = np.percentile(np.array(taken_s) * 1e3, [50, 99])
    return Row("commit of 200 points, 10 a second, p99", p99, "ms", 25, spread=f"p50 {low:.2f} ms, most {max(taken_s) * 1e3:.1f} ms")


def read_rows(folder: Path) -> list[Row]:
    rng = np.random.default_rng(4)
    where, plain = folder / "read", RowTable(folder / "plain.sqlite")
    store = SqliteStore(where, write=True)
    values = np.round(2 + np.cumsum(rng.normal(0, 0.01, LONG)), 4)
    append_all(store, (Points("long", HOST, ("loss",), (v,), START_S + i / 100, i) for i, v in enumerate(values.tolist())))
    long = series_id("long", "loss", HOST)
    plain.append_columns(long, START_S + np.arange(LONG) / 100, values)
    gpus = [labels_of(gpu=gpu, host="box", uuid=f"GPU-{gpu}") for gpu in range(8)]
    power = [series_id(None, "gpu/power_w", labels) for labels in gpus]
    for labels, one in zip(gpus, power, strict=True):
        watts = np.round(450 + rng.normal(0, 12, MONTH), 3)
        append_all(store, (Points(None, labels, ("gpu/power_w",), (v,), START_S + i, None) for i, v in enumerate(watts.tolist())))
        plain.append_columns(one, START_S + np.arange(MONTH), watts)
    append_all(store, many_series())
    catalogue = [series_id(f"r{i}", name, HOST) for i in range(400) for name in NAMES]
    plain.append_columns_of(catalogue, 60)
    while store.compact(5.0):
        pass
    store.close()
    questions = {
        f"{LONG / 1e6:g}M points -> 2,000 buckets": (20, lambda s: s.range([long], None, None), lambda: plain.buckets([long], 2000)),
        f"30 d x 8 GPUs, {8 * MONTH / 1e6:.3g}M points -> 1,000 buckets": (40, lambda s: s.range(power, None, None, buckets=1000), lambda: plain.buckets(power, 1000)),
        "last value of 4,000 series": (50, lambda s: s.last(catalogue), lambda: plain.last(catalogue)),
        "zoom, 1 % of the long series -> 2,000 buckets": (None, lambda s: s.range([long], START_S + LONG / 200, START_S + LONG / 200 + LONG / 10_000), None),
        "zoom, 6 % of the long series -> 2,000 buckets": (None, lambda s: s.range([long], START_S + LONG / 200, START_S + LONG / 200 + 6 * LONG / 10_000), None),
    }
    rows = []
    reader = SqliteStore(where, write=False)
    for what, (budget, ask, ask_plain) in questions.items():
        baseline = median_ms(ask_plain, 1)[0] if ask_plain else None
        typical, spread = median_ms(lambda ask=ask: ask(reader))
        rows.append(Row(what, typical, "ms", budget, baseline=baseline, spread=spread))
    with writing(where, others=192):
        time.sleep(LIVE_S)
        live = live_ids(200)
        recent = lambda: reader.range(live, time.time() - 600, None)
        typical, spread = median_ms(recent)
        rows.append(Row("last 10 min of 200 series, while written", typical, "ms", 25, spread=spread))
        for what, (budget, ask, _) in questions.items():
            typical, spread = median_ms(lambda ask=ask: ask(reader))
            rows.append(Row(f"{what}, while written", typical, "ms", budget, spread=spread))
    reader.close()
    rows.append(Row("cold open and first question", cold_ms(where), "ms", 100))
    return rows
