"""What the dashboard would know of a simulated run: stack samples with holes, the driver's counter with its clock, the step log."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.ledger.device import DeviceUtilization
from analysis.ledger.evidence import StepLeads, ThreadSamples
from analysis.ledger.idle import LedgerInput
from analysis.ledger.kinds import ChargeTarget
from collectors.records import Frame

from .labels import BACKWARD, COLLECTION, FORWARD, LABELS, MECHANISM, OPTIMIZER, STATEMENT, VALIDATION, Label
from .machine import Floats, Machine
from .training import OF_VALIDATION
from .truth import Truth


def _place(label: Label) -> ChargeTarget:
    """`train.py:40 next(loader)` -> `ChargeTarget("data", Frame("next(loader)", "train.py", 40))`"""
    where, _, name = label.line.partition(" ")
    file, _, line = where.partition(":")
    return ChargeTarget(
        label.kind,
        Frame(name, file, int(line)) if line else None,
        joined="workers" if label.line.endswith("next(loader)") else "",
    )


PLACES = [_place(label) for label in LABELS]


@dataclass(frozen=True)
class Looking:
    """How well the run is seen."""

    period_s: float = 1 / 6  # of the counter
    hz: float = 100.0  # of the stacks
    jitter_s: float = 0.002
    lost: float = 0.01  # of samples and of values
    hole_s: float = 0.3  # in the stacks, once a minute
    skew_s: float | None = None  # of the counter's clock; drawn up to 50 ms where None


def known_of(machine: Machine, truth: Truth, seed: int, tier: str = "A", looking: Looking | None = None) -> LedgerInput:
    look, random = looking or Looking(), np.random.default_rng(seed + 1000)
    moments = _stacks(machine, truth, look, random)
    busy = _counter(machine, truth, look, random)
    if tier == "A":
        return LedgerInput(moments, busy)
    steps = machine.steps
    columns = (np.array([step[i] for step in steps]) for i in range(3))
    end_s, data_s, lead_s = columns
    collections = [(begin, begin + seconds) for begin, seconds in machine.collections]
    return LedgerInput(moments, busy, StepLeads(end_s, data_s, lead_s, data_s >= 0), collections)


def _stacks(machine: Machine, truth: Truth, look: Looking, random: np.random.Generator) -> ThreadSamples:
    time_s = np.arange(0.01, machine.host_s, 1 / look.hz)
    time_s = np.sort(time_s + random.uniform(-look.jitter_s, look.jitter_s, len(time_s)))
    kept = random.random(len(time_s)) > look.lost
    for begin in random.uniform(0, machine.host_s, int(machine.host_s / 60) + 1):
        kept &= ~((time_s > begin) & (time_s < begin + look.hole_s))
    time_s = time_s[kept]
    segment = np.clip(np.searchsorted(truth.start_s, time_s, "right") - 1, 0, len(truth.start_s) - 1)
    first, last = (np.array([row[i] for row in machine.segments])[segment] for i in (3, 4))
    through = (time_s - truth.start_s[segment]) / np.maximum(truth.end_s[segment] - truth.start_s[segment], 1e-12)
    position = np.floor(first + through * (last - first)).astype(np.int64)
    label = _as_seen(truth.label[segment], position)
    return ThreadSamples(
        time_s=time_s,
        seconds=_durations(time_s),
        state=MECHANISM[label],
        place=label,
        position=label * 100_000 + position,
        statement=STATEMENT[label],
        opaque=label == BACKWARD,
        places=PLACES,
        period_s=1 / look.hz,
    )


def _as_seen(label: np.ndarray, position: np.ndarray) -> np.ndarray:
    """A garbage collection has no frame: the stack shows the launch that it interrupts."""
    seen = np.where(label == COLLECTION, FORWARD, label)
    for behind, other in ((100 * BACKWARD, BACKWARD), (100 * OPTIMIZER, OPTIMIZER), (OF_VALIDATION, VALIDATION)):
        seen = np.where((label == COLLECTION) & (position >= behind), other, seen)
    return seen


def _durations(time_s: Floats) -> Floats:
    """Halfway to both neighbours, at most the usual distance on each side."""
    usual = float(np.median(np.diff(time_s)))
    middle = (time_s[1:] + time_s[:-1]) / 2
    starts = np.maximum(np.r_[time_s[0] - usual / 2, middle], time_s - usual)
    ends = np.minimum(np.r_[middle, time_s[-1] + usual / 2], time_s + usual)
    seconds: Floats = ends - starts
    return seconds


def _counter(machine: Machine, truth: Truth, look: Looking, random: np.random.Generator) -> DeviceUtilization:
    """Means over a period, in whole percent."""
    edges = np.arange(0, machine.host_s, look.period_s)
    share = 1 - np.diff(np.interp(edges, truth.idle_at, truth.idle_sum)) / look.period_s
    share = np.floor(share * 100 + 0.5) / 100
    skew_s = float(random.uniform(-0.05, 0.05)) if look.skew_s is None else look.skew_s
    kept = random.random(len(share)) > look.lost
    return DeviceUtilization((edges[:-1] + skew_s)[kept], (edges[1:] + skew_s)[kept], share[kept], "driver samples")
