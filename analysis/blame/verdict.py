"""A verdict: which kind of loss a window has, which line it is attributed to, how sure that is, and its sentence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from collectors.arrays import Bools
from collectors.message import Message, Sentence, counted, phrase, text_of
from collectors.records import Frame

from ..stacks.frames import file_name
from ..stacks.spans import Interval, TrustedSpans
from ..stacks.threads import standing
from ..stacks.trust import LineOf, no_source
from ..stacks.wait_joins import is_waiting
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

    spans: TrustedSpans
    ranges: list[Interval]
    units: float | None  # None where the run logs none
    recorded_s: float | None = None  # how long it was looked at, where that is not the sum of the spans
    pace: float = 1.0  # without units: how much of the baseline's usual work a second of it holds

    @property
    def length_s(self) -> float:
        return self.seconds if self.recorded_s is None else self.recorded_s

    @property
    def seconds(self) -> float:
        return float(self.spans.seconds.sum())

    @property
    def divisor(self) -> float:
        """What its seconds are divided by: units, else seconds of the baseline's work."""
        return max(self.seconds * self.pace if self.units is None else self.units, 1e-9)

    def seconds_in(self, function: Frame) -> float:
        """Those with the function on the stack."""
        return float(self.spans.seconds[standing(self.spans, function)].sum())


class ComparedNumber(NamedTuple):
    """A number of the window beside the same of the baseline."""

    name: str
    unit: str
    window: float | None
    baseline: float | None


class GpuComparison(NamedTuple):
    """What the GPUs say of a window and its baseline."""

    signal: str  # what idleness is read from: "SM active", "power", "busy"
    busy_pct: tuple[float, float]
    clock_mhz: tuple[float, float] | None
    reasons: list[str]  # why clocks were lowered
    kernels_s: tuple[float, float] | None  # a unit, as the run logs them


class HostComparison(NamedTuple):
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
    message: Message | None = None
    suspect: Suspect | None = None
    second: Suspect | None = None  # another cause, with a quarter of the loss or more
    common_s: float = 0.0  # per unit, that all work takes longer in common
    taken_s: float = 0.0  # per unit, of that: while other programs take the cores
    most: tuple[Frame, float] | None = (
        None  # without a baseline: the own line that took most, and its share of the window
    )
    coreless_share: float = 0.0  # of the window, in which there was work and no core; told where no line is
    shares: tuple[float, float] | None = None  # without units: of the function, of the time of window and baseline
    pace: float = 1.0  # without units: how much of the baseline's usual work a second of the window holds
    reason: Message | None = None
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
    contradiction: Message | None = None
    judged: Interval | None = None
    baseline: list[Interval] = field(default_factory=list)
    evidence: list[ComparedNumber] = field(default_factory=list)
    profile_until: float | None = None

    @property
    def sentence(self) -> str:
        return text_of(self.message)

    @property
    def lead(self) -> str:
        """The share that the sentence names, as it stands there: `94%`, `more than all`; "" where it names none."""
        return text_of(_lead(self)) if self._named else ""

    @property
    def place(self) -> str:
        """The line that the sentence names, as it stands there: `decode (data.py:88)`; "" where it names none."""
        return text_of(place(self._named.frame)) if self._named and self._named.frame.file else ""

    @property
    def _named(self) -> Suspect | None:
        return self.suspect if self.verdict in ("line", "collective_wait") else None


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
    gpu: GpuComparison | None = None
    host: HostComparison | None = None
    neighbour: Message | None = None  # "GPU shared with job 7 since 14:02"; None where there is none in the window
    beside: tuple[float, float] = (0.0, 0.0)  # for which share of the window and of the baseline there was one

    @property
    def in_part(self) -> bool:
        """Whether the window is shorter than what it is judged by."""
        return self.asked.ranges != self.window.ranges

    def at_work(self, side: Side) -> Bools:
        """Which spans of a side are neither waits that their frames show nor asleep."""
        working = ~is_waiting(side.spans, self.line_of)
        return working if self.asleep is None else working & ~self.asleep[side.spans.stack]


# Verdicts as one sentence: subject, number, cause.

NOTABLY = 1.1  # times the size
ALL, MORE_THAN_ALL = (
    1.02,
    1.25,
)  # of the slowdown: then other work takes less meanwhile; the same in assets/blame/blame.js
OF_LINE = 0.8  # of what a function lost: with less on its costliest line the sentence tells how much is there
WITHOUT_CORE = 0.25  # of a window: less is not worth telling
ELSEWHERE, TOO_FAINT = phrase("elsewhere"), phrase("faint")  # why there is no difference
WHILE_GIL = phrase("while the main thread waits for the GIL")
WHILE_LOCK = phrase("while the main thread waits for its lock")
WHILE = (WHILE_GIL, WHILE_LOCK)
AT_TOP = "<module>"
LAMBDA = "<lambda>"


