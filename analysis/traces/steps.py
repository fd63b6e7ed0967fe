"""Traced steps of a run: their kernels by the stack that launched them, as RunLog writes them and as a profiler's file has them."""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import orjson

from collectors.records import Frame
from collectors.rights import LeftAlone, is_root, open_resolved

from .device import DeviceShares

MAX_BYTES = 4 << 20
FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
ABOVE = 3  # the log folder, above `.deepseek/traces/<entry>`
MAX_ROWS, MAX_FRAMES, MAX_STACKS, MAX_DEPTH = 5_000, 50_000, 5_000, 128
MAX_TEXT = 2_000  # characters of a name, a file, a sentence
MAX_SECONDS = 1e6
MAX_COUNT = 2**53

KernelKind: TypeAlias = Literal["compute", "communication", "copy"]
KERNEL_KINDS: tuple[KernelKind, ...] = get_args(KernelKind)


class MalformedTrace(Exception):
    """It is not what RunLog writes; the text says what is wrong, as the end of a sentence."""


class TracedKernel(NamedTuple):
    """What one stack launched under one name: on a GPU a kernel, on a CPU an operator without those that it called."""

    stack: tuple[Frame, ...]  # from the root to the leaf; () where nothing says who launched it
    name: str
    kind: KernelKind
    seconds: float  # of all traced steps together
    calls: int
    backward: bool  # autograd ran it for what this stack ran forward
    modules: tuple[str, ...] = ()  # the path of the module whose call launched it: `("GPT_0", "Linear_3")`


class BusySeconds(NamedTuple):
    """Of a GPU: what kept it busy. The first three add up to its busy time; `hidden` is communication behind compute."""

    compute: float
    communication: float
    copy: float
    hidden: float

    @property
    def all(self) -> float:
        return self.compute + self.communication + self.copy


class LateLaunch(NamedTuple):
    """A line that launched what ended idle time, and how long the card had been idle, by cause."""

    stack: tuple[Frame, ...]  # () where the trace does not say
    name: str  # of what ended it
    idle_s: tuple[float, ...]  # by `IdleCause`
    times: int


class CardStep(NamedTuple):
    """A step as the card saw it: from the first that it started there to the first of the next step."""

    number: int
    shares: DeviceShares
    idle_s: tuple[float, ...]  # by `IdleCause`; they add up to the idle time of `shares`
    launch_lead_s: float | None  # median time from the begin of a launch to that of what it started
    tensor_cores: float | None  # as of the card


class CardSummary(NamedTuple):
    """Of the time in which steps were counted: see `device.py`."""

    device: int
    shares: DeviceShares
    idle_s: tuple[float, ...]  # by `IdleCause`
    steps: tuple[CardStep, ...]  # the first `MAX_STEPS`; none where no call is known
    late: tuple[LateLaunch, ...]  # those that cost most
    queued: float | None  # median of what had been launched and had not begun, when something began
    launch_lead_s: float | None  # as of a step
    tensor_cores: float | None  # share of the computation in kernels whose names are those of tensor or matrix cores


class Collective(NamedTuple):
    """A kernel of a collective."""

    name: str  # `allreduce`; the kernel's where it is not noted
    group: str  # "" where it is not noted
    sequence: int  # in its group; -1 where it is not noted
    from_s: float  # on the clock of the trace
    seconds: float


@dataclass(frozen=True)
class StepTrace:
    """`error` is one sentence on why there is nothing else, "" where there is."""

    id: str
    rank: int
    error: str
    torch: str
    device: Literal["GPU", "CPU"] = "CPU"
    with_stacks: bool = False
    from_s: float = 0.0
    to_s: float = 0.0
    first_step: int = 0
    last_step: int = 0
    kernels: tuple[TracedKernel, ...] = ()
    busy: BusySeconds | None = None  # of a GPU
    left_out: int = 0  # kernels that took least
    left_out_s: float = 0.0
    cards: tuple[CardSummary, ...] = ()  # of a profiler's file
    is_dated: bool = True  # False: from_s is when the file was written, since its clock is no time of day
    said: str = ""  # what else is to be said of it, a sentence
    is_ranked: bool = True  # False: nothing says which rank it is
    world_size: int | None = None
    collectives: tuple[Collective, ...] = ()  # of a profiler's file, in the order of their start: the first 20,000

    @property
    def steps(self) -> int:
        return self.last_step - self.first_step + 1


