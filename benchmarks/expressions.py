"""How long expressions take: to be read, and over series as the store answers them; without a store.

python -m benchmarks.expressions    some seconds
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from analysis.expressions.evaluation import Expression, compile
from analysis.expressions.language import parsed, unit_of_series
from analysis.expressions.values import Raster, SeriesColumns
from collectors.arrays import Floats
from collectors.store.buckets import bucket
from collectors.store.store import Buckets, RawPoints

from .report import Row, run

GPUS, BUCKETS, POINTS = 8, 1_000, 20_000  # points of each series, in so many buckets
ROUNDS = 7
NAMES = ("gpu/power_w", "gpu/energy_j", "gpu/utilization_pct", "gpu/memory_used_bytes")
LOADED = "import time; t = time.process_time(); import analysis.expressions.language as g; g.parser(); print(time.process_time() - t)"
TEXTS = (
    "gpu/power_w", "gpu/power_w / 1 kW", "gpu/utilization_pct > 90", "gpu/power_w * gpu/utilization_pct / 100 %", "rate(gpu/energy_j)",
    "rate(gpu/energy_j) / train/tokens_per_s", "gpu/power_w per step", "mean(gpu/power_w) over 1 min", "max(gpu/power_w) over 1 min",
    "stddev(gpu/power_w) over 1 min", "quantile(0.9, gpu/power_w) over 10 s", "sum(increase(gpu/energy_j)) over 1 h / 1 kWh",
    "sum(gpu/power_w) by host", "mean(gpu/utilization_pct)", "quantile(0.9, gpu/power_w) by host", "stddev(gpu/utilization_pct)",
    "max(gpu/memory_used_bytes) - min(gpu/memory_used_bytes)", "gpu/power_w - mean(gpu/power_w)", "shift(gpu/power_w, 60 s)",
    "gpu/power_w - shift(gpu/power_w, 60 s)", "ema(gpu/power_w, 20 s)", "if(gpu/utilization_pct < 50, gpu/power_w, 0)",
    "clamp(log10(gpu/memory_used_bytes), 6, 12)", "count(gpu/utilization_pct > 50)",
)  # fmt: skip


def measure() -> list[Row]:
    in_buckets, as_points = (
        series(lambda points: bucket(points, [], BUCKETS)),
        series(lambda points: first(points, BUCKETS)),
    )
    loading = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    expressions = [compile(text) for text in TEXTS]
    took = f"{len(TEXTS)} expressions x {GPUS} series x {BUCKETS:,}"
    return [
        Row("lark and the parser, once a process", float(loading.stdout) * 1e3, "ms CPU"),
        Row("an expression is read", median_ms(lambda: [parsed(text) for text in TEXTS]) / len(TEXTS), "ms CPU"),
        Row(f"{took} buckets", median_ms(lambda: every(expressions, in_buckets)), "ms CPU", 250),
        Row(f"{took} points", median_ms(lambda: every(expressions, as_points)), "ms CPU", 250),
    ]


def series(columns: Callable[[RawPoints], Buckets]) -> list[SeriesColumns]:
    """Of eight GPUs at the same moments, and a run that logs at others."""
    numbers = np.random.default_rng(17)
    place = np.arange(POINTS) / 2
    found = []
    for gpu in range(GPUS):
        labels = (("gpu", str(gpu)), ("host", "box"), ("uuid", f"GPU-{gpu}"))
        watts = 300 + np.cumsum(numbers.normal(size=POINTS))
        values = (watts, np.cumsum(watts) / 2, numbers.uniform(0, 100, POINTS), 1e9 * numbers.uniform(1, 2, POINTS))
        for name, value in zip(NAMES, values, strict=True):
            found.append(SeriesColumns("", name, labels, unit_of_series(name), columns(points_of(place, value))))
    steps = np.arange(0, place[-1], 0.7)
    logged = SeriesColumns(
        "a",
        "train/tokens_per_s",
        (("host", "box"),),
        "token/s",
        columns(points_of(steps, numbers.uniform(900, 1000, len(steps)))),
    )
    return [*found, logged, logged._replace(clock=True)]


def points_of(place: Floats, value: Floats) -> RawPoints:
    return RawPoints(place, np.arange(len(place), dtype=np.float64), np.zeros(len(place), np.int64), value)


def first(points: RawPoints, count: int) -> Buckets:
    return bucket(RawPoints._make(column[:count] for column in points), [], count)


def every(expressions: list[Expression], columns: list[SeriesColumns]) -> None:
    for expression in expressions:
        expression.over(columns, Raster(buckets=BUCKETS))


def median_ms(work: Callable[[], object]) -> float:
    """Of this process's CPU time, which others on the machine change little."""
    taken = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        work()
        taken.append((time.process_time() - began_s) * 1e3)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