def waits_for(what: str) -> Message:
    """`waits for the data loader`; `what` is of the table of waits."""
    return phrase("waits for the {what}", what=phrase(what))


def with_sentence(
    verdict: Verdict,
    gpu: GpuComparison | None = None,
    host: HostComparison | None = None,
    neighbour: Message | None = None,
) -> Verdict:
    """The verdict with its sentence."""
    return replace(verdict, message=_message(verdict, gpu, host, neighbour))


def _message(
    verdict: Verdict, gpu: GpuComparison | None, host: HostComparison | None, neighbour: Message | None
) -> Message | None:
    lost = _lost(verdict)
    match verdict.verdict:
        case "no_profile":
            return phrase("No stacks were sampled in this window.")
        case "too_few_samples":
            return counted(
                "Only {count} sample in this window: too few to blame a line.",
                "Only {count} samples in this window: too few to blame a line.",
                verdict.samples,
            )
        case "no_difference" if verdict.reason == ELSEWHERE:
            return phrase(
                "Nothing unusual in this part of the {unit}: it lost its time elsewhere.", unit=verdict.unit_name
            )
        case "no_difference" if verdict.reason == TOO_FAINT:
            return phrase("Nothing unusual here: {lost}, too little to blame a line.", lost=lost)
        case "no_difference":
            return _like_baseline(verdict)
        case "gpu_slower":
            return phrase("{cause}: {lost}.", cause=gpu_cause(gpu), lost=lost) if gpu else None
        case "cpu_taken":
            if host is None:
                return None
            return phrase("{cause}: {lost}{second}.", cause=cpu_cause(host), lost=lost, second=_second(verdict))
        case "neighbour":
            return phrase("{neighbour}: {longer}{lost}.", neighbour=neighbour, longer=_longer(verdict), lost=lost)
        case "collective_wait" if verdict.suspect is None:
            return phrase(
                "The other ranks wait for rank {rank}, and no line of it stands out: {lost}.",
                rank=verdict.rank,
                lost=lost,
            )
        case "unknown" if verdict.answer_s and (verdict.slowdown_s or 0.0) <= 0.5 * (
            verdict.answer_s[0] - verdict.answer_s[1]
        ):
            return phrase("{answers}, for no more work: requests wait for each other.", answers=_answers(verdict))
        case "unknown" if verdict.most:
            frame, share = verdict.most
            return phrase(
                "Most of this window, {share_pct:percent}, is in {where}; there is no baseline to compare it with.",
                share_pct=100 * share,
                where=place(frame),
            )
        case "unknown":
            return phrase("No single line stands out: {lost}{coreless}.", lost=lost, coreless=_without_core(verdict))
    return _line(verdict)


def _like_baseline(verdict: Verdict) -> Message:
    """`Normal for their size: the steps of this window have 1.40 times the tokens and take that much longer.`"""
    if verdict.longer is not None and not 1 / NOTABLY < verdict.longer < NOTABLY:
        return phrase(
            "Normal for their size: the {unit}s of this window have {longer:.2f} times the {what} and take that much longer.",
            unit=verdict.unit_name,
            longer=verdict.longer,
            what=verdict.size.rpartition(" ")[2],
        )
    if verdict.answer_s:
        return phrase("{answers}: nothing unusual.", answers=_answers(verdict))
    if verdict.units is None:
        return phrase(
            "Nothing unusual here, as far as stacks can tell: without steps, only a change in what the program does can be seen."
        )
    ratio = (verdict.window_unit_s or 0.0) / (verdict.baseline_unit_s or 1.0)
    if ratio > NOTABLY:
        return phrase(
            "{unit}s take {ratio:.2f} times as long as their baseline, and no function is slower than chance explains.",
            unit=verdict.unit_name.capitalize(),
            ratio=ratio,
        )
    return phrase("Nothing unusual here: no function is slower than its baseline.")


