"""A window against its baseline: what kind of loss it is, which line it was lost to, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from ...records import Frame
from ..baseline.units import Units
from ..stacks.joining import is_waiting
from ..stacks.parts import standing
from ..stacks.traces import Bools, Range, Traces
from ..stacks.trust import LineOf, no_source
from .suspect import Suspect

VerdictKind: TypeAlias = Literal[
    "line",
    "gpu_slower",
    "cpu_taken",
    "neighbour",
    "collective_wait",
    "unknown",
    "no_difference",
    "too_few_samples",
    "no_profile",
]
Confidence: TypeAlias = Literal["high", "medium", "low"]


class Side(NamedTuple):
    """One rank's main thread, joined at its waits, over the window or over the baseline; of a service, all of its work."""

    traces: Traces
    ranges: list[Range]
    units: float | None  # None where the run logs none
    recorded_s: float | None = None  # how long it was looked at, where that is not the sum of the traces
    pace: float = 1.0  # without units: how much of the baseline's usual work a second of it holds

    @property
    def length_s(self) -> float:
        return self.seconds if self.recorded_s is None else self.recorded_s

    @property
    def seconds(self) -> float:
        return float(self.traces.seconds.sum())

    @property
    def divisor(self) -> float:
        """What its seconds are divided by: units, else seconds of the baseline's work."""
        return max(self.seconds * self.pace if self.units is None else self.units, 1e-9)

    def seconds_in(self, function: Frame) -> float:
        """Those with the function on the stack."""
        return float(self.traces.seconds[standing(self.traces, function)].sum())


class Evidence(NamedTuple):
    """A number of the window beside the same of the baseline."""

    name: str
    unit: str
    window: float | None
    baseline: float | None


class GpuLook(NamedTuple):
    """What the GPUs say of a window and its baseline."""

    signal: str  # what idleness is read from: "SM active", "power", "busy"
    busy_pct: tuple[float, float]
    clock_mhz: tuple[float, float] | None
    reasons: list[str]  # why clocks were lowered
    kernels_s: tuple[float, float] | None  # a unit, as the run logs them


class HostLook(NamedTuple):
    """What the machine's cores do in a window and in its baseline."""

    cores: int
    busy_pct: tuple[float, float]  # of all cores
    own: tuple[float, float]  # cores' worth of time of the run: all its ranks and their children
    others: tuple[float, float]  # of all other programs


@dataclass(frozen=True)
class Verdict:
    """What `GET /blame` answers; None where there is no such number. Excesses are seconds per unit.

    `answer_s`: of a service, how long a request takes from its arrival to its answer, in window and baseline; other seconds are of work.
    """

    verdict: VerdictKind
    sentence: str = ""
    lead: str = ""  # the share that the sentence begins with, `94 %` or `More than all`; "" where it begins otherwise
    place: str = ""  # the line that the sentence names, as it stands there: `data.py:88 decode`; "" where it names none
    suspect: Suspect | None = None
    second: Suspect | None = None  # another cause, with a quarter of the loss or more
    common_s: float = 0.0  # per unit, that all work takes longer in common
    taken_s: float = 0.0  # per unit, of that: while other programs take the cores
    coreless_share: float = 0.0  # of the window, in which there was work and no core; told where no line is
    shares: tuple[float, float] | None = None  # without units: of the function, of the time of window and baseline
    pace: float = 1.0  # without units: how much of the baseline's usual work a second of the window holds
    reason: str = ""
    rank: int | None = None
    excess_s: float | None = None
    excess_share: float | None = None
    slowdown_s: float | None = None
    unexplained_s: float | None = None
    window_unit_s: float | None = None
    baseline_unit_s: float | None = None
    unit_name: str = "second"
    answer_s: tuple[float, float] | None = None
    size: str = ""
    longer: float | None = None
    units: float | None = None
    baseline_units: float | None = None
    samples: int = 0
    baseline_samples: int = 0
    trusted_share: float = 1.0
    confidence: Confidence | None = None
    rank_among_baseline: float | None = None
    basis: Literal["stacks", "steps"] = "stacks"
    contradiction: str = ""
    judged: Range | None = None
    baseline: list[Range] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    profile_until: float | None = None


def share_of(excess_s: float, second: Suspect | None, slowdown_s: float) -> float:
    """A cause's share of the slowdown; with a second one at most of what both take longer, because other work may take less meanwhile."""
    longer_s = max(slowdown_s, excess_s + (second.excess_s if second else 0.0))
    return excess_s / longer_s if longer_s > 0 else 1.0


class Case(NamedTuple):
    """All that a verdict is given on: what is judged first, then what gives the reason."""

    window: Side  # of a short window the whole units that it lies in
    asked: Side  # the window itself
    baseline: Side | None  # None where nothing can be compared
    units: Units | None
    unit_name: str  # what a unit is called
    hz: float
    all_trusted: bool  # all stacks come from a sampler that does not mix moments
    own_folder: str = ""
    line_of: LineOf = no_source
    period_s: float = 0.0  # without units: how long takes what repeats itself
    answer_s: tuple[float, float] | None = None  # of a service: how long a request takes, by its own log
    asleep: Bools | None = (
        None  # of each stack: the main thread sleeps at its last line, in a call into C; None where nobody looked
    )
    queued_s: tuple[float, float] | None = (
        None  # a unit, in the kernel's run queue, of the main thread in window and baseline
    )
    others: tuple[Side, Side] | None = (
        None  # the other threads of the process, as far as they are at work, in window and baseline
    )
    gc_s: tuple[float, float] | None = None  # garbage collections, seconds a unit; None where the run does not log them
    gpu: GpuLook | None = None
    host: HostLook | None = None
    neighbour: str = ""  # "GPU shared with job 7 since 14:02"; "" where there is none in the window
    beside: tuple[float, float] = (0.0, 0.0)  # for which share of the window and of the baseline there was one

    @property
    def in_part(self) -> bool:
        """Whether the window is shorter than what it is judged by."""
        return self.asked.ranges != self.window.ranges

    def at_work(self, side: Side) -> Bools:
        """Which spans of a side are neither waits that their frames show nor asleep."""
        working = ~is_waiting(side.traces, self.line_of)
        return working if self.asleep is None else working & ~self.asleep[side.traces.stack]
