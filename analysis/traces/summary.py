"""What a trace of PyTorch's profiler says, in a few thousand rows: kernels by stack, and the cards' time by step and by cause."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from collectors.records import Frame

from .device import (
    DeviceShares,
    DeviceTimeline,
    TraceStep,
    Work,
    counted,
    launches_of,
    step_of,
    steps_of,
    timelines_of,
    work_of,
)
from .events import Trace, TraceError, TraceKind, Whole, read_trace
from .host import HostStacks, stacks_of
from .idle import IdleCause, idle_of
from .steps import KernelKind, TracedKernel

MAX_KERNELS, MAX_LATE = 5_000, 200  # rows that are kept: those that took longest
TENSOR_CORES = re.compile(
    r"[hsitf]?(?:884|1688|16816|16832|8816|8832)(?!\d)|gmma|hmma|imma|tensorop|mfma", re.IGNORECASE
)
KIND_OF: dict[int, KernelKind] = {Work.COMPUTE: "compute", Work.COMMUNICATION: "communication", Work.MEMORY: "copy"}
EPOCH_S = (1.0e9, 1.0e11)  # what may be a time of day


class LateLaunch(NamedTuple):
    """A line that launched what ended idle time, and how long the card had been idle, by cause."""

    stack: tuple[Frame, ...]  # () where the trace does not say
    name: str  # of what ended it
    idle_s: tuple[float, ...]  # by `IdleCause`
    times: int


class CardStep(NamedTuple):
    """A step as the card saw it."""

    number: int
    shares: DeviceShares
    idle_s: tuple[float, ...]  # by `IdleCause`


class CardSummary(NamedTuple):
    """Of the time in which steps were counted: see `device.py`."""

    device: int
    shares: DeviceShares
    idle_s: tuple[float, ...]  # by `IdleCause`
    steps: tuple[CardStep, ...]
    late: tuple[LateLaunch, ...]  # those that cost most
    queued: float | None  # median of what had been launched and had not begun, when something began
    tensor_cores: float | None  # share of the computation in kernels whose names are those of tensor or matrix cores


class TraceSummary(NamedTuple):
    """`from_s` is None where the trace's clock is no time of day."""

    rank: int | None
    ranks: int | None
    from_s: float | None
    seconds: float
    steps: tuple[TraceStep, ...]
    cards: tuple[CardSummary, ...]
    kernels: tuple[TracedKernel, ...]  # of all that ran on the cards
    left_out: int  # rows of kernels that took least
    left_out_s: float
    counts: dict[str, int]  # of events, by what they are
    events_left_out: int
    is_cut: bool