def _line(verdict: Verdict) -> Message:
    """`decode_image (data.py:88), in PIL ImageFile.load, takes +369 ms per step, 94% of the slowdown.`

    `forward (model.py:7) takes +1.7 ms per step, more than all of the slowdown: other work got faster, so the step takes +0.97 ms.`
    """
    assert verdict.suspect is not None
    found = verdict.suspect
    waiting = phrase("; the other ranks wait for it") if verdict.verdict == "collective_wait" else None
    where, lead, reason, second = _where(verdict, found), _lead(verdict), _reason(verdict), _second(verdict)
    if not verdict.baseline:
        return phrase(
            "{where} takes {lead} of this window{reason}; there is no baseline to compare it with{waiting}.",
            where=where,
            lead=lead,
            reason=reason,
            waiting=waiting,
        )
    if verdict.units is None:
        return phrase(
            "{where} takes {lead} of the time{instead}{reason}{pace}{second}{waiting}.",
            where=where,
            lead=lead,
            instead=_instead(verdict),
            reason=reason,
            pace=_pace(verdict),
            second=second,
            waiting=waiting,
        )
    excess_s, slowdown_s = verdict.excess_s or 0.0, verdict.slowdown_s or 0.0
    longer_s = excess_s + (verdict.second.excess_s if verdict.second else 0.0)
    if verdict.answer_s:
        waiting = phrase("; {answers}", answers=_answers(verdict, first=False))
    faster = None
    if longer_s > MORE_THAN_ALL * slowdown_s:
        faster = phrase(
            ": other work got faster, so the {unit} takes {slowdown_s:signed}",
            unit=verdict.unit_name,
            slowdown_s=slowdown_s,
        )
    return phrase(
        "{where} takes {excess_s:signed} per {unit}, {lead} of {whole}{on_line}{reason}{second}{taken}{faster}{waiting}.",
        where=where,
        excess_s=excess_s,
        unit=_unit(verdict),
        lead=lead,
        whole=phrase("what takes longer") if verdict.second and faster else phrase("the slowdown"),
        on_line=_on_line(found),
        reason=reason,
        second=second,
        taken=_taken(verdict),
        faster=faster,
        waiting=waiting,
    )


def _where(verdict: Verdict, found: Suspect) -> Message:
    where = place(found.frame)
    if found.caller:
        where = phrase("{caller} -> {place}", caller=found.caller, place=where)
    if found.called_at is not None:
        file, line = file_name(found.called_at.file), found.called_at.line
        where = phrase("{place}, called at {file}:{line},", place=where, file=file, line=line)
    if found.leaf:
        where = phrase("{place}, in {function},", place=where, function=found.leaf)
    if verdict.verdict == "collective_wait" and verdict.rank is not None:
        where = phrase("Rank {rank}: {place}", rank=verdict.rank, place=where)
    return where


def _lead(verdict: Verdict) -> Message:
    """`94%`, `all` and `more than all`; beside a second cause the part of one in both, at most."""
    excess_s, slowdown_s = verdict.excess_s or 0.0, verdict.slowdown_s or 0.0
    if verdict.baseline and verdict.units is None and verdict.shares:
        return _share(verdict.shares[0])
    if not verdict.baseline or verdict.units is None or verdict.second or excess_s <= ALL * slowdown_s:
        return _share(verdict.excess_share or 0.0)
    return phrase("more than all") if excess_s > MORE_THAN_ALL * slowdown_s else phrase("all")


def _share(share: float) -> Message:
    return phrase("{share:.0%}", share=share)


def _instead(verdict: Verdict) -> Message | None:
    """`, 12% in the baseline`"""
    if not verdict.shares:
        return None
    return phrase(", {share:.0%} in the baseline", share=max(0.0, verdict.shares[1]))


def _reason(verdict: Verdict) -> Message | None:
    if verdict.reason is None:
        return None
    values = {"reason": verdict.reason}
    return phrase(", {reason}", **values) if verdict.reason in WHILE else phrase(" ({reason})", **values)


def _on_line(found: Suspect) -> Message | None:
    """` (45% of it on line 88)` where much of the function's loss is on other lines."""
    if (
        found.last_line
        or found.called_at
        or found.line_s is None
        or found.line_s >= OF_LINE * found.excess_s
        or found.excess_s <= 0
    ):
        return None
    values = {"share": max(0.0, found.line_s) / found.excess_s, "line": found.frame.line}
    return phrase(" ({share:.0%} of it on line {line})", **values)


def _second(verdict: Verdict) -> Message | None:
    """`; crop (data.py:99) takes 40 ms more (32%)`"""
    other, slowdown_s = verdict.second, verdict.slowdown_s or 0.0
    if other is None:
        return None
    excess_s = other.excess_s
    if verdict.verdict == "cpu_taken":  # at most what the other cause leaves
        excess_s = min(other.stands_out_s, slowdown_s - verdict.taken_s)
    share = None
    if slowdown_s > 0 and verdict.units is not None:
        whole_s = max(slowdown_s, excess_s + (verdict.excess_s or 0.0))
        share = phrase(" ({share:.0%})", share=excess_s / whole_s)
    return phrase(
        "; {place} takes {excess_s:unsigned} more{share}",
        place=place(other.frame),
        excess_s=excess_s * verdict.pace,
        share=share,
    )


