"""The numbers beside a verdict: each of the window, and of its normal."""

from __future__ import annotations

import numpy as np

from ..stacks.joining import waits_of_stacks
from ..stacks.traces import Range
from .steplog import StepLog
from .verdict import Case, Gpu, Host, Row, Side

NEXT_TO_NOTHING = 0.1  # of all cores


def rows(case: Case, log: StepLog, gpu: Gpu | None = None, host: Host | None = None) -> list[Row]:
    """Steps a second, phases, how busy the GPUs are and other programs keep the cores, and how much of its time the main thread waits."""
    phases = _phases(log, case.window.ranges, case.normal.ranges if case.normal else [])
    return [*_rate(case), *phases, *_gpus(gpu), *_others(host), _waits(case)]


def _rate(case: Case) -> list[Row]:
    window, normal = case.window, case.normal
    if window.units is None:
        return []
    return [Row(f"{case.per.capitalize()}s/s", f"{case.per}s/s", _per_second(window), _per_second(normal))]


def _per_second(side: Side | None) -> float | None:
    return side.units / side.seconds if side and side.units and side.seconds else None


def _phases(log: StepLog, window: list[Range], normal: list[Range]) -> list[Row]:
    phases = log.phases
    steps, base = phases.steps_within(window), phases.steps_within(normal)
    if not steps:
        return []
    here = (phases.seconds_within(window) / steps).tolist()
    there = (phases.seconds_within(normal) / base).tolist() if base else [None] * len(here)
    return [Row(f"{name.capitalize()}", f"s/{log.per}", *pair) for name, *pair in zip(phases.names, here, there, strict=True)]


def _gpus(gpu: Gpu | None) -> list[Row]:
    if gpu is None:
        return []
    unit = "% of normal" if gpu.signal == "power" else "%"
    clock = [Row("SM clock", "MHz", *gpu.clock_mhz)] if gpu.clock_mhz else []
    return [Row(f"GPU {gpu.signal}", unit, *gpu.busy_pct), *clock]


def _others(host: Host | None) -> list[Row]:
    """Where they matter: most of the time the machine's other programs do next to nothing."""
    if host is None or max(host.others) < NEXT_TO_NOTHING * host.cores:
        return []
    return [Row("CPU of others", "cores", *host.others)]


def _waits(case: Case) -> Row:
    return Row("Main thread waits", "share", _wait_share(case.window), _wait_share(case.normal))


def _wait_share(side: Side | None) -> float | None:
    if side is None or not side.seconds:
        return None
    waits = np.array([wait is not None for wait in waits_of_stacks(side.traces)], bool)
    return float(side.traces.seconds[waits[side.traces.stack]].sum()) / side.seconds
