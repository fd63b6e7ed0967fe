"""What a dashboard would have seen of a real card's steps: NVML's counter and our stacks, derived from a trace and repeated in random order.

A trace spans a second; a ledger needs a minute. Its steps, without the first and the last, are cut where they begin on the host and laid
one after the other, drawn anew each time: *tiled*. What crosses a cut is cut. Nothing of the ledger's rules is used here.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.traces.device import DeviceTimeline, Work, steps_of, timelines_of
from analysis.traces.events import ON_CARD, Floats, Trace, TraceKind, Whole, read_trace
from analysis.traces.host import frame_of
from analysis.traces.idle import NAMED, IdleCause, IdlePieces, idle_of
from collectors.records import Event, Frame, Points, Record, StackRecording, StackSpan, labels_of
from tests.support.judged import HOST, T0, card_labels, machine_point
from tests.support.judged_stacks import LINEAR, LOADER, SYNCHRONIZE

RUN = "tiled"
COUNTER_S = 1 / 6  # NVML says that a period lies between this and one second
HZ, JITTER_S, PIECE_S = 100.0, 0.002, 10.0
SITE = "site-packages/"
LOOP = Frame("main", "/job/train.py", 40)
BACKWARD = Frame("_engine_run_backward", "/venv/lib/python3.11/site-packages/torch/autograd/graph.py", 800)
CAUSES = tuple(IdleCause)


class TiledStep(NamedTuple):
    """Times are seconds from the step's beginning."""

    seconds: float
    kernels: Floats  # begin and end of each stretch in which any kernel ran, as NVML counts
    copies_s: float  # of copies and memsets beside which no kernel ran: no part of what NVML counts
    idle_s: Floats  # by cause
    seen: list[
        tuple[float, tuple[Frame, ...], bool]
    ]  # from when on, the main thread's stack, and whether it had the GIL


def read(path: Path) -> list[TiledStep]:
    with gzip.open(path) as file:
        trace = read_trace(file)  # type: ignore[arg-type]
    (timeline, *_) = timelines_of(trace, trace.rows(*ON_CARD))
    pieces, seen = idle_of(trace, timeline), Host(trace)
    return [_step(trace, timeline, pieces, seen, lo, hi) for _, lo, hi in steps_of(trace)[1:-1]]


def _step(trace: Trace, timeline: DeviceTimeline, pieces: IdlePieces, host: Host, lo: float, hi: float) -> TiledStep:
    begun, ended = (np.clip(times, lo, hi) for times in (timeline.start_us, timeline.end_us))
    lengths = ended - begun
    whole = timeline.end_us[pieces.places] - timeline.start_us[pieces.places]
    inside = lengths[pieces.places] / np.maximum(whole, 1e-9)
    idle_us = (pieces.by_cause * inside[:, None]).sum(axis=0)
    kernels = _union(trace, trace.rows(TraceKind.KERNEL), lo, hi)
    idle_us[IdleCause.UNKNOWN] += (hi - lo) - lengths.sum()  # before the card's first, or behind its last
    copies_us = float(lengths[timeline.work == Work.MEMORY].sum())
    return TiledStep((hi - lo) / 1e6, (kernels - lo) / 1e6, copies_us / 1e6, idle_us / 1e6, host.seen(lo, hi))


def _union(trace: Trace, rows: Whole, lo: float, hi: float) -> Floats:
    spans = np.stack([trace.start_us[rows], trace.end_us[rows]], axis=1)
    spans = np.clip(spans[(spans[:, 1] > lo) & (spans[:, 0] < hi)], lo, hi)
    if not len(spans):
        return np.zeros((0, 2))
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    first = np.flatnonzero(np.r_[True, spans[1:, 0] > reach[:-1]])
    return np.stack([spans[first, 0], np.r_[reach[first[1:] - 1], reach[-1]]], axis=1)


