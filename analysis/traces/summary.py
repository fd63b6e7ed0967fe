"""What a trace of PyTorch's profiler says, in a few thousand rows: kernels by stack, and the cards' time by step and by cause."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias, cast

import numpy as np

from collectors.logs.open_files import NotRead, open_file
from collectors.message import text_of

from ..ledger.kinds import SMALL
from ..ledger.prediction import CoreSeconds, Prediction, limit_of_overlap, overlap, prediction_of, remains, spoken
from .device import (
    MAX_NAME,
    DeviceTimeline,
    TraceStep,
    Work,
    counted,
    launches_of,
    matched,
    step_names,
    step_of,
    step_of_launched,
    steps_of,
    timelines_of,
    work_of,
)
from .events import NONE, Floats, Trace, TraceError, TraceKind, Whole, read_trace
from .host import HostStacks, caller_of, enclosing, stacks_of, stacks_of_host
from .idle import IdleCause, IdlePieces, idle_of
from .steps import BusySeconds, CardStep, CardSummary, Collective, KernelKind, LateLaunch, StepTrace, TracedKernel

CUT = "is cut off or is no whole gzip file: have it written or copied again"
MAX_RATIO, MIN_BYTES = 100, 256 << 20  # unpacked of a packed byte, beyond that size; traces have about 12
HEAD_BYTES = 8 << 20  # that say when it began
MAX_KERNELS, MAX_LATE = 5_000, 200  # rows that are kept: those that took longest
MAX_STEPS = 1_000  # rows of a card, the first
# Names of kernels that use tensor cores, or AMD's matrix cores: tiles of cuBLAS and cuDNN (`s884`, `h16816`, `tensor16x8x16`, `nvjet`), of
# CUTLASS (`tensorop`, `hmma`), of Tensile (`_MI16x16x1`), and FlashAttention. A kernel whose name does not say so, as Triton's, is missed:
# the share is the least that it can be.
TENSOR_CORES = re.compile(
    r"(?<!\d)(?:884|1688|16816|16832|8816|8832)(?!\d)|tensor\d+x\d+|gmma|hmma|imma|tensorop|nvjet|flash_(?:fwd|bwd)|mfma|_MI\d+x\d+",
    re.IGNORECASE,
)
KIND_OF: dict[int, KernelKind] = {Work.COMPUTE: "compute", Work.COMMUNICATION: "communication", Work.MEMORY: "copy"}
RANK = re.compile(r"(?<![a-z])rank[-_.]?(\d{1,6})(?!\d)", re.IGNORECASE)
MAX_COLLECTIVES = 20_000
MAX_RANKS = 1_000_000
EPOCH_S = (1.0e9, 1.0e11)  # what may be a time of day
MAX_BASE_NS = 1e20


class TraceSummary(NamedTuple):
    """`from_s` is None where the trace's clock is no time of day."""

    rank: int | None
    ranks: int | None
    from_s: float | None
    seconds: float
    steps: tuple[TraceStep, ...]
    cards: tuple[CardSummary, ...]
    kernels: tuple[TracedKernel, ...]  # of the counted steps; without a card operators, without those that they call
    left_out: int  # rows of kernels that took least
    left_out_s: float
    counts: dict[str, int]  # of events, by what they are
    collectives: tuple[Collective, ...]
    events_left_out: int
    is_cut: bool


def summary_of_file(path: Path, root: Path) -> TraceSummary:
    """Of a file below the folder, which may be packed by gzip, whatever it is called. Raises TraceError, OSError."""
    try:
        descriptor = open_file(path, root)
    except NotRead as error:
        raise TraceError(str(error)) from None
    with os.fdopen(descriptor, "rb") as file, _unpacked(file) as unpacked:
        return summary_of(read_trace(unpacked))


@contextmanager
def _unpacked(file: BinaryIO) -> Iterator[BinaryIO]:
    is_packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    try:
        if not is_packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            most = max(MIN_BYTES, MAX_RATIO * os.fstat(file.fileno()).st_size)
            yield cast(BinaryIO, _Bounded(unpacked, most))
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise TraceError(CUT) from None


class _Bounded:
    """A packed file from which no more is read than a trace can hold."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self._file, self._left = file, most

    def read(self, size: int) -> bytes:
        """Raises TraceError, and what reading the file raises."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise TraceError(f"unpacks to more than {MAX_RATIO} times its size, so it is no trace")
        return data


