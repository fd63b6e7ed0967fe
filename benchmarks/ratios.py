"""This checkout beside another one, of an earlier commit say: each benchmark in turn in both, as ratios of the medians.

python -m benchmarks.ratios FOLDER [-n 3] [first_load latency ...]     FOLDER needs `assets/vendor`, a built sampler and its `.venv`
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
from tests.conftest import ROOT

SCALES = {"OWN_COST_S": "40", "INGEST_BENCH_SCALE": "0.2", "FOLD_BENCH_HOURS": "0.5", "STORE_BENCH_SCALE": "0.2"}
BENCHMARKS = ["first_load", "latency", "own_cost", "ingest", "fold"]
FOLDER_OF = {"first_load": "FIRST_LOAD_CHECKOUT"}  # a benchmark that measures any checkout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("benchmarks", nargs="*", default=BENCHMARKS)
    parser.add_argument("-n", type=int, default=3, help="how often each runs in each")
    options = parser.parse_args()
    print("| what | there | here | ratio |\n|---|---|---|---|", flush=True)
    for name in options.benchmarks:
        there: dict[str, list[float]] = defaultdict(list)
        here: dict[str, list[float]] = defaultdict(list)
        units: dict[str, str] = {}
        for _ in range(options.n):
            for checkout, found in ((options.other.resolve(), there), (ROOT, here)):
                for row in rows(name, checkout):
                    found[row["name"]].append(row["value"])
                    units[row["name"]] = row["unit"]
        for what in [what for what in here if what in there]:
            before, after = statistics.median(there[what]), statistics.median(here[what])
            ratio = f"{after / before:.2f}" if before else ""
            print(f"| {name}: {what} | {of(there[what])} | {of(here[what])} {units[what]} | {ratio} |", flush=True)
    print(f"\n{hardware()}")
    return 0


def of(values: list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def rows(name: str, checkout: Path) -> list[dict[str, Any]]:
    """Of one run; a missed budget is no failure here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        environment = {**os.environ, **SCALES}
        if name in FOLDER_OF:
            environment[FOLDER_OF[name]], checkout = str(checkout), ROOT
        own = checkout / ".venv/bin/python"  # whose `deepseek` is that checkout's
        command = [str(own) if own.exists() else sys.executable, "-m", f"benchmarks.{name}", "--json", str(path)]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if not path.exists():
            raise SystemExit(f"benchmarks.{name} in {checkout} failed:\n{done.stdout}{done.stderr}")
        return json.loads(path.read_text())  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
