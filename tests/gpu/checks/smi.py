"""The collector's figures beside those of nvidia-smi, at the same time, under a steady load."""

from __future__ import annotations

import math
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from collectors.machine.nvml import NvmlCollector
from collectors.records import Points

from ..lines import Report
from ..load import loads
from ..plan import Setting

PROGRAM = "nvidia-smi"
COLLECT_S, ASK_S, SMI_S = 0.2, 0.7, 10.0
SETTLE_S = 1.5


class Compared(NamedTuple):
    field: str  # of --query-gpu
    metric: str
    factor: float  # from the metric's unit to that of nvidia-smi
    unit: str
    near: float  # that far apart they may be, in that unit,
    near_share: float  # or by that share


COMPARED = (
    Compared("utilization.gpu", "gpu/utilization_pct", 1, "%", 10, 0),
    Compared("memory.used", "gpu/memory_used_bytes", 2**-20, "MiB", 64, 0.01),
    Compared("power.draw", "gpu/power_w", 1, "W", 10, 0.1),
    Compared("clocks.sm", "gpu/sm_clock_mhz", 1, "MHz", 60, 0.03),
    Compared("clocks.mem", "gpu/memory_clock_mhz", 1, "MHz", 60, 0.03),
    Compared("temperature.gpu", "gpu/temperature_c", 1, "C", 3, 0),
)


def check(setting: Setting, report: Report) -> None:
    if shutil.which(PROGRAM) is None:
        report.skip("all", f"Skipped: {PROGRAM} is not here.")
        return
    with loads() as card:
        card.begin("full", setting.seconds(10.0, 3.5))
        time.sleep(SETTLE_S if card.has_card else 0)
        measure(setting, report)


def measure(setting: Setting, report: Report) -> None:
    collector = NvmlCollector("here")
    points: list[Points] = []
    rows: list[list[float]] = []
    end_s, ask_s = time.monotonic() + setting.seconds(6.0, 2.5), 0.0
    while time.monotonic() < end_s or not rows:
        points += collector.collect()
        if time.monotonic() >= ask_s:
            ask_s = time.monotonic() + ASK_S
            rows.append(numbers(asked(f"--query-gpu={','.join(row.field for row in COMPARED)}").splitlines()[0]))
        time.sleep(COLLECT_S)
    pids = {process.pid for gpu in collector.inventory().gpus if gpu.mig is None for process in gpu.processes}
    theirs = {int(line) for line in asked("--query-compute-apps=pid").splitlines() if line.strip().isdecimal()}
    collector.close()
    for at, row in enumerate(COMPARED):
        beside(report, row, ours(points, row), [answer[at] for answer in rows])
    of_pids(report, pids, theirs)


def asked(query: str) -> str:
    """Raises CalledProcessError or TimeoutExpired, which fail the check with their sentence."""
    command = [PROGRAM, query, "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SMI_S, check=True).stdout


def numbers(line: str) -> list[float]:
    """`97, 62943, [N/A]`: NaN for what is no number."""
    found = []
    for word in line.split(","):
        try:
            found.append(float(word))
        except ValueError:
            found.append(math.nan)
    return found


def ours(points: Sequence[Points], row: Compared) -> list[float]:
    """Of the first card."""
    return [
        value * row.factor
        for record in points
        if dict(record.labels).get("gpu") == "0" and "mig" not in dict(record.labels)
        for name, value in zip(record.names, record.values, strict=True)
        if name == row.metric
    ]


def beside(report: Report, row: Compared, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Medians of both; a figure that neither has is no difference."""
    known = [value for value in theirs if not math.isnan(value)]
    if not ours and not known:
        report.skip(row.field, "Skipped: neither of the two has it on this card.")
    elif not ours or not known:
        has, lacks = (PROGRAM, "the collector") if known else ("the collector", PROGRAM)
        report.line("FAIL", row.field, f"{has} has it, {lacks} has not.")
    else:
        mine, other = statistics.median(ours), statistics.median(known)
        good = abs(mine - other) <= max(row.near, row.near_share * abs(other))
        report.judge(
            good,
            row.field,
            f"The collector reads {mine:.5g} {row.unit}, {PROGRAM} {other:.5g}.",
            mine - other,
            row.unit,
        )


def of_pids(report: Report, ours: set[int], theirs: set[int]) -> None:
    lists = f"The collector names {sorted(ours) or 'none'}, {PROGRAM} {sorted(theirs) or 'none'}"
    report.judge(theirs <= ours, "pids", f"{lists}.", len(ours))