def began_and_lasted_s(path: Path) -> tuple[float, float]:
    """When a trace of PyTorch's profiler began, and how long its first events lasted; its file's time where its clock is no time of day.
    Raises TraceError, OSError."""
    with path.open("rb") as file, _unpacked(file) as unpacked:
        found = read_trace(io.BytesIO(unpacked.read(HEAD_BYTES)))
    begun_s = _epoch_s(found)
    return path.stat().st_mtime if begun_s is None else begun_s, float(found.end_us.max()) / 1e6


def summary_of(trace: Trace) -> TraceSummary:
    steps = steps_of(trace)
    of_steps = counted(trace, steps)
    kernels, left_out, left_out_s = _kernels(trace, of_steps) if len(of_steps) else _operators(trace, steps)
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
        _collectives(trace),
        trace.left_out,
        trace.is_cut,
    )


def step_trace_of(path: Path, root: Path) -> StepTrace:
    """Of a profiler's file below the folder. Raises TraceError, OSError."""
    found, written_s = summary_of_file(path, root), path.stat().st_mtime
    numbers = [step.number for step in found.steps[: max(1, len(found.steps) - 1)]] or [0]
    from_s = written_s - found.seconds if found.from_s is None else found.from_s
    rank = _rank_in(path.name) if found.rank is None else found.rank
    said = "The file ends within an event: what stands before that is shown." if found.is_cut else ""
    ahead = loaded_ahead(found.cards)
    if ahead is not None:
        text = text_of(spoken(ahead))
        said = f"{said} {text[:1].upper()}{text[1:]}.".strip()
    return StepTrace(
        path.name,
        rank or 0,
        "",
        "",
        "GPU" if found.cards else "CPU",
        any(kernel.stack for kernel in found.kernels),
        from_s,
        from_s + found.seconds,
        min(numbers),
        max(numbers),
        found.kernels,
        _busy(found.cards) if found.cards else None,
        found.left_out,
        found.left_out_s,
        found.cards,
        found.from_s is not None,
        said,
        rank is not None,
        found.ranks,
        found.collectives,
    )


def loaded_ahead(cards: Sequence[CardSummary]) -> Prediction | None:
    """What loading ahead in workers saves of the card that waits longest for data; None where it hardly does, or fewer than two steps are
    whole. The last step has no end on the card."""
    by_card = [
        (
            sum(step.idle_s[IdleCause.DATA] for step in card.steps[:-1]),
            [(step.idle_s[IdleCause.DATA], step.shares.span_us / 1e6) for step in card.steps[:-1]],
        )
        for card in cards
        if len(card.steps) > 2
    ]
    waited_s, steps = max(by_card, default=(0.0, []))
    whole_s = sum(step_s for _, step_s in steps)
    if waited_s < SMALL.value / 100 * whole_s or not steps:
        return None
    cores = CoreSeconds()
    return prediction_of(
        "overlapped",
        overlap(waited_s, whole_s, cores, by_workers=False),
        whole_s,
        np.array([100 * load_s / step_s for load_s, step_s in steps]),
        limit_of_overlap(waited_s, whole_s, cores, remains("")),
    )


def _busy(cards: Sequence[CardSummary]) -> BusySeconds:
    """Of all cards; what runs at once counts as the first of compute, communication and copies."""
    sums = [0.0] * 8
    for card in cards:
        sums = [mine + us / 1e6 for mine, us in zip(sums, card.shares.together_us, strict=True)]
    compute = sum(s for work, s in enumerate(sums) if work & Work.COMPUTE)
    communication = sums[Work.COMMUNICATION] + sums[Work.COMMUNICATION | Work.MEMORY]
    hidden = sums[Work.COMPUTE | Work.COMMUNICATION] + sums[7]
    return BusySeconds(compute, communication, sums[Work.MEMORY], hidden)


Kernels: TypeAlias = tuple[tuple[TracedKernel, ...], int, float]
"""The dearest first; how many are left out, and their seconds."""


def _kernels(trace: Trace, rows: Whole) -> Kernels:
    """What ran on the cards."""
    return _summed(trace, rows, stacks_of(trace, rows), work_of(trace, rows), trace.duration_us[rows])