def open_trace(path: Path) -> BinaryIO:
    """Unpacks what is packed by gzip, whatever it is called. Raises OSError."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if is_packed else path.open("rb")


def summary_of_file(path: Path) -> TraceSummary:
    """Raises TraceError, OSError."""
    with open_trace(path) as file:
        try:
            return summary_of(read_trace(file))
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise TraceError("is cut off or is no whole gzip file: have it written or copied again") from None


def summary_of(trace: Trace) -> TraceSummary:
    steps = steps_of(trace)
    rows = trace.rows(TraceKind.KERNEL, TraceKind.COPY, TraceKind.FILL)
    stacks = stacks_of(trace, rows)
    kernels, left_out, left_out_s = _kernels(trace, rows, stacks)
    of_steps = counted(trace, steps)
    cards = tuple(_card(trace, of_steps, steps, timeline) for timeline in timelines_of(trace, of_steps))
    rank, ranks = _ranks(trace)
    return TraceSummary(
        rank,
        ranks,
        _epoch_s(trace),
        float(trace.end_us.max()) / 1e6,
        tuple(steps),
        cards,
        kernels,
        left_out,
        left_out_s,
        {kind.name.lower(): int((trace.kind == kind).sum()) for kind in TraceKind},
        trace.left_out,
        trace.is_cut,
    )


def _kernels(trace: Trace, rows: Whole, stacks: HostStacks) -> tuple[tuple[TracedKernel, ...], int, float]:
    """By stack, name and kind, the dearest first; how many of these are left out, and their seconds."""
    if not len(rows):
        return (), 0, 0.0
    works = work_of(trace, rows)
    keys, of_row = np.unique(np.stack([stacks.of_row, trace.name[rows], works], axis=1), axis=0, return_inverse=True)
    of_row = of_row.ravel()
    seconds = np.bincount(of_row, trace.duration_us[rows]) / 1e6
    calls = np.bincount(of_row)
    order = np.argsort(-seconds, kind="stable")
    kept = [
        TracedKernel(
            stacks.stacks[stack] if stack >= 0 else (),
            trace.text(name),
            KIND_OF[work],
            float(seconds[place]),
            int(calls[place]),
            False,
        )
        for place, (stack, name, work) in zip(order[:MAX_KERNELS], keys[order[:MAX_KERNELS]].tolist(), strict=True)
    ]
    return tuple(kept), max(0, len(keys) - MAX_KERNELS), float(seconds[order[MAX_KERNELS:]].sum())


def _card(trace: Trace, rows: Whole, steps: Sequence[TraceStep], timeline: DeviceTimeline) -> CardSummary:
    idle = idle_of(trace, timeline)
    by_step = step_of(trace, rows, list(steps), timeline) if steps else np.zeros(len(timeline.work), np.int64)
    own = []
    for place, step in enumerate(steps):
        chosen = np.flatnonzero(by_step == place)
        if len(chosen):
            of_step = idle.by_cause[by_step[idle.places] == place].sum(axis=0)
            own.append(CardStep(step.number, timeline.shares(chosen), _seconds(of_step)))
    mine = rows[trace.device[rows] == timeline.device]
    return CardSummary(
        timeline.device,
        timeline.shares(),
        _seconds(idle.by_cause.sum(axis=0)),
        tuple(own),
        _late(trace, timeline.next_row[idle.places], idle.by_cause),
        _queued(trace, mine),
        _tensor_cores(trace, mine),
    )


def _late(trace: Trace, rows: Whole, by_cause: np.ndarray) -> tuple[LateLaunch, ...]:
    stacks = stacks_of(trace, rows)
    keys, of_row = np.unique(np.stack([stacks.of_row, trace.name[rows]], axis=1), axis=0, return_inverse=True)
    of_row = of_row.ravel()
    sums = np.stack([np.bincount(of_row, by_cause[:, cause], len(keys)) for cause in IdleCause], axis=1)
    times = np.bincount(of_row, minlength=len(keys))
    order = np.argsort(-sums.sum(axis=1), kind="stable")[:MAX_LATE]
    return tuple(
        LateLaunch(
            stacks.stacks[stack] if stack >= 0 else (), trace.text(name), _seconds(sums[place]), int(times[place])
        )
        for place, (stack, name) in zip(order.tolist(), keys[order].tolist(), strict=True)
    )


def _queued(trace: Trace, rows: Whole) -> float | None:
    """Median, over what began on the card, of what had been launched before that and had not begun."""
    launches = launches_of(trace, rows)
    known = launches >= 0
    if not known.any():
        return None
    launched = np.sort(trace.start_us[launches[known]])
    begun = np.sort(trace.start_us[rows[known]])
    return float(np.median(np.searchsorted(launched, begun, side="right") - np.arange(1, len(begun) + 1)))


def _tensor_cores(trace: Trace, rows: Whole) -> float | None:
    computes = rows[work_of(trace, rows) == Work.COMPUTE]
    whole_us = trace.duration_us[computes].sum()
    if not whole_us:
        return None
    names = [id_ for id_, text in enumerate(trace.texts) if TENSOR_CORES.search(text)]
    return float(trace.duration_us[computes[np.isin(trace.name[computes], names)]].sum() / whole_us)


def _seconds(us: np.ndarray) -> tuple[float, ...]:
    return tuple(float(one) / 1e6 for one in us)


def _ranks(trace: Trace) -> tuple[int | None, int | None]:
    """The rank that was traced, and how many there are, where `torch.distributed` was at work."""
    found = trace.about.get("distributedInfo")
    if not isinstance(found, dict):
        return None, None
    rank, ranks = found.get("rank"), found.get("world_size")
    return (rank if type(rank) is int else None), (ranks if type(ranks) is int else None)


def _epoch_s(trace: Trace) -> float | None:
    """PyTorch >= 2.3 writes times since `baseTimeNanoseconds`, older versions since 1970."""
    base = trace.about.get("baseTimeNanoseconds", 0)
    begun_s = trace.base_us / 1e6 + (base / 1e9 if isinstance(base, int | float) else 0.0)
    return begun_s if EPOCH_S[0] < begun_s < EPOCH_S[1] else None
