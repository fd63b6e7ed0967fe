"""Curves through the HTTP API: 30 lanes of a run, a very long curve, a zoom into it, smoothed, on another axis, computed; and 200 runs on one chart.

python -m benchmarks.curves                            everything: about 5 minutes and 200 MB of disk
CURVES_BENCH_SCALE=0.02 python -m benchmarks.curves    the same questions to a fiftieth of the points
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from collectors.records import Points, RunInfo
from collectors.runtime import return_freed_memory
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from dashboard.queries import Queries
from tests.support.serving import Web, served

from .report import Row, run
from .store import HOST, START_S, append, median_ms, seconds

SCALE = float(os.environ.get("CURVES_BENCH_SCALE", "1"))
LONG = int(10_000_000 * SCALE)
RUNS, STEPS, LANES = 200, 1000, 30
NUMBERS = itertools.count()


def measure() -> list[Row]:
    return_freed_memory()
    with tempfile.TemporaryDirectory(prefix="curves-bench-", dir=os.environ.get("CURVES_BENCH_DIR")) as folder:
        data_dir = Path(folder)
        fill(data_dir)
        queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
        with served(queries) as web:
            rows = list(answers(web))
        queries.close()
    return rows


def fill(data_dir: Path) -> None:
    """A run of two long series, one of 30 lanes, and 200 short ones of two configurations."""
    rng = np.random.default_rng(4)
    store = SqliteStore(data_dir, write=True)
    values = np.round(2 + np.cumsum(rng.normal(0, 0.01, LONG)), 4)
    points = (
        Points("long", HOST, ("loss", "tokens"), (values[step].item(), step * 4096.0), START_S + step / 100, step)
        for step in range(LONG)
    )
    append(store, points)
    lanes = tuple(f"train/lane_{i}" for i in range(LANES))
    append(
        store,
        (
            Points("lanes", HOST, lanes, tuple(values[step] + range(LANES)), START_S + step / 10, step)
            for step in range(LONG // LANES)
        ),
    )
    for number in range(RUNS):
        store.append([RunInfo(f"run-{number}", {"config": {"lr": [0.1, 0.01][number % 2]}})])
        losses = np.round(rng.normal(size=STEPS), 4).tolist()
        store.append(
            [
                Points(f"run-{number}", HOST, ("loss",), (loss,), START_S + step, step)
                for step, loss in enumerate(losses)
            ]
        )
    while store.compact(5.0):
        pass
    store.close()


def answers(web: Web) -> Iterator[Row]:
    lanes: dict[str, object] = {"run": "lanes", "expr": [f"train/lane_{i}" for i in range(LANES)]}
    long: dict[str, object] = {"run": "long", "expr": "loss", "x": "step"}
    zoom: dict[str, object] = {**long, "from": LONG // 2, "to": LONG // 2 + LONG // 100}
    runs: dict[str, object] = {"run": [f"run-{number}" for number in range(RUNS)], "expr": "loss", "x": "step"}
    million = f"{LONG / 1e6:g}M points"
    for buckets in (600, 2000):
        typical, spread = median_ms(partial(ask_anew, web, lanes, buckets), 5)
        yield Row(f"{LANES} lanes of {million} together, {buckets:,} buckets", typical, "ms", spread=spread)
    for what, budget, asked in (
        (f"{million}", 800, long),
        (f"zoom to 1 % of {million}", 60, zoom),
        (f"zoom to 1 % of {million}, smoothed", 100, {**zoom, "smooth": "ema:1000"}),
        (f"{million}, computed", 800, {**long, "expr": "2 * loss"}),
        (f"zoom to 1 % of {million}, computed", 100, {**zoom, "expr": "2 * loss"}),
        (f"{million}, tokens as x", 800, {**long, "x": "tokens"}),
        (f"{RUNS} runs x {STEPS:,} points", 500, runs),
        (f"{RUNS} runs x {STEPS:,} points, smoothed", None, {**runs, "smooth": "ema:20"}),
        (f"{RUNS} runs x {STEPS:,} points in two groups", 500, {**runs, "group": "lr", "band": "stderr"}),
        (f"{RUNS} runs x {STEPS:,} points, beside a baseline", None, {**runs, "baseline": "run-0"}),
    ):
        typical, spread = median_ms(partial(ask_anew, web, asked), 5)
        yield Row(what, typical, "ms", budget, spread=spread)
    for what, smooth in (("EMA", "ema:1000"), ("Gaussian", "gauss:1000"), ("wide Gaussian", f"gauss:{LONG / 20}")):
        first = seconds(partial(ask, web, {**long, "smooth": smooth})) * 1e3
        again, spread = median_ms(partial(ask, web, {**long, "smooth": smooth}), 5)
        yield Row(f"{million}, {what}: first", first, "ms")
        yield Row(f"{million}, {what}: again", again, "ms", 800, spread=spread)
    taken_s = seconds(
        partial(web.ask, "/api/v1/export", run="long", expr="loss", from_=START_S, to=START_S + LONG / 1000)
    )
    yield Row("points exported as CSV", LONG / 10 / taken_s, "points/s")


def ask_anew(web: Web, asked: dict[str, object], buckets: int = 600) -> None:
    """A question that no earlier one was: nothing kept answers it."""
    ask(web, {**asked, "buckets": buckets + next(NUMBERS)})


def ask(web: Web, asked: dict[str, object]) -> None:
    answer = web.ask("/api/v1/curves", **asked)
    assert answer.status == 200 and b'"left_out":[],' in answer.body[-20_000:], answer.body[:300]


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