def _operators(trace: Trace, steps: Sequence[TraceStep]) -> Kernels:
    """Of a trace without cards: its operators, without the time of those that they call; where it has none, as one of stacks alone, its
    functions of Python."""
    rows = trace.rows(TraceKind.OPERATOR)
    rows = rows[~np.isin(trace.name[rows], step_names(trace))]
    if not len(rows):
        found, left_out, left_out_s = _own_times(trace, trace.rows(TraceKind.PYTHON), steps)
        named = (kernel._replace(name=kernel.stack[-1].name) if kernel.stack else kernel for kernel in found)
        return tuple(named), left_out, left_out_s
    return _own_times(trace, rows, steps)


def _own_times(trace: Trace, rows: Whole, steps: Sequence[TraceStep]) -> Kernels:
    """Without the time of those of these rows that each calls."""
    if len(steps) > 1:
        rows = rows[trace.start_us[rows] < steps[-1].start_us]
    own_us = trace.duration_us[rows].copy()
    callers = caller_of(trace, rows)
    known = callers >= 0
    np.subtract.at(own_us, np.searchsorted(rows, callers[known]), trace.duration_us[rows[known]])
    works = np.full(len(rows), int(Work.COMPUTE), np.int64)
    return _summed(trace, rows, stacks_of_host(trace, rows), works, np.maximum(own_us, 0.0))


def _summed(trace: Trace, rows: Whole, stacks: HostStacks, works: Whole, us: Floats) -> Kernels:
    """By stack, name and kind."""
    if not len(rows):
        return (), 0, 0.0
    columns = np.stack([stacks.of_row, trace.name[rows], works, stacks.of_module], axis=1)
    keys, of_row = np.unique(columns, axis=0, return_inverse=True)
    of_row = of_row.ravel()
    seconds, calls = np.bincount(of_row, us) / 1e6, np.bincount(of_row)
    order = np.argsort(-seconds, kind="stable")
    kept = tuple(
        TracedKernel(
            stacks.stacks[stack] if stack >= 0 else (),
            trace.text(name),
            KIND_OF[work],
            float(seconds[place]),
            int(calls[place]),
            False,
            stacks.modules[module],
        )
        for place, (stack, name, work, module) in zip(
            order[:MAX_KERNELS], keys[order[:MAX_KERNELS]].tolist(), strict=True
        )
    )
    return kept, max(0, len(keys) - MAX_KERNELS), float(seconds[order[MAX_KERNELS:]].sum())


def _card(trace: Trace, rows: Whole, steps: Sequence[TraceStep], timeline: DeviceTimeline) -> CardSummary:
    idle = idle_of(trace, timeline)
    mine = _launched(trace, rows[trace.device[rows] == timeline.device])
    return CardSummary(
        timeline.device,
        timeline.shares(),
        _seconds(idle.by_cause.sum(axis=0)),
        _card_steps(trace, mine, steps, timeline, idle),
        _late(trace, timeline.next_row[idle.places], idle.by_cause),
        _queued(trace, mine),
        _launch_lead_s(mine),
        _tensor_cores(mine),
    )


class _Launched(NamedTuple):
    """What ran on a card, a row each."""

    rows: Whole  # of the trace
    launches: Whole  # -1 where the trace does not have the call
    lead_us: Floats  # from the begin of the call; NaN where it is not there
    us: Floats  # of computation
    tensor_us: Floats  # of it, on tensor cores

    def of(self, chosen: np.ndarray) -> _Launched:
        return _Launched(*(column[chosen] for column in self))


def _launched(trace: Trace, rows: Whole) -> _Launched:
    launches = launches_of(trace, rows)
    lead_us = np.where(launches >= 0, np.maximum(trace.start_us[rows] - trace.start_us[launches], 0.0), np.nan)
    us = np.where(work_of(trace, rows) == Work.COMPUTE, trace.duration_us[rows], 0.0)
    names = [id_ for id_, text in enumerate(trace.texts) if TENSOR_CORES.search(text, 0, MAX_NAME)]
    return _Launched(rows, launches, lead_us, us, np.where(np.isin(trace.name[rows], names), us, 0.0))