def read_answer(path: Path) -> StepTrace:
    """Of an entry of a data folder. Raises OSError, MalformedTrace."""
    file = _opened(path)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise MalformedTrace("is no regular file")
        if found.st_size > MAX_BYTES:
            raise MalformedTrace(f"is larger than {MAX_BYTES >> 20} MiB")
        with os.fdopen(os.dup(file), "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    finally:
        os.close(file)
    if len(data) > MAX_BYTES:
        raise MalformedTrace(f"is larger than {MAX_BYTES >> 20} MiB")
    return parsed(data)


def _opened(path: Path) -> int:
    if not is_root():
        return os.open(path, FLAGS | os.O_NOFOLLOW)
    try:
        with open_resolved(path, path.parents[ABOVE], links=0) as found:
            return found.open(FLAGS)
    except LeftAlone as error:
        raise MalformedTrace(str(error)) from error


def parsed(data: bytes) -> StepTrace:
    """Raises MalformedTrace."""
    try:
        fields = orjson.loads(data)
    except ValueError:
        raise MalformedTrace("is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedTrace("is not a JSON object")
    try:
        return _trace(fields)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise MalformedTrace(f"is not what RunLog writes ({error!r})"[:300]) from None


def _trace(fields: dict[str, Any]) -> StepTrace:
    """Raises KeyError, TypeError, ValueError, IndexError."""
    name, rank, error, torch = (
        _text(fields["id"]),
        _whole(fields["rank"]),
        _text(fields["error"]),
        _text(fields["torch"]),
    )
    if error:
        return StepTrace(name, rank, error, torch)
    device, first, last = fields["device"], _whole(fields["first_step"]), _whole(fields["last_step"])
    if device not in ("GPU", "CPU") or last < first:
        raise ValueError("device or steps")
    frames = [
        Frame(_text(function), _text(file), _whole(line))
        for file, line, function in _listed(fields["frames"], MAX_FRAMES)
    ]
    stacks = [
        tuple(frames[_place(number, frames)] for number in _listed(stack, MAX_DEPTH))
        for stack in _listed(fields["stacks"], MAX_STACKS)
    ]
    kernels = tuple(_kernel(row, stacks) for row in _listed(fields["kernels"], MAX_ROWS))
    busy = fields["busy"]
    left_out, left_out_s = fields["left_out"]
    return StepTrace(
        name,
        rank,
        "",
        torch,
        device,
        fields["with_stacks"] is True,
        _seconds(fields["from_s"], 1e11),
        _seconds(fields["to_s"], 1e11),
        first,
        last,
        kernels,
        BusySeconds(*(_seconds(busy[part]) for part in BusySeconds._fields)) if busy else None,
        _whole(left_out),
        _seconds(left_out_s),
    )


def _kernel(row: Any, stacks: list[tuple[Frame, ...]]) -> TracedKernel:
    stack, name, kind, seconds, calls, backward = row
    if kind not in KERNEL_KINDS:
        raise ValueError(f"kind {kind!r}"[:100])
    return TracedKernel(
        stacks[_place(stack, stacks)], _text(name), kind, _seconds(seconds), _whole(calls), bool(backward)
    )


def _listed(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"more than {most:,} of a list, or no list")
    return value


def _place(value: Any, of: list[Any]) -> int:
    if _whole(value) >= len(of):
        raise IndexError("a number that names nothing")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value[:MAX_TEXT]


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError("no count")
    return value


def _seconds(value: Any, most: float = MAX_SECONDS) -> float:
    if type(value) not in (int, float) or not 0 <= value <= most or math.isnan(value):
        raise ValueError("no seconds")
    return float(value)
