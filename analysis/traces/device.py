"""When a card was busy in the steps of a trace, with what, and why it was idle.

The definitions are those of HolisticTraceAnalysis, so that the shares can be compared: what counts is what was started before the last
step began (a profiler stops in its middle), a card's time is from the first of it to the last, and it is busy while anything runs on any
stream. A kernel of a collective is communication, a copy or a memset is memory, each other kernel is computation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from .events import NONE, ON_CARD, Floats, Trace, TraceError, TraceKind, Whole

MAX_CARDS = 64
MAX_NAME = 500  # characters in which a kernel's name says what it is
STEP = re.compile(r"ProfilerStep\s?#\s?(\d+)")
COLLECTIVE = re.compile(
    r"nccl|rccl|(?:all_?reduce|all_?gather|reduce_?scatter|all_?to_?all)_?(?:kernel|cross|one_?shot|two_?shot)",
    re.IGNORECASE,
)


class TraceStep(NamedTuple):
    number: int
    start_us: float
    end_us: float


class Work(IntFlag):
    """What runs on a card at a moment."""

    COMPUTE = 1
    COMMUNICATION = 2
    MEMORY = 4


class DeviceShares(NamedTuple):
    """Of one card. `together_us[work]`: the time in which just these kinds ran; 0 is idle. They add up to `span_us`."""

    together_us: tuple[float, ...]

    @property
    def span_us(self) -> float:
        return sum(self.together_us)

    @property
    def idle(self) -> float:
        return self.together_us[0] / self.span_us

    @property
    def compute(self) -> float:
        """Share of the span in which computation ran, whatever ran beside it."""
        return self.of(Work.COMPUTE) / self.span_us

    @property
    def exposed_us(self) -> float:
        """In which a collective ran and no computation."""
        return sum(
            us for work, us in enumerate(self.together_us) if work & Work.COMMUNICATION and not work & Work.COMPUTE
        )

    @property
    def exposed_communication(self) -> float:
        """Share of the span."""
        return self.exposed_us / self.span_us

    @property
    def overlap(self) -> float | None:
        """Share of the communication beside which computation ran; None without communication."""
        whole = self.of(Work.COMMUNICATION)
        both = sum(us for work, us in enumerate(self.together_us) if work & Work.COMMUNICATION and work & Work.COMPUTE)
        return both / whole if whole else None

    def of(self, kind: Work) -> float:
        """Microseconds in which it ran, whatever ran beside it."""
        return sum(us for work, us in enumerate(self.together_us) if work & kind)


def step_names(trace: Trace) -> list[int]:
    """Ids of the names of steps."""
    return [id_ for id_, text in enumerate(trace.texts) if STEP.match(text)]


def steps_of(trace: Trace) -> list[TraceStep]:
    """In their order; none where the script did not call the profiler's `step`."""
    named = {
        id_: int(found[1]) for id_, text in enumerate(trace.texts) if (found := STEP.match(text)) and len(found[1]) < 16
    }
    rows = np.flatnonzero(
        np.isin(trace.name, list(named)) & np.isin(trace.kind, (TraceKind.ANNOTATION, TraceKind.OPERATOR))
    )
    steps: dict[int, TraceStep] = {}  # an annotation may stand there as an operator, too
    for row in rows:
        number = named[int(trace.name[row])]
        steps.setdefault(number, TraceStep(number, float(trace.start_us[row]), float(trace.end_us[row])))
    return list(steps.values())


def launches_of(trace: Trace, rows: Whole) -> Whole:
    """The row of the call that started each of these rows of the card; -1 where the trace does not have it."""
    calls = trace.rows(TraceKind.RUNTIME)
    return matched(trace.correlation[rows], trace.correlation[calls], calls)


def matched(wanted: Whole, keys: Whole, rows: Whole) -> Whole:
    """The first of `rows` whose key is the one that is wanted; -1 for none, and for a wanted key below 0."""
    if not len(keys):
        return np.full(len(wanted), NONE, np.int64)
    order = np.argsort(keys, kind="stable")
    known = keys[order]
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where((known[at] == wanted) & (wanted >= 0), rows[order][at], NONE)