def _card_steps(
    trace: Trace, ran: _Launched, steps: Sequence[TraceStep], timeline: DeviceTimeline, idle: IdlePieces
) -> tuple[CardStep, ...]:
    of_row = step_of_launched(trace, ran.launches, steps) if steps else np.full(len(ran.rows), NONE)
    if not (of_row >= 0).any():
        return ()
    by_step = step_of(trace, ran.rows, of_row, len(steps), timeline)
    found = []
    for place in np.unique(by_step)[:MAX_STEPS].tolist():
        of_step = idle.by_cause[by_step[idle.places] == place].sum(axis=0)
        shares, own = timeline.shares(np.flatnonzero(by_step == place)), ran.of(of_row == place)
        found.append(CardStep(steps[place].number, shares, _seconds(of_step), _launch_lead_s(own), _tensor_cores(own)))
    return tuple(found)


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


def _queued(trace: Trace, ran: _Launched) -> float | None:
    """Median, over what began on the card, of what had been launched before that and had not begun."""
    known = ran.launches >= 0
    if not known.any():
        return None
    launched = np.sort(trace.start_us[ran.launches[known]])
    begun = np.sort(trace.start_us[ran.rows[known]])
    return float(np.median(np.searchsorted(launched, begun, side="right") - np.arange(1, len(begun) + 1)))


def _launch_lead_s(ran: _Launched) -> float | None:
    known = ran.lead_us[~np.isnan(ran.lead_us)]
    return float(np.median(known)) / 1e6 if len(known) else None


def _tensor_cores(ran: _Launched) -> float | None:
    whole_us = ran.us.sum()
    return float(ran.tensor_us.sum() / whole_us) if whole_us else None


def _collectives(trace: Trace) -> tuple[Collective, ...]:
    """All of them, also of steps that do not count: which rank came last is known of each. Sends and receives are between two ranks, of
    which each has its own, and left out."""
    rows = trace.rows(TraceKind.KERNEL)
    rows = rows[work_of(trace, rows) == Work.COMMUNICATION][:MAX_COLLECTIVES]
    noted = trace.collectives
    operators = noted.row[trace.kind[noted.row] == TraceKind.OPERATOR]
    at = matched(rows, noted.row, np.arange(len(noted.row)))
    around = matched(
        enclosing(trace, np.sort(operators), launches_of(trace, rows)), noted.row, np.arange(len(noted.row))
    )
    at = np.where(at >= 0, at, around)
    clock_s = _clock_s(trace)
    found = []
    for row, place in zip(rows.tolist(), at.tolist(), strict=True):
        name = trace.text(int(noted.name[place])) if place >= 0 else trace.text(int(trace.name[row]))
        group, sequence = (
            (trace.text(int(noted.group[place])), int(noted.sequence[place])) if place >= 0 else ("", NONE)
        )
        if name not in ("send", "recv"):
            start_s, seconds = float(trace.start_us[row]) / 1e6, float(trace.duration_us[row]) / 1e6
            found.append(Collective(name, group, sequence, clock_s + start_s, seconds))
    return tuple(found)


def _seconds(us: np.ndarray) -> tuple[float, ...]:
    return tuple(float(one) / 1e6 for one in us)


def _ranks(trace: Trace) -> tuple[int | None, int | None]:
    """The rank that was traced, and how many there are, where `torch.distributed` was at work."""
    found = trace.about.get("distributedInfo")
    if not isinstance(found, dict):
        return None, None
    rank, ranks = found.get("rank"), found.get("world_size")
    return (rank if _is_count(rank) else None), (ranks if _is_count(ranks) else None)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < MAX_RANKS


def _epoch_s(trace: Trace) -> float | None:
    """PyTorch >= 2.3 writes times since `baseTimeNanoseconds`, older versions since 1970."""
    begun_s = _clock_s(trace)
    return begun_s if EPOCH_S[0] < begun_s < EPOCH_S[1] else None


def _clock_s(trace: Trace) -> float:
    """When the trace begins, on its clock."""
    base = trace.about.get("baseTimeNanoseconds", 0)
    return trace.base_us / 1e6 + (base / 1e9 if isinstance(base, int | float) and abs(base) < MAX_BASE_NS else 0.0)


def _rank_in(name: str) -> int | None:
    """`model_rank_3.pt.trace.json` -> 3"""
    found = RANK.search(name)
    return int(found[1]) if found else None
