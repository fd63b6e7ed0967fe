"""Rows of a benchmark: printed as a table, written as JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support import leash

RESAMPLES = 2_000


class Row(NamedTuple):
    """One figure. `budget` is an upper bound unless `at_least`; `baseline` is the peer's figure in the same run, in the same unit."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    at_least: bool = False
    baseline: float | None = None
    spread: str = ""  # e.g. "p10 0.11, p90 0.19" or "95 % interval 0.99 to 1.02"

    @property
    def ok(self) -> bool | None:
        if self.budget is None:
            return None
        return self.value >= self.budget if self.at_least else self.value <= self.budget

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None


def run(measure: Callable[[], list[Row]], description: str) -> int:
    """Parse `--json`, measure, print, write; the exit code is 1 when a budget is missed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args()
    leash.fasten()
    rows = measure()
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([as_json(row) for row in rows], indent=1) + "\n")
    return int(any(row.ok is False for row in rows))


def table(rows: list[Row]) -> str:
    """Markdown, so that it can be pasted into `benchmarks/results/`."""
    lines = ["| what | measured | budget | ok | baseline | ratio | spread |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        bound = "" if row.budget is None else f"{'>=' if row.at_least else '<='} {row.budget:g}"
        verdict = {None: "", True: "yes", False: "**no**"}[row.ok]
        baseline = "" if row.baseline is None else f"{row.baseline:.3g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        lines.append(
            f"| {row.name} | {row.value:.4g} {row.unit} | {bound} | {verdict} | {baseline} | {ratio} | {row.spread} |"
        )
    return "\n".join([*lines, "", f"{hardware()}, {datetime.date.today()}"])


def as_json(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "value": row.value,
        "unit": row.unit,
        "budget": row.budget,
        "ok": row.ok,
        "baseline": row.baseline,
        "ratio": row.ratio,
        "spread": row.spread,
        "hardware": hardware(),
        "date": str(datetime.date.today()),
    }


def hardware() -> str:
    """Processor, cores, memory, kernel and Python of this machine."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def paired(values: list[float]) -> tuple[float, float, float]:
    """Median of the rounds and its 95 % interval, by drawing rounds anew; a burst of others on the machine moves it little."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return statistics.median(values), medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1]
