"""How much CPU the goodput of a run takes: of a hundred thousand and a million steps, of 500 attempts, and of each run of a large table.

python -m benchmarks.goodput     about a minute, most of which fills the store
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collectors.records import Event, Points, Record
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.many_runs import fill

from .report import Row, run

RUNS = int(os.environ.get("GOODPUT_BENCH_RUNS", "500"))
T0 = 1_763_999_940.0
BATCH = 20_000  # steps of one commit
ROUNDS = 7
NAMES = ("train/loss", "phase/data_s", "phase/validation_s")
FIRST_SCREEN_S = 1.5  # of the Runs page with 10,000 runs


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="goodput-bench-") as folder:
        store = open_store(Path(folder), write=True)
        queries = Queries(store, Path(folder), Path(folder))
        try:
            for records in (
                *_steps("long", 100_000, 1),
                *_steps("longer", 1_000_000, 1),
                *_steps("attempts", 100_000, 500),
            ):
                store.append(records)
            fill(store, RUNS, 24, T0)
            while store.compact(5.0):
                pass
            return _measured(queries)
        finally:
            queries.close()
            store.close()


def _measured(queries: Queries) -> list[Row]:
    rows = []
    for name, budget in (("long", 500.0), ("longer", 500.0), ("attempts", 500.0)):
        took_s = [_took(queries, name) for _ in range(ROUNDS)]
        spread = f"{1e3 * min(took_s):.0f} to {1e3 * max(took_s):.0f} ms"
        rows.append(Row(TITLES[name], 1e3 * float(np.median(took_s)), "ms of CPU", budget, spread=spread))
    names = [view.stored.name for view in queries.runs() if view.stored.name.startswith("sweep/")]
    whole_s = sum(_took(queries, name, alone=True) for name in names)
    each_s = whole_s / max(1, len(names))
    spread = f"10,000 runs: {1e4 * each_s:.0f} s, where the first screen may take {FIRST_SCREEN_S:g} s"
    return [*rows, Row("each run of a table", 1e3 * each_s, "ms of CPU", spread=spread)]


TITLES = {
    "long": "100,000 steps",
    "longer": "1,000,000 steps, read together",
    "attempts": "100,000 steps in 500 attempts",
}


def _took(queries: Queries, name: str, *, alone: bool = False) -> float:
    """`alone`: without looking for other runs that are attempts of it, which a table knows already."""
    ledgers = queries.run_ledgers
    begun_s = time.thread_time()
    found = (ledgers.of_runs((name,)) if alone else ledgers.account(name)).ledger
    assert found is not None
    return time.thread_time() - begun_s


def _steps(name: str, count: int, attempts: int) -> Iterator[list[Record]]:
    """A step takes a tenth of a second; each attempt begins a few steps before the end of the one before."""
    each = count // attempts
    yield [Event(name, "start", T0 + 0.1 * each * attempt - 5, fields={"host": "box"}) for attempt in range(attempts)]
    yield [Event(name, "checkpoint", T0 + 0.1 * at, seconds=0.5) for at in range(0, count, 500)]
    points: list[Record] = []
    for number in range(count):
        attempt = number // each
        values = (1.0, 0.01, 0.05 if number % 100 == 0 else 0.0)
        points.append(Points(name, (), NAMES, values, T0 + 0.1 * number, number - 5 * attempt, attempt))
        if len(points) == BATCH:
            yield points
            points = []
    yield points


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
