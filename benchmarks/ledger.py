"""How long a ledger takes: ten minutes and a day of one run with a GPU's counter, and what folding its minutes costs.

python -m benchmarks.ledger     about three minutes, most of which fill the store
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from collectors.records import Frame, Labels, Points, Record, StackRecording, StackSpan
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.stacks.ledgers import MINUTE_S, Ledgers

from .report import Row
from .report import run as reported

HOURS = float(os.environ.get("LEDGER_BENCH_HOURS", "24"))
T0 = 1_763_999_940.0  # a whole minute
SITE = "/venv/lib/python3.11/site-packages/torch"
LOOP = (Frame("<module>", "/job/train.py", 90), Frame("train", "/job/train.py", 40))
LINEAR, BACKWARD = (
    Frame("linear", f"{SITE}/nn/functional.py", 9),
    Frame("_engine_run_backward", f"{SITE}/autograd/graph.py", 7),
)
GPU: Labels = (("gpu", "0"), ("host", "box"), ("uuid", "GPU-1"))
PARTS = (  # of a step of 100 ms: milliseconds, stack, holds the GIL
    (20, (*LOOP, Frame("decode_image", "/job/data.py", 88)), True),
    *((5, (*LOOP, Frame("forward", "/job/model.py", line), LINEAR), False) for line in range(30, 38)),
    (35, (*LOOP, BACKWARD), False),
    (5, (*LOOP, Frame("write_log", "/job/train.py", 70)), True),
)
ROUNDS = 7
RUNS, RUNS_MINUTES = 50, 6


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder:
        store = open_store(Path(folder), write=True)
        try:
            minutes = round(HOURS * 60) + 2
            for minute in range(minutes):
                store.append(_minute(minute))
            while store.compact(5.0):
                pass
            return [*_measured(store, minutes), _of_many_runs(Path(folder) / "many")]
        finally:
            store.close()


def _of_many_runs(folder: Path) -> Row:
    """Their minutes are folded in turns."""
    store = open_store(folder, write=True)
    try:
        names = [f"run{number}" for number in range(RUNS)]
        for minute in range(RUNS_MINUTES + 2):
            for name in names:
                store.append(_minute(minute, name))
        ledgers = Ledgers(store, _lines)
        folded, begun_s = 0, time.process_time()
        while count := sum(ledgers.fold_ahead(name) for name in names):
            folded += count
        spent_s = time.process_time() - begun_s
    finally:
        store.close()
    share = 100 * spent_s / max(1, folded) * RUNS / MINUTE_S
    text = f"{folded} minutes, {1e3 * spent_s / max(1, folded):.0f} ms each"
    return Row(f"folding in the background, {RUNS} runs", share, "% of a core", 1.0, spread=text)


def _measured(store: Store, minutes: int) -> list[Row]:
    cold = Ledgers(store, _lines)
    end_s = T0 + MINUTE_S * (minutes - 2) - 17.0
    ten = (end_s - 600.0, end_s)
    first_s = _took(lambda: cold.ledger("run", ten))
    ten_s = [_took(lambda: cold.ledger("run", ten)) for _ in range(ROUNDS)]
    folding_s, folded = 0.0, 0
    begun_s = time.process_time()
    while count := cold.fold_ahead("run"):
        folded += count
    folding_s = time.process_time() - begun_s
    day = (end_s - HOURS * 3600.0 + 300.0, end_s)
    day_s = [_took(lambda: cold.ledger("run", day)) for _ in range(ROUNDS)]
    why_s = _took(lambda: Ledgers(store, _lines).ledger("run", day, reading_s=0.5))
    share = 100 * folding_s / max(1, folded) / MINUTE_S
    return [
        Row("ten minutes, first time", 1e3 * first_s, "ms"),
        Row("ten minutes", 1e3 * float(np.median(ten_s)), "ms", 50.0, spread=_spread(ten_s)),
        Row(f"{HOURS:g} hours, minutes folded", 1e3 * float(np.median(day_s)), "ms", 300.0, spread=_spread(day_s)),
        Row(f"{HOURS:g} hours, nothing folded, as a shell asks", why_s, "s", 1.0),
        Row(
            "folding in the background, one run",
            share,
            "% of a core",
            0.3,
            spread=f"{1e3 * folding_s / max(1, folded):.0f} ms a minute",
        ),
    ]


def _lines(_run: str) -> Callable[[str, int], str]:
    return lambda _file, _line: ""


def _took(ask: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    ask()
    return time.perf_counter() - begun_s


def _spread(values: list[float]) -> str:
    return f"{1e3 * min(values):.0f} to {1e3 * max(values):.0f} ms"


def _minute(minute: int, run: str = "run") -> list[Record]:
    samples, at_ms = [], 0
    while at_ms < 60_000:
        for ms, stack, gil in PARTS:
            samples.append(StackSpan(at_ms * 1_000_000, ms * 1_000_000, 7, stack, gil, ms * 1_000_000))
            at_ms += ms
    lo_s = T0 + MINUTE_S * minute
    profile = StackRecording(
        run, 0, 7, "main", "box", "native", 100.0, lo_s, 0, 60_000_000_000, {7: "MainThread"}, samples, len(samples)
    )
    busy = [Points(None, GPU, ("gpu/utilization_pct",), (75.0 + k % 7,), lo_s + k / 6, None) for k in range(360)]
    steps = [
        Points(run, (), ("train/loss", "phase/data_s"), (0.5, 0.02), lo_s + k / 10, 600 * minute + k)
        for k in range(600)
    ]
    return [profile, *busy, *steps]


if __name__ == "__main__":
    raise SystemExit(reported(measure, __doc__ or ""))