def _taken(verdict: Verdict) -> Message | None:
    """`; CPU taken by other processes accounts for 30%`; what the functions leave of the slowdown is at least that, or it says that it is part of theirs."""
    slowdown_s = verdict.slowdown_s or 0.0
    share = verdict.taken_s / slowdown_s if slowdown_s else 0.0
    if share < WITHOUT_CORE:
        return None
    others_s = verdict.second.excess_s if verdict.second else 0.0
    if (verdict.excess_s or 0.0) + others_s + verdict.taken_s <= slowdown_s:
        return phrase("; CPU taken by other processes accounts for {share:.0%}", share=share)
    if verdict.second:
        return phrase(
            "; {share:.0%} of the slowdown, partly in these functions, is CPU taken by other processes", share=share
        )
    return phrase(
        "; {share:.0%} of the slowdown, partly in this function, is CPU taken by other processes", share=share
    )


def _without_core(verdict: Verdict) -> Message | None:
    if verdict.coreless_share < WITHOUT_CORE:
        return None
    return phrase("; for {share:.0%} of this window it had no CPU core to run on", share=verdict.coreless_share)


def _pace(verdict: Verdict) -> Message:
    return phrase(
        "; everything else gets {pace:.0%} of its usual work done per second (no steps are logged)", pace=verdict.pace
    )


def gpu_cause(gpu: GpuComparison) -> Message:
    """`The GPU is slower, clock 1410 MHz, baseline 1980 MHz (power cap)`."""
    if not gpu.clock_mhz or gpu.clock_mhz[0] >= gpu.clock_mhz[1]:
        return phrase("The GPU is as busy as usual and its kernels take longer")
    clock_mhz, baseline_mhz = gpu.clock_mhz
    return phrase(
        "The GPU is slower, clock {clock_mhz:.0f} MHz, baseline {baseline_mhz:.0f} MHz{why}",
        clock_mhz=clock_mhz,
        baseline_mhz=baseline_mhz,
        why=phrase(" ({reasons})", reasons=gpu.reasons) if gpu.reasons else None,
    )


def cpu_cause(host: HostComparison) -> Message:
    """`Other processes use 1.9 of 2 CPU cores, baseline 0.1`."""
    return phrase(
        "Other processes use {used:.1f} of {cores} CPU cores, baseline {baseline:.1f}",
        used=host.others[0],
        cores=host.cores,
        baseline=host.others[1],
    )


def place(frame: Frame) -> Message:
    """`decode_image (data.py:88)`; of code at the top of a file `data.py:88`."""
    if not frame.file:
        return phrase("{function}", function=frame.name)
    file, line = file_name(frame.file), frame.line
    if frame.name == AT_TOP:
        return phrase("{file}:{line}", file=file, line=line)
    if frame.name.endswith(LAMBDA):
        return phrase("lambda ({file}:{line})", file=file, line=line)
    return phrase("{function} ({file}:{line})", function=frame.name, file=file, line=line)


def _longer(verdict: Verdict) -> Message | None:
    """`steps take 18% longer, `"""
    if verdict.units is None or not verdict.baseline_unit_s or not verdict.slowdown_s:
        return None
    share = verdict.slowdown_s / verdict.baseline_unit_s
    return phrase("{unit}s take {share:.0%} longer, ", unit=verdict.unit_name, share=share)


def _lost(verdict: Verdict) -> Message:
    if not verdict.baseline:
        return phrase("there is no baseline to compare this window with")
    if verdict.units is None or verdict.baseline_unit_s is None or verdict.slowdown_s is None:
        return phrase("the program spends its time differently from its baseline")
    return phrase(
        "{slowdown_s:signed} per {unit}, baseline {baseline_s:unsigned}",
        slowdown_s=verdict.slowdown_s,
        unit=_unit(verdict),
        baseline_s=verdict.baseline_unit_s,
    )


def _answers(verdict: Verdict, first: bool = True) -> Message:
    """`Requests take 31 ms, baseline 11 ms`"""
    here_s, there_s = verdict.answer_s or (0.0, 0.0)
    return phrase(
        "{unit}s take {window_s:unsigned}, baseline {baseline_s:unsigned}",
        unit=verdict.unit_name.capitalize() if first else verdict.unit_name,
        window_s=here_s,
        baseline_s=there_s,
    )


def _unit(verdict: Verdict) -> Sentence:
    """`step`, `step of 412 tokens` where steps are of different sizes."""
    if not verdict.size:
        return verdict.unit_name
    return phrase("{unit} of {size}", unit=verdict.unit_name, size=verdict.size)
