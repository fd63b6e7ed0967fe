"""Planted causes: how many of 20 windows drawn at random each rule finds within its `needs` and five seconds.

python -m benchmarks.planted              about ten minutes; PLANTED_SEED=... repeats a run, PLANTED_WINDOWS=... draws more or fewer
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from analysis.findings.rules import BY_NAME
from tests.kept_results import RESULTS, machine
from tests.planted.causes import CAUSES, judged
from tests.planted.windows import ENOUGH, PlantedResult, seed

from .report import Row, hardware, run

WINDOWS = int(os.environ.get("PLANTED_WINDOWS", "20"))
PROCESSES = int(os.environ.get("FINDINGS_BENCH_PROCESSES", "2"))
HEAD = "| rule | cause | needs s | found of windows | median s after the cause | p95 s beyond `needs` |\n|---|---|---|---|---|---|\n"


def measure() -> list[Row]:
    drawn = seed()
    print(f"seed {drawn}", flush=True)
    results = of_all(WINDOWS, drawn)
    for line in (line for result in results for line in result.missed()):
        print(f"missed: {line}")
    print(keep(results, drawn).read_text())
    least = ENOUGH * WINDOWS
    return [
        Row("planted causes", len(results), "causes", 30, at_least=True, spread=f"of {len({result.rule for result in results})} of {len(BY_NAME)} rules"),
        *(Row(f"{result.rule}: {result.cause}", result.found, f"of {len(result.judged)} windows", least, at_least=True, spread=f"p95 {result.beyond_s:+.1f} s beyond needs") for result in results),
    ]  # fmt: skip


def of_all(windows: int, drawn: int, processes: int = PROCESSES) -> list[PlantedResult]:
    """In the order of the rules."""
    with ProcessPoolExecutor(processes, get_context("spawn"), max_tasks_per_child=8) as pool:
        results = list(pool.map(judged, range(len(CAUSES)), [windows] * len(CAUSES), [drawn] * len(CAUSES)))
    order = list(BY_NAME)
    return sorted(results, key=lambda result: order.index(result.rule))


def keep(results: Sequence[PlantedResult], drawn: int, folder: Path = RESULTS) -> Path:
    """The last result of this machine."""
    path = folder / f"planted_{machine()}.md"
    rows = "".join(map(_line, results))
    path.write_text(f"# planted causes, {hardware()}\n\n`PLANTED_SEED={drawn} python -m benchmarks.planted`, the last result.\n\n{HEAD}{rows}")  # fmt: skip
    return path


def _line(result: PlantedResult) -> str:
    found = f"{result.found} of {len(result.judged)}"
    return f"| `{result.rule}` | {result.cause} | {BY_NAME[result.rule].needs_s:g} | {found} | {result.median_s:.1f} | {result.beyond_s:+.1f} |\n"


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
