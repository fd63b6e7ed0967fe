"""Bytes a day of the machine's samples, eight GPUs and eight ranks, before and after they are thinned, and what thinning costs.

An hour is written as the collector would, and counted 24 times: THINNING_HOURS=2 python -m benchmarks.thinning
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collectors import catalog
from collectors.records import Frame, Points, Record, StackRecording, StackSpan, labels_of
from collectors.store.sqlite import files
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.sqlite.thinning import Thinner
from collectors.store.store import Thinning

from .report import Row, run

HOURS = float(os.environ.get("THINNING_HOURS", "1"))
START_S = files.week_start(Path(files.week_file(1_764_000_000.0))) + 3600.0
GPUS, RANKS, PERIOD_S, WINDOW_S, HZ = 8, 8, 60.0, 5, 100
DAY_S = 86400.0
STEADY = {"%": 85.0, "B": 6e10, "W": 600.0, "MHz": 1800.0, "°C": 60.0, "B/s": 2e9, "J": 1e6}  # a card at work


def card(gpu: int, start_s: float, rng: np.random.Generator) -> Iterator[Points]:
    """A minute of one card: each source at its own period, values that move about a level."""
    labels = labels_of(gpu=gpu, host="box", uuid=f"GPU-{gpu}")
    for source in catalog.GPU:
        names = tuple(metric.name for metric in source.metrics)
        if not names or source.key == "gpu.xid":
            continue
        count = int(PERIOD_S / source.period_s)
        columns = []
        for metric in source.metrics:
            level = STEADY.get(metric.unit, 4.0)
            if metric.counter:
                columns.append(np.floor(start_s - START_S + np.arange(count) * source.period_s))
            elif not metric.unit or "total" in metric.name or "limit" in metric.name or "max" in metric.name:
                columns.append(np.full(count, level))
            else:
                columns.append(np.round(level * (1 + 0.1 * rng.standard_normal(count))))
        for at, values in enumerate(zip(*columns, strict=True)):
            yield Points(
                None,
                labels,
                names,
                tuple(map(float, values)),
                start_s + at * source.period_s + float(rng.uniform(0, 0.002)),
                None,
            )


def stacks(rank: int, start_s: float, rng: np.random.Generator) -> Iterator[StackRecording]:
    """A minute of one rank: 40 stacks of 25 frames, a new one every 50 ms on average."""
    known = [
        tuple(Frame(f"f{depth}_{number if depth > 20 else 0}", "train.py", depth) for depth in range(25))
        for number in range(40)
    ]
    for window in range(int(PERIOD_S / WINDOW_S)):
        samples, at = [], 0
        while at < WINDOW_S * HZ:
            looks = min(int(rng.geometric(0.2)), WINDOW_S * HZ - at)
            stack = known[min(int(rng.exponential(6)), 39)]
            samples.append(
                StackSpan(
                    at * 10**9 // HZ,
                    looks * 10**9 // HZ,
                    100 + rank,
                    stack,
                    bool(rng.integers(0, 2)),
                    looks * 8 * 10**6,
                )
            )
            at += looks
        about = ("a", rank, 100 + rank, "main", "box", "native", float(HZ))
        yield StackRecording(
            *about, start_s + window * WINDOW_S, 0, WINDOW_S * 10**9, {100 + rank: "MainThread"}, samples, WINDOW_S * HZ
        )


def minute(number: int, rng: np.random.Generator) -> Iterator[Record]:
    start_s = START_S + number * PERIOD_S
    for gpu in range(GPUS):
        yield from card(gpu, start_s, rng)
    for rank in range(RANKS):
        yield from stacks(rank, start_s, rng)


def measure() -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="thinning-"))
    try:
        rng = np.random.default_rng(1)
        store = SqliteStore(folder, write=True)
        for number in range(int(HOURS * 60)):
            store.append(minute(number, rng))
        store.settle()
        store.close()
        return thinned(folder)
    finally:
        shutil.rmtree(folder)


def thinned(folder: Path) -> list[Row]:
    days = HOURS / 24
    (week,) = files.machine_files(folder)
    full = packed_bytes(week)
    whole = {metric.name for metric, _ in catalog.rows() if not metric.unit and not metric.counter}
    counters = {metric.name for metric, _ in catalog.rows() if metric.counter}
    thinning = Thinning(7 * DAY_S, lambda lo, hi: [], whole, counters)
    before_s, cpu_s = time.monotonic(), time.process_time()
    Thinner(folder, thinning, lambda name: None, clock=lambda: START_S + 40 * DAY_S, first_s=0.0).run(
        time.monotonic() + 3600
    )
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - before_s
    coarse = packed_bytes(week)
    return [
        Row("machine samples, as they come", full / days / 1e9, "GB/day"),
        Row("thinned", coarse / days / 1e9, "GB/day", budget=full / days / 1e9 / 3, baseline=full / days / 1e9),
        Row(
            "CPU time of thinning, a day of samples",
            cpu_s / days,
            "s",
            spread=f"{wall_s / days:.0f} s of wall-clock time",
        ),
    ]


def packed_bytes(path: Path) -> int:
    SqliteStore(path.parent, write=True).close()
    db = sqlite3.connect(path)
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return files.size_bytes(path)


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
