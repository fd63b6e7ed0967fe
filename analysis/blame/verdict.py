"""A verdict: which kind of loss a window has, which line it is attributed to, how sure that is, and its sentence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from collectors.records import Frame

from ..stacks.frames import file_name
from ..stacks.joining import is_waiting
from ..stacks.threads import standing
from ..stacks.traces import Bools, Range, Traces
from ..stacks.trust import LineOf, no_source
from ..units import Units
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


# Verdicts as one sentence: subject, number, cause.

NOTABLY = 1.1  # times the size
ALL, MORE_THAN_ALL = (
    1.02,
    1.25,
)  # of the slowdown: then other work takes less meanwhile; the same in assets/blame/blame.js
OF_LINE = 0.8  # of what a function lost: with less on its costliest line the sentence tells how much is there
WITHOUT_CORE = 0.25  # of a window: less is not worth telling
AT_TOP = "<module>"
LAMBDA = "<lambda>"


def worded(verdict: Verdict, gpu: GpuLook | None = None, host: HostLook | None = None, neighbour: str = "") -> Verdict:
    """The verdict with its sentence, and what stands out in it."""
    sentence = _sentence(verdict, gpu, host, neighbour)
    if verdict.suspect is None or verdict.verdict not in ("line", "collective_wait"):
        return replace(verdict, sentence=sentence)
    frame = verdict.suspect.frame
    return replace(verdict, sentence=sentence, lead=_lead(verdict), place=place(frame) if frame.file else "")


def _sentence(verdict: Verdict, gpu: GpuLook | None, host: HostLook | None, neighbour: str) -> str:
    match verdict.verdict:
        case "no_profile":
            return "No stacks were sampled in this window."
        case "too_few_samples":
            samples = f"{verdict.samples} sample{'' if verdict.samples == 1 else 's'}"
            return f"Only {samples} in this window: too few to blame a line."
        case "no_difference" if verdict.reason == "elsewhere":
            return f"Nothing unusual in this part of the {verdict.unit_name}: it lost its time elsewhere."
        case "no_difference" if verdict.reason == "faint":
            return f"Nothing unusual here: {_lost(verdict)}, too little to blame a line."
        case "no_difference":
            return _like_baseline(verdict)
        case "gpu_slower":
            return f"{gpu_cause(gpu)}: {_lost(verdict)}." if gpu else ""
        case "cpu_taken":
            return f"{cpu_cause(host)}: {_lost(verdict)}{_second(verdict)}." if host else ""
        case "neighbour":
            return f"{neighbour}: {_longer(verdict)}{_lost(verdict)}."
        case "collective_wait" if verdict.suspect is None:
            return f"The other ranks wait for rank {verdict.rank}, and no line of it stands out: {_lost(verdict)}."
        case "unknown" if verdict.answer_s and (verdict.slowdown_s or 0.0) <= 0.5 * (
            verdict.answer_s[0] - verdict.answer_s[1]
        ):
            return f"{_answers(verdict)}, for no more work: requests wait for each other."
        case "unknown":
            return f"No single line stands out: {_lost(verdict)}{_without_core(verdict)}."
    return _line(verdict)


def _like_baseline(verdict: Verdict) -> str:
    """`Normal for their size: the steps of this window have 1.40 times the tokens and take that much longer.`"""
    if verdict.longer is not None and not 1 / NOTABLY < verdict.longer < NOTABLY:
        what = verdict.size.rpartition(" ")[2]
        return f"Normal for their size: the {verdict.unit_name}s of this window have {verdict.longer:.2f} times the {what} and take that much longer."
    if verdict.answer_s:
        return f"{_answers(verdict)}: nothing unusual."
    if verdict.units is None:
        return "Nothing unusual here, as far as stacks can tell: without steps, only a change in what the program does can be seen."
    ratio = (verdict.window_unit_s or 0.0) / (verdict.baseline_unit_s or 1.0)
    if ratio > NOTABLY:
        return f"{verdict.unit_name.capitalize()}s take {ratio:.2f} times as long as their baseline, and no function is slower than chance explains."
    return "Nothing unusual here: no function is slower than its baseline."


def _line(verdict: Verdict) -> str:
    """`decode_image (data.py:88), in PIL ImageFile.load, takes +369 ms per step, 94% of the slowdown.`

    `forward (model.py:7) takes +1.7 ms per step, more than all of the slowdown: other work got faster, so the step takes +0.97 ms.`
    """
    assert verdict.suspect is not None
    found = verdict.suspect
    called = f"{found.caller} -> {place(found.frame)}" if found.caller else place(found.frame)
    if found.called_at is not None:
        called = f"{called}, called at {file_name(found.called_at.file)}:{found.called_at.line},"
    where = f"{called}, in {found.leaf}," if found.leaf else called
    if verdict.verdict == "collective_wait" and verdict.rank is not None:
        where = f"Rank {verdict.rank}: {where}"
    lead, reason = _lead(verdict), _reason(verdict)
    waiting = "; the other ranks wait for it" if verdict.verdict == "collective_wait" else ""
    if not verdict.baseline:
        return f"{where} takes {lead} of this window{reason}; there is no baseline to compare it with{waiting}."
    excess_s, slowdown_s = verdict.excess_s or 0.0, verdict.slowdown_s or 0.0
    if verdict.units is None:
        instead = f", {percent(max(0.0, verdict.shares[1]))} in the baseline" if verdict.shares else ""
        return f"{where} takes {lead} of the time{instead}{reason}{_pace(verdict)}{_second(verdict)}{waiting}."
    if verdict.answer_s:
        waiting = f"; {_answers(verdict, first=False)}"
    longer_s = excess_s + (verdict.second.excess_s if verdict.second else 0.0)
    whole = "what takes longer" if verdict.second and longer_s > MORE_THAN_ALL * slowdown_s else "the slowdown"
    cost = f"{where} takes {signed(excess_s)} per {_unit(verdict)}, {lead} of {whole}{_on_line(found)}{reason}"
    if longer_s > MORE_THAN_ALL * slowdown_s:
        waiting = f": other work got faster, so the {verdict.unit_name} takes {signed(slowdown_s)}{waiting}"
    return f"{cost}{_second(verdict)}{_taken(verdict)}{waiting}."


def _lead(verdict: Verdict) -> str:
    """`94%`, `all` and `more than all`; beside a second cause the part of one in both, at most."""
    excess_s, slowdown_s = verdict.excess_s or 0.0, verdict.slowdown_s or 0.0
    if verdict.baseline and verdict.units is None and verdict.shares:
        return percent(verdict.shares[0])
    if not verdict.baseline or verdict.units is None or verdict.second or excess_s <= ALL * slowdown_s:
        return percent(verdict.excess_share or 0.0)
    return "more than all" if excess_s > MORE_THAN_ALL * slowdown_s else "all"


def _reason(verdict: Verdict) -> str:
    if not verdict.reason:
        return ""
    return f", {verdict.reason}" if verdict.reason.startswith("while ") else f" ({verdict.reason})"


def _on_line(found: Suspect) -> str:
    """` (45% on line 88)` where much of the function's loss is on other lines."""
    if (
        found.last_line
        or found.called_at
        or found.line_s is None
        or found.line_s >= OF_LINE * found.excess_s
        or found.excess_s <= 0
    ):
        return ""
    return f" ({percent(max(0.0, found.line_s) / found.excess_s)} of it on line {found.frame.line})"


