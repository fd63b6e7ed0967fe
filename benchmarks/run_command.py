"""What `deepseek-dashboard run --` costs the program behind it: its start, and its wall time while it is sampled and shown.

A dashboard of the log folder is there already, so that `run` joins it: what is measured is the keeper, the sampler above it, and the
collector. The turns alternate, and beside the ratio of run and bare stands that of bare and bare in the same turns: the noise.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import Row, paired, run
from tests.conftest import ROOT, dashboard

STARTS, TURNS = 30, 8
START_MS = 50.0  # budget
SAY_TIME = "import time; print(time.time())"
WORK = """
import sys
total = 0
for step in range(60):
    for number in range(800_000):
        total += number * number % 7
    print("step", step, "loss", 1 / (step + 1))
"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / "logs"
        with dashboard(log_dir):
            watched = [sys.executable, str(ROOT / "app.py"), "run", "--log-dir", str(log_dir), "--quiet", "--"]
            return [*start(watched), *wall(watched)]


def start(watched: Sequence[str]) -> list[Row]:
    """Until the program's first line, beside the same without us."""
    bare, with_us = [], []
    for _ in range(STARTS):
        bare.append(first_line_ms([sys.executable, "-c", SAY_TIME]))
        with_us.append(first_line_ms([*watched, sys.executable, "-c", SAY_TIME]))
    added = np.array(with_us) - np.array(bare)
    spread = f"p10 {np.percentile(added, 10):.0f}, p90 {np.percentile(added, 90):.0f}"
    return [Row("run: added to the start, median", float(np.median(added)), "ms", START_MS, spread=spread)]


def first_line_ms(command: Sequence[str]) -> float:
    began_s = time.time()
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return (float(told) - began_s) * 1e3


def wall(watched: Sequence[str]) -> list[Row]:
    program = [sys.executable, "-c", WORK]
    turns = [(seconds(program), seconds([*watched, *program]), seconds(program)) for _ in range(TURNS)]
    return [
        ratio_row("run: wall time beside bare", [with_us / ((first + second) / 2) for first, with_us, second in turns]),
        ratio_row("bare beside bare (the noise)", [first / second for first, _, second in turns]),
    ]


def seconds(command: Sequence[str]) -> float:
    began_s = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began_s


def ratio_row(name: str, ratios: list[float]) -> Row:
    """The median over the turns, with its interval."""
    middle, lo, hi = paired(ratios)
    return Row(name, middle, "x", spread=f"95 % interval {lo:.3f} to {hi:.3f}")


def main() -> int:
    return run(measure, __doc__.partition("\n")[0] if __doc__ else "")


if __name__ == "__main__":
    sys.exit(main())
