"""This checkout against another one, of an earlier commit say: each benchmark is run there, here and there again, several times.

python -m benchmarks.ratios FOLDER [-n 7] [latency own_cost ...]     FOLDER needs `assets/vendor`, a built sampler and its `.venv`

A ratio is here / there of one turn; the band is there again / there, so what two runs of the same code differ by. Both are given as
the median and the range over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.report import hardware
from tests.conftest import ROOT, python_of

SCALES = {
    "OWN_COST_S": "20",
    "OWN_COST_CASES": "all",
    "INGEST_BENCH_SCALE": "0.05",
    "FOLD_BENCH_HOURS": "0.5",
    "STORE_BENCH_SCALE": "0.2",
}
BENCHMARKS = ["first_load", "latency", "own_cost", "ingest", "fold"]
FOLDER_OF = {
    "first_load": "FIRST_LOAD_CHECKOUT",
    "own_cost": "OWN_COST_CHECKOUT",
}  # this one's code measures any checkout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("benchmarks", nargs="*", default=BENCHMARKS)
    parser.add_argument("-n", type=int, default=7, help="turns")
    options = parser.parse_args()
    other = options.other.resolve()
    print("| what | there | here | ratio | range | same code | its range |\n|---|---|---|---|---|---|---|", flush=True)
    for name in options.benchmarks:
        turns: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        units: dict[str, str] = {}
        for _ in range(options.n):
            there, here, again = rows(name, other), rows(name, ROOT), rows(name, other)
            units |= {what: unit for what, (_, unit) in here.items()}
            for what in [what for what in here if what in there and what in again]:
                turns[what].append((there[what][0], here[what][0], again[what][0]))
        for what, values in turns.items():
            print(line(f"{name}: {what}", units[what], values), flush=True)
    print(f"\n{options.n} turns, {hardware()}")
    return 0


def line(what: str, unit: str, turns: list[tuple[float, float, float]]) -> str:
    before, after = (statistics.median(turn[place] for turn in turns) for place in (0, 1))
    ratios = [here / there for there, here, _ in turns if there]
    band = [again / there for there, _, again in turns if there]
    return f"| {what} | {before:.4g} | {after:.4g} {unit} | {of(ratios)} | {of(band)} |"


def of(ratios: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(ratios):.3f} | {min(ratios):.2f}-{max(ratios):.2f}" if ratios else " | "


def rows(name: str, checkout: Path) -> dict[str, tuple[float, str]]:
    """Value and unit by name, of one run; a missed budget is no failure here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        environment = {**os.environ, **SCALES}
        if name in FOLDER_OF:
            environment[FOLDER_OF[name]], checkout = str(checkout), ROOT
        command = [str(python_of(checkout)), "-m", f"benchmarks.{name}", "--json", str(path)]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if not path.exists():
            raise SystemExit(f"benchmarks.{name} in {checkout} failed:\n{done.stdout}{done.stderr}")
        found: list[dict[str, Any]] = json.loads(path.read_text())
        return {row["name"]: (row["value"], row["unit"]) for row in found}


if __name__ == "__main__":
    sys.exit(main())