def work_of(trace: Trace, rows: Whole) -> Whole:
    """The kind of each of these rows of the card, as a `Work`."""
    collectives = [id_ for id_, text in enumerate(trace.texts) if COLLECTIVE.search(text, 0, MAX_NAME)]
    is_kernel = trace.kind[rows] == TraceKind.KERNEL
    is_collective = is_kernel & np.isin(trace.name[rows], collectives)
    return np.where(is_collective, Work.COMMUNICATION, np.where(is_kernel, Work.COMPUTE, Work.MEMORY)).astype(np.int64)


def counted(trace: Trace, steps: list[TraceStep]) -> Whole:
    """The rows of the card that were started before the last step began; all of them in a trace with fewer than two steps, or without calls."""
    rows = trace.rows(*ON_CARD)
    launches = launches_of(trace, rows)
    if len(steps) < 2 or not (launches >= 0).any():
        return rows
    last_us = steps[-1].start_us
    return rows[(launches >= 0) & (trace.start_us[launches] < last_us)]


class DeviceTimeline(NamedTuple):
    """What ran on one card from the first to the last of it: pieces in order, without a gap between them."""

    device: int
    start_us: Floats
    end_us: Floats
    work: Whole  # of a piece, as `Work`; 0 where the card was idle
    next_row: Whole  # what ended an idle piece, a row of the trace; -1 of any other piece

    def shares(self, chosen: slice | Whole = slice(None)) -> DeviceShares:
        lengths = (self.end_us - self.start_us)[chosen]
        return DeviceShares(tuple(float(us) for us in np.bincount(self.work[chosen], lengths, minlength=8)))

    def idle(self) -> Whole:
        """Places of the pieces in which the card was idle."""
        return np.flatnonzero(self.work == 0)


def timelines_of(trace: Trace, rows: Whole) -> list[DeviceTimeline]:
    """Of each card that these rows ran on for any time. Raises TraceError for more than a process can have."""
    works = work_of(trace, rows)
    found = []
    devices = np.unique(trace.device[rows])
    if len(devices) > MAX_CARDS:
        raise TraceError(f"names {len(devices):,} cards; a process has at most {MAX_CARDS}")
    for device in devices:
        mine = trace.device[rows] == device
        timeline = _timeline(int(device), trace, rows[mine], works[mine])
        if len(timeline.start_us):
            found.append(timeline)
    return found


def _timeline(device: int, trace: Trace, rows: Whole, works: Whole) -> DeviceTimeline:
    """A sweep over all starts and ends."""
    start, end = trace.start_us[rows], trace.end_us[rows]
    times = np.concatenate([start, end])
    order = np.argsort(times, kind="stable")
    times = times[order]
    work = np.zeros(len(times), np.int64)
    for kind in Work:
        is_kind = (works == kind).astype(np.int64)
        work |= np.where(np.cumsum(np.concatenate([is_kind, -is_kind])[order]) > 0, int(kind), 0)
    lasts = np.flatnonzero(np.diff(times) > 0)
    work, begun, ended = work[lasts], times[lasts], times[lasts + 1]
    by_start = np.argsort(start, kind="stable")
    at = np.minimum(np.searchsorted(start[by_start], ended), len(rows) - 1)
    return DeviceTimeline(device, begun, ended, work, np.where(work == 0, rows[by_start][at], NONE))


def step_of_launched(trace: Trace, launches: Whole, steps: Sequence[TraceStep]) -> Whole:
    """The step of each of these calls, as a place in `steps`; -1 of a call that is -1. What was started before the first step belongs to
    it."""
    starts = np.array([step.start_us for step in steps])
    found = np.maximum(np.searchsorted(starts, trace.start_us[launches], side="right") - 1, 0)
    return np.where(launches >= 0, found, NONE)


def step_of(trace: Trace, rows: Whole, of_row: Whole, steps: int, timeline: DeviceTimeline) -> Whole:
    """The step of each piece, by the steps of the card's rows. On a card a step lasts from the first that it started until the first that
    the next one started."""
    known = of_row >= 0
    firsts = np.full(steps, np.inf)
    np.minimum.at(firsts, of_row[known], trace.start_us[rows[known]])
    firsts = np.minimum.accumulate(firsts[::-1])[::-1]
    return np.maximum(np.searchsorted(firsts, timeline.start_us, side="right") - 1, 0)