class Host:
    """The main thread: the one that the steps are on.

    Where the trace has the stacks of operators, the thread stands, between two of them, in what both have in common. Where it has none,
    the stack is one that such a thread has: in the loader, in an operator (each at a line of its own), at a call that waits for the
    card, in a backward pass that another thread runs, else in the loop.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        operators, calls = trace.rows(TraceKind.OPERATOR), trace.rows(TraceKind.RUNTIME)
        notes = trace.rows(TraceKind.ANNOTATION, TraceKind.OPERATOR)
        steps = [row for row in notes if trace.text(int(trace.name[row])).startswith("ProfilerStep")]
        self.main = int(trace.thread[steps[0]])
        mine = operators[(trace.thread[operators] == self.main) & ~np.isin(operators, steps)]
        self.operators = mine
        self.stacked = bool((trace.stack[mine] >= 0).any())
        self.others = operators[trace.thread[operators] != self.main]
        waits = [row for row in calls if trace.thread[row] == self.main and self._is(row, IdleCause.SYNC)]
        loads = [row for row in notes if trace.thread[row] == self.main and self._is(row, IdleCause.DATA)]
        self.waits, self.loads = np.array(waits, np.int64), np.array(loads, np.int64)

    def _is(self, row: int, cause: IdleCause) -> bool:
        return NAMED[cause].match(self.trace.text(int(self.trace.name[row]))) is not None

    def seen(self, lo: float, hi: float) -> list[tuple[float, tuple[Frame, ...], bool]]:
        """One entry a change, at a millisecond's grid: our samples are ten apart."""
        moments = np.arange(lo, hi, 1_000.0)
        found: list[tuple[float, tuple[Frame, ...], bool]] = []
        operator, waits, loads, other = (
            self._open(rows, moments) for rows in (self.operators, self.waits, self.loads, self.others)
        )
        for i, at_us in enumerate(moments.tolist()):
            free = operator[i] < 0 and waits[i] < 0
            backward = free and other[i] >= 0 and loads[i] < 0
            stack = (
                self._recorded(at_us, int(operator[i]))
                if self.stacked
                else self._usual(int(operator[i]), bool(loads[i] >= 0))
            )
            if waits[i] >= 0:
                stack = (*stack, SYNCHRONIZE) if not self.stacked else stack
            elif backward:
                stack = (*(frame for frame in stack if not _is_library(frame)), BACKWARD)
            gil = free and not backward
            if not found or found[-1][1:] != (stack, gil):
                found.append(((at_us - lo) / 1e6, stack, gil))
        return found

    def _open(self, rows: Whole, moments: Floats) -> Whole:
        """The outermost of these rows around each moment; -1 for none."""
        if not len(rows):
            return np.full(len(moments), -1, np.int64)
        starts, ends = self.trace.start_us[rows], self.trace.end_us[rows]
        reach = np.maximum.accumulate(ends)
        outer = np.flatnonzero(np.r_[True, starts[1:] >= reach[:-1]])
        at = np.searchsorted(starts[outer], moments, "right") - 1
        inside = (at >= 0) & (moments < reach[np.r_[outer[1:] - 1, len(rows) - 1]][np.maximum(at, 0)])
        return np.where(inside, rows[outer][np.maximum(at, 0)], -1)

    def _recorded(self, at_us: float, operator: int) -> tuple[Frame, ...]:
        if operator >= 0:
            return self._stack(operator)
        starts = self.trace.start_us[self.operators]
        at = int(np.searchsorted(starts, at_us, "right"))
        before, after = (self._stack(int(self.operators[i])) for i in (max(0, at - 1), min(at, len(starts) - 1)))
        common = [one for one, other in zip(before, after, strict=False) if one == other]
        return tuple(common) or before[:1]

    def _stack(self, operator: int) -> tuple[Frame, ...]:
        texts = self.trace.text(int(self.trace.stack[operator])).split(";")
        return tuple(_placed(frame_of(text)) for text in reversed(texts) if text)

    def _usual(self, operator: int, loading: bool) -> tuple[Frame, ...]:
        if loading:
            return LOOP, LOADER
        return (LOOP, Frame("forward", "/job/model.py", operator), LINEAR) if operator >= 0 else (LOOP,)


def _is_library(frame: Frame) -> bool:
    return SITE in frame.file


