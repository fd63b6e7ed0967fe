"""What a call of `RunLog.scalars` with ten values costs its caller, beside an empty call and beside other loggers where installed.

    python -m benchmarks.run_log

Flat out: calls back to back. Paced: 100 calls a second from a loop that computes in between, as a training loop does. Asleep: the
same from a loop that sleeps in between. That one has no budget: on a virtual machine it is mostly the time that the processor takes
to wake up, which the empty call pays as well.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, perf_counter_ns

from benchmarks import report
from trainer.run_log import RunLog

VALUES = {f"train/series_{index}": 0.1234567 * index for index in range(10)}
FLAT_CALLS, PACED_CALLS = 200_000, 1_000
PEER_FLAT_CALLS, PEER_PACED_CALLS = 2_000, 300
PERIOD_S = 0.01
BUFFER = bytes(1 << 18)  # hashed as work: it frees the GIL and fills the caches, as a training step does

Call = Callable[[int], object]


def measure() -> list[report.Row]:
    with tempfile.TemporaryDirectory() as folder:
        rows = ours(Path(folder))
        for name, peer in PEERS.items():
            if importlib.util.find_spec(name):
                with peer(Path(folder)) as call:
                    rows += theirs(name, call)
    return rows


def ours(folder: Path) -> list[report.Row]:
    with RunLog(folder, "paced") as log:
        paced, paced_empty = alternate(lambda step: log.scalars(step, VALUES), empty, work)
        asleep, asleep_empty = alternate(lambda step: log.scalars(step, VALUES), empty, time.sleep)
    cpu_s = time.process_time()
    with RunLog(folder, "flat") as log:
        flat = [once(lambda step: log.scalars(step, VALUES), step) for step in range(FLAT_CALLS)]
        called_s = time.process_time() - cpu_s
        began_s = perf_counter()
    drained_s, cpu_s = perf_counter() - began_s, time.process_time() - cpu_s
    flat_empty = [once(empty, step) for step in range(FLAT_CALLS)]
    lines = sum(1 for _ in (folder / "flat" / "metrics.jsonl").open())
    assert lines == FLAT_CALLS, f"{lines} of {FLAT_CALLS} lines were written"
    return [
        *both("flat out", flat, flat_empty, 1, 10),
        *both("paced, 100 a second", paced, paced_empty, 10, 30),
        *both("asleep, 100 a second", asleep, asleep_empty, None, None),
        report.Row("writer thread, processor time a line", (cpu_s - called_s * 0) / FLAT_CALLS * 1e6, "us", spread=f"backlog {drained_s:.1f} s"),
    ]


def theirs(name: str, call: Call) -> list[report.Row]:
    flat = [once(call, step) for step in range(PEER_FLAT_CALLS)]
    paced = []
    for step in range(PEER_PACED_CALLS):
        work(PERIOD_S)
        paced.append(once(call, step))
    return [*both(f"{name}, flat out", flat, None, None, None), *both(f"{name}, paced", paced, None, None, None)]