def _second(verdict: Verdict) -> str:
    """`; crop (data.py:99) takes 40 ms more (32%)`"""
    other, slowdown_s = verdict.second, verdict.slowdown_s or 0.0
    if other is None:
        return ""
    excess_s = other.excess_s
    if verdict.verdict == "cpu_taken":  # at most what the other cause leaves
        excess_s = min(other.stands_out_s, slowdown_s - verdict.taken_s)
    whole_s = max(slowdown_s, excess_s + (verdict.excess_s or 0.0))
    share = f" ({percent(excess_s / whole_s)})" if slowdown_s > 0 and verdict.units is not None else ""
    return f"; {place(other.frame)} takes {signed(excess_s * verdict.pace).lstrip('+')} more{share}"


def _taken(verdict: Verdict) -> str:
    """`; CPU taken by other processes accounts for 30%`; what the functions leave of the slowdown is at least that, or it says that it is part of theirs."""
    slowdown_s = verdict.slowdown_s or 0.0
    share = verdict.taken_s / slowdown_s if slowdown_s else 0.0
    if share < WITHOUT_CORE:
        return ""
    others_s = verdict.second.excess_s if verdict.second else 0.0
    if (verdict.excess_s or 0.0) + others_s + verdict.taken_s <= slowdown_s:
        return f"; CPU taken by other processes accounts for {percent(share)}"
    where = "these functions" if verdict.second else "this function"
    return f"; {percent(share)} of the slowdown, partly in {where}, is CPU taken by other processes"


