"""How often `/blame` names the planted function, and how near its excess is to the truth: real programs, windows drawn at random.

python -m benchmarks.blame                                about 25 minutes
BLAME_BENCH_SECONDS=40 BLAME_BENCH_WINDOWS=10 python -m benchmarks.blame
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from collectors.message import text_of
from tests.analysis.test_blame import TO_BLAME, named, truth
from tests.support.recording import Plan, Recording, recorded

from .report import Row, run

SECONDS = float(os.environ.get("BLAME_BENCH_SECONDS", "90"))
WINDOWS = int(os.environ.get("BLAME_BENCH_WINDOWS", "100"))
STRETCH_S = 10.0
SAMPLERS = ("native", "py-spy")


def measure() -> list[Row]:
    return [row for program in TO_BLAME for sampler in SAMPLERS for row in rows_of(program, sampler)]


def rows_of(program: str, sampler: str) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="blame-bench-") as folder:
        plan = Plan([program], sampler, seconds=SECONDS, healthy_s=STRETCH_S, lossy_s=STRETCH_S)
        with recorded(Path(folder) / "run", plan) as runs:
            return [*named_rows(runs[program], sampler), quiet_row(runs[program], sampler)]


def named_rows(run: Recording, sampler: str) -> list[Row]:
    function, reason = TO_BLAME[run.run]
    seconds = 5.0 if run.run == "one_step_of_twenty" else 3.0
    found = [(window, run.blame(window)) for window in run.windows(seconds, WINDOWS, lossy=True)]
    right = [
        (window, verdict)
        for window, verdict in found
        if (named(verdict), text_of(verdict.reason)) == (function, reason)
    ]
    ratios = [(verdict.excess_s or 0.0) / truth(run, window, verdict) for window, verdict in right] or [0.0]
    spread = "p5 {:.2f}, p95 {:.2f}".format(*np.percentile(ratios, [5, 95]))
    return [
        Row(
            f"{run.run}, {sampler}: named in windows of {seconds:g} s",
            100 * len(right) / len(found),
            "%",
            95.0,
            at_least=True,
        ),
        Row(
            f"{run.run}, {sampler}: excess as a share of the truth", 100 * float(np.median(ratios)), "%", spread=spread
        ),
    ]


def quiet_row(run: Recording, sampler: str) -> Row:
    found = [run.blame(window).verdict for window in run.windows(3.0, WINDOWS, lossy=False)]
    return Row(
        f"{run.run}, {sampler}: nothing in healthy windows",
        100 * found.count("no_difference") / len(found),
        "%",
        99.0,
        True,
    )


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
