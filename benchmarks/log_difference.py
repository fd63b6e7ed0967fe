"""What the log says in a window: changes planted in recorded logs are named first, healthy windows stay silent, 5M lines take half a second.

python -m benchmarks.log_difference [--json FILE]    LOG_DIFFERENCE_SCALE, 1 by default: a share of the windows and lines

The limits were chosen on the logs of tests/record_logs.py that are marked so; this counts on the others.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time

import numpy as np

from analysis.logs.columns import LogColumns, MaskedTemplate
from analysis.logs.difference import difference
from benchmarks.report import Row, run
from tests.support import planted_logs
from tests.support.planted_logs import PLANTINGS, draw_window, is_first, judged, matches, plant, recorded

SCALE = float(os.environ.get("LOG_DIFFERENCE_SCALE", "1"))
PLANTED_A_KIND, HEALTHY_A_LOG = max(1, round(6 * SCALE)), max(1, round(40 * SCALE))
LINES, TEMPLATES = round(5_000_000 * SCALE), 2_000
REPEATS = 5


def measure() -> list[Row]:
    rows: list[Row] = []
    for chosen, title in ((False, "other logs"), (True, "logs on which the limits were chosen")):
        names = planted_logs.names(for_thresholds=chosen)
        rows += _planted(names, title, counted=not chosen)
        rows.append(_healthy(names, title, counted=not chosen))
    return [*rows, *_speed()]


def _planted(names: list[str], title: str, *, counted: bool) -> list[Row]:
    rows, drawn, right, all_kinds = [], random.Random(2), 0, 0
    for kind in PLANTINGS:
        first = among = total = 0
        for name in names:
            lines = recorded(name)
            for _ in range(PLANTED_A_KIND):
                try:
                    planted = plant(lines, kind, drawn)
                except ValueError:  # no message of the log may change so: none comes often enough
                    break
                found = judged(planted.lines, planted.window)
                total += 1
                first += is_first(planted, found)
                among += any(matches(planted, change) for change in found.changes[:3])
        spread = f"{first} of {total}; among the first three {among}"
        rows.append(Row(f"planted, {kind}, named first, {title}", 100 * first / total, "%", spread=spread))
        right, all_kinds = right + first, all_kinds + total
    title, budget = f"planted, all kinds, named first, {title}", 95.0 if counted else None
    return [*rows, Row(title, 100 * right / all_kinds, "%", budget, at_least=True, spread=f"{right} of {all_kinds}")]


def _healthy(names: list[str], title: str, *, counted: bool) -> Row:
    silent = total = 0
    each = []
    for name in names:
        lines, drawn = recorded(name), random.Random(3)
        quiet = sum(not judged(lines, draw_window(lines, drawn)).changes for _ in range(HEALTHY_A_LOG))
        silent, total = silent + quiet, total + HEALTHY_A_LOG
        each.append(f"{name} {quiet}")
    spread = f"{silent} of {total}: {', '.join(each)}"
    return Row(
        f"healthy windows, silent, {title}",
        100 * silent / total,
        "%",
        98.0 if counted else None,
        at_least=True,
        spread=spread,
    )


def _speed() -> list[Row]:
    """A flood of lines by chance, a window of a hundredth."""
    drawn = np.random.default_rng(0)
    share = 1 / np.arange(1, TEMPLATES + 1)
    template = drawn.choice(TEMPLATES, LINES, p=share / share.sum())
    lines = LogColumns(np.sort(drawn.uniform(0, 36_000, LINES)), template, np.where(template % 50 == 0, 30, 20))
    templates = {number: MaskedTemplate(f"message {number}", "") for number in range(TEMPLATES)}
    times, walls = [], []
    for _ in range(REPEATS):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        difference(lines, (20_000.0, 20_360.0), templates)
        walls.append(time.perf_counter() - begun)
        times.append(time.process_time() - begun_cpu)
    title = f"{LINES:,} lines of {TEMPLATES:,} templates, CPU time"
    spread = f"of {REPEATS}: {min(times):.2f} to {max(times):.2f}; by the clock {min(walls):.2f} to {max(walls):.2f}"
    return [Row(title, statistics.median(times), "s", 0.5 if SCALE == 1 else None, spread=spread)]


if __name__ == "__main__":
    sys.exit(run(measure, (__doc__ or "").splitlines()[0]))