def _placed(frame: Frame) -> Frame:
    """In the folder of the job, or in that of its libraries."""
    if SITE in frame.file:
        return frame._replace(file=f"/venv/lib/python3.11/{SITE}{frame.file.partition(SITE)[2]}")
    return frame._replace(file=f"/job/{Path(frame.file).name}")


class TiledRun(NamedTuple):
    records: list[Record]
    seconds: float
    busy: float  # kernels' share of the window, in truth
    copies: float
    idle: Floats  # by cause


def tiled(steps: list[TiledStep], seconds: float, seed: int) -> TiledRun:
    """At least so long."""
    dice = np.random.default_rng(seed)
    order: list[TiledStep] = []
    while sum(step.seconds for step in order) < seconds:
        order.append(steps[int(dice.integers(len(steps)))])
    begins_s = np.r_[0.0, np.cumsum([step.seconds for step in order])]
    whole_s = float(begins_s[-1])
    kernels = np.concatenate([step.kernels + at_s for step, at_s in zip(order, begins_s, strict=False)])
    records = [*_started(), *_ends(begins_s[1:]), *_counter(kernels, whole_s), *_profiles(order, begins_s, dice)]
    idle: Floats = np.sum([step.idle_s for step in order], axis=0) / whole_s
    busy_s = float((kernels[:, 1] - kernels[:, 0]).sum())
    return TiledRun(records, whole_s, busy_s / whole_s, sum(step.copies_s for step in order) / whole_s, idle)


def _started() -> Iterator[Record]:
    place = {"pid": os.getpid(), "host": HOST}
    yield Event(RUN, "start", T0, rank=0, fields=place)


def _ends(ends_s: Floats) -> Iterator[Record]:
    for step, end_s in enumerate(ends_s.tolist()):
        yield Points(RUN, labels_of(rank=0), ("train/loss",), (1.0,), T0 + end_s, step)


def _counter(kernels: Floats, whole_s: float) -> Iterator[Record]:
    """In whole percent, as the driver gives it."""
    edges = np.arange(0.0, whole_s, COUNTER_S)
    at, total = kernels.ravel(), np.zeros(2 * len(kernels))
    total[1::2] = np.cumsum(kernels[:, 1] - kernels[:, 0])
    total[2::2] = total[1:-1:2]
    share = np.diff(np.interp(edges, at, total)) / COUNTER_S
    for end_s, percent in zip(edges[1:].tolist(), np.rint(100 * share).tolist(), strict=True):
        yield machine_point(T0 + end_s, card_labels(), {"gpu/utilization_pct": percent})


def _profiles(order: list[TiledStep], begins_s: Floats, dice: np.random.Generator) -> Iterator[Record]:
    whole_s = float(begins_s[-1])
    moments = np.arange(0.0, whole_s, 1 / HZ)
    moments = np.sort(np.clip(moments + dice.uniform(-JITTER_S, JITTER_S, len(moments)), 0, whole_s))
    pid = os.getpid()
    for lo_s in np.arange(0.0, whole_s, PIECE_S).tolist():
        hi_s = min(lo_s + PIECE_S, whole_s)
        mine = moments[(moments >= lo_s) & (moments < hi_s)]
        samples = []
        for at_s, next_s in zip(mine.tolist(), np.r_[mine[1:], hi_s].tolist(), strict=True):
            stack, gil = _at(order, begins_s, at_s)
            length_ns = round(1e9 * (next_s - at_s))
            samples.append(StackSpan(round(1e9 * (at_s - lo_s)), length_ns, pid, stack, gil, length_ns))
        yield StackRecording(
            RUN,
            0,
            pid,
            "main",
            HOST,
            "native",
            HZ,
            T0 + lo_s,
            0,
            round(1e9 * (hi_s - lo_s)),
            {pid: "MainThread"},
            samples,
            len(samples),
        )


def _at(order: list[TiledStep], begins_s: Floats, at_s: float) -> tuple[tuple[Frame, ...], bool]:
    place = min(int(np.searchsorted(begins_s, at_s, "right")) - 1, len(order) - 1)
    seen = order[place].seen
    since_s = at_s - float(begins_s[place])
    number = int(np.searchsorted([entry[0] for entry in seen], since_s, "right")) - 1
    return seen[max(0, number)][1:]
