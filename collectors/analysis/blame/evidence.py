"""The numbers beside a verdict: each of the window, and of its baseline."""

from __future__ import annotations

from typing import NamedTuple

from ..baseline.steplog import StepLog
from ..stacks.joining import is_waiting
from ..stacks.traces import Range, Traces
from ..stacks.trust import LineOf
from .verdict import Case, Evidence, GpuLook, HostLook, Side

WAITS = "Main thread waits"
NEXT_TO_NOTHING = 0.1  # of all cores


def rows(case: Case, log: StepLog) -> list[Evidence]:
    """Steps a second, phases, how busy the GPUs are and other programs keep the cores."""
    phases = _phases(log, case.window.ranges, case.baseline.ranges if case.baseline else [])
    return [*_rates(case, log), *phases, *_gpus(case.gpu), *_others(case.host)]


def _rates(case: Case, log: StepLog) -> list[Evidence]:
    """Steps a second; where steps are of different sizes, those, too, and how long a token takes."""
    if case.window.units is None or log.steps is None:
        return []
    sides = [_Rate.of(side, log) for side in (case.window, case.baseline)]
    rows = [Evidence(f"{case.unit_name.capitalize()}s/s", f"{case.unit_name}s/s", *(side.steps for side in sides))]
    if log.sized is None:
        return rows
    what = log.sized.name
    return [
        *rows,
        Evidence(f"{what.capitalize()} per {case.unit_name}", what, *(side.size for side in sides)),
        Evidence(f"Time per {what.removesuffix('s')}", "us", *(side.amount_us for side in sides)),
    ]


class _Rate(NamedTuple):
    steps: float | None  # a second
    size: float | None = None  # of a step
    amount_us: float | None = None  # how long a token takes

    @classmethod
    def of(cls, side: Side | None, log: StepLog) -> _Rate:
        seconds = sum(hi - lo for lo, hi in side.ranges) if side else 0.0
        steps = log.steps.within(side.ranges) if side and log.steps else 0.0
        if not steps or not side or not seconds:
            return cls(None)
        amount = log.sized.amount.within(side.ranges) if log.sized else 0.0
        return cls(steps / seconds, amount / steps, 1e6 * seconds / amount if amount else None)


def _phases(log: StepLog, window: list[Range], baseline: list[Range]) -> list[Evidence]:
    phases = log.phases
    steps, base = phases.steps_within(window), phases.steps_within(baseline)
    if not steps:
        return []
    here = (phases.seconds_within(window) / steps).tolist()
    there = (phases.seconds_within(baseline) / base).tolist() if base else [None] * len(here)
    return [
        Evidence(f"{name.capitalize()}", f"s/{log.unit_name}", *pair)
        for name, *pair in zip(phases.names, here, there, strict=True)
    ]


def _gpus(gpu: GpuLook | None) -> list[Evidence]:
    if gpu is None:
        return []
    unit = "% of normal" if gpu.signal == "power" else "%"
    clock = [Evidence("SM clock", "MHz", *gpu.clock_mhz)] if gpu.clock_mhz else []
    return [Evidence(f"GPU {gpu.signal}", unit, *gpu.busy_pct), *clock]


def _others(host: HostLook | None) -> list[Evidence]:
    """Where they matter: most of the time the machine's other programs do next to nothing."""
    if host is None or max(host.others) < NEXT_TO_NOTHING * host.cores:
        return []
    return [Evidence("CPU of others", "cores", *host.others)]


def waits_of(main: tuple[Traces, Traces | None], case: Case, line_of: LineOf) -> Evidence:
    """How long the main thread waits, by its own stacks before they are joined with its workers'."""
    sides = case.window, case.baseline
    divisors = [(side.seconds if side.units is None else side.divisor) if side else None for side in sides]
    unit = "share" if case.window.units is None else f"s/{case.unit_name}"
    here, there = (
        _waited_s(side, line_of) / by if side is not None and by else None
        for side, by in zip(main, divisors, strict=True)
    )
    return Evidence(WAITS, unit, here, there)


def _waited_s(main: Traces, line_of: LineOf) -> float:
    return float(main.seconds[is_waiting(main, line_of)].sum())