def _without_core(verdict: Verdict) -> str:
    share = verdict.coreless_share
    return f"; for {percent(share)} of this window it had no CPU core to run on" if share >= WITHOUT_CORE else ""


def _pace(verdict: Verdict) -> str:
    return f"; everything else gets {percent(verdict.pace)} of its usual work done per second (no steps are logged)"


def gpu_cause(gpu: GpuLook | None) -> str:
    """`The GPU is slower, clock 1410 MHz, baseline 1980 MHz (power cap)`."""
    if gpu is not None and gpu.clock_mhz and gpu.clock_mhz[0] < gpu.clock_mhz[1]:
        why = f" ({', '.join(gpu.reasons)})" if gpu.reasons else ""
        return f"The GPU is slower, clock {gpu.clock_mhz[0]:.0f} MHz, baseline {gpu.clock_mhz[1]:.0f} MHz{why}"
    return "The GPU is as busy as usual and its kernels take longer"


def cpu_cause(host: HostLook) -> str:
    """`Other processes use 1.9 of 2 CPU cores, baseline 0.1`."""
    return f"Other processes use {host.others[0]:.1f} of {host.cores} CPU cores, baseline {host.others[1]:.1f}"


def place(frame: Frame) -> str:
    """`decode_image (data.py:88)`; of code at the top of a file `data.py:88`."""
    if not frame.file:
        return frame.name
    where = f"{file_name(frame.file)}:{frame.line}"
    if frame.name == AT_TOP:
        return where
    return f"{'lambda' if frame.name.endswith(LAMBDA) else frame.name} ({where})"


def percent(share: float) -> str:
    return f"{share * 100:.0f}%"


def signed(seconds: float) -> str:
    """`+369 ms`, `+1.2 s`, `+0.35 ms`."""
    return f"{seconds:+.2f} s" if abs(seconds) >= 10 else f"{_ms(seconds)} ms"


def _longer(verdict: Verdict) -> str:
    """`steps take 18% longer, `"""
    if verdict.units is None or not verdict.baseline_unit_s or not verdict.slowdown_s:
        return ""
    return f"{verdict.unit_name}s take {percent(verdict.slowdown_s / verdict.baseline_unit_s)} longer, "


def _lost(verdict: Verdict) -> str:
    if not verdict.baseline:
        return "there is no baseline to compare this window with"
    if verdict.units is None or verdict.baseline_unit_s is None or verdict.slowdown_s is None:
        return "the program spends its time differently from its baseline"
    return f"{signed(verdict.slowdown_s)} per {_unit(verdict)}, baseline {signed(verdict.baseline_unit_s).lstrip('+')}"


def _answers(verdict: Verdict, first: bool = True) -> str:
    """`Requests take 31 ms, baseline 11 ms`"""
    here_s, there_s = verdict.answer_s or (0.0, 0.0)
    units = f"{verdict.unit_name}s"
    return f"{units.capitalize() if first else units} take {signed(here_s).lstrip('+')}, baseline {signed(there_s).lstrip('+')}"


def _unit(verdict: Verdict) -> str:
    """`step`, `step of 412 tokens` where steps are of different sizes."""
    return f"{verdict.unit_name} of {verdict.size}" if verdict.size else verdict.unit_name


def _ms(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:+.0f}" if abs(ms) >= 10 else f"{ms:+.1f}" if abs(ms) >= 1 else f"{ms:+.2f}"
