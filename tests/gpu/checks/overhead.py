"""What the collector and its sampler cost a training on the card: both are paused and let go again in short slices, beside an A/A."""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import paired

from ..lines import Report
from ..plan import Setting
from ..planted import Timing
from ..watched import collecting, training, wait_for_stacks

FILE = "overhead.csv"
SETTLE_SHARE = 0.2  # of a slice, at its beginning
MAX_RATIO, MAX_CPU_PCT = 1.01, 7.0  # of a step; of a core
MIN_STEPS = 5  # of a slice


class Slice(NamedTuple):
    """Steps between two moments, Unix seconds."""

    round: int
    collected: bool
    second: bool  # of the two slices of its kind in a round
    begin_s: float
    end_s: float


class Ratio(NamedTuple):
    middle: float
    low: float  # of the 95 % interval
    high: float


def check(setting: Setting, report: Report) -> None:
    with collecting(setting.scratch) as collector, training(setting.scratch, Timing(0, 0, 0), ()) as process:
        begun_s = time.time()
        time.sleep(setting.seconds(4.0, 0.5))
        sampled = wait_for_stacks(collector.data, begun_s)
        cpu_s, at_s = collector.cpu_s(), time.monotonic()
        time.sleep(setting.seconds(8.0, 0.5))
        cpu_pct = 100 * (collector.cpu_s() - cpu_s) / (time.monotonic() - at_s)
        rounds, slice_s = int(setting.seconds(10, 2)), setting.seconds(0.9, 0.3)
        slices = [piece for number in range(rounds) for piece in one_round(number, slice_s, collector.pause)]
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)
    steps = np.array(json.loads((setting.scratch / "result.json").read_text())["steps"])
    took = [typical_s(steps, piece) for piece in slices]
    with (setting.folder / FILE).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*Slice._fields, "step_s"])
        table.writerows([*piece, step_s] for piece, step_s in zip(slices, took, strict=True))
    report.judge(
        sampled,
        "sampling",
        "The collector has stacks of the training." if sampled else "No stack of the training arrived.",
    )
    judge(report, ratios(slices, took), cpu_pct)


def one_round(number: int, slice_s: float, pause: Callable[[bool], None]) -> list[Slice]:
    """On and off twice, in random order: one on and one off make a pair, the two off ones an A/A."""
    order = [(True, False), (False, False), (False, True)]
    random.Random(number).shuffle(order)
    found = []
    for collected, second in order:
        pause(not collected)
        time.sleep(SETTLE_SHARE * slice_s)
        begin_s = time.time()
        time.sleep((1 - SETTLE_SHARE) * slice_s)
        found.append(Slice(number, collected, second, begin_s, time.time()))
    pause(False)
    return found


def typical_s(steps: NDArray[np.float64], piece: Slice) -> float:
    """The median of the steps that lie inside; NaN for too few."""
    inside = (steps[:, 0] >= piece.begin_s) & (steps[:, 1] <= piece.end_s)
    return float(np.median((steps[:, 1] - steps[:, 0])[inside])) if inside.sum() >= MIN_STEPS else float("nan")


def ratios(slices: Sequence[Slice], took: Sequence[float]) -> tuple[Ratio, Ratio] | None:
    """With the collector to without it, and without to without; None where no round is whole."""
    by_round: dict[int, dict[tuple[bool, bool], float]] = {}
    for piece, step_s in zip(slices, took, strict=True):
        by_round.setdefault(piece.round, {})[piece.collected, piece.second] = step_s
    whole = [row for row in by_round.values() if all(np.isfinite(list(row.values())))]
    if not whole:
        return None
    on = [row[True, False] / row[False, False] for row in whole]
    off = [row[False, True] / row[False, False] for row in whole]
    return Ratio(*paired(on)), Ratio(*paired(off))


def judge(report: Report, found: tuple[Ratio, Ratio] | None, cpu_pct: float) -> None:
    report.judge(
        cpu_pct <= MAX_CPU_PCT, "CPU of collector and sampler", f"At most {MAX_CPU_PCT:g} %.", cpu_pct, "% of a core"
    )
    if found is None:
        report.line("FAIL", "steps", f"No round has {MIN_STEPS} steps in each slice: the training is too slow.")
        return
    ours, same = found
    words = f"95 % interval {ours.low:.4f} to {ours.high:.4f}; A/A {same.low:.4f} to {same.high:.4f}"
    report.judge(
        ours.low <= MAX_RATIO,
        "step with the collector",
        f"{words}; missed where all of it lies above {MAX_RATIO:g}.",
        ours.middle,
        "x",
    )
