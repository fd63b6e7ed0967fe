"""Judges a window against its baseline: whether it lost time, to which function, and with what confidence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame

from ..stacks.frames import are_own
from ..stacks.spans import Interval, TrustedSpans, overlaps
from ..stacks.threads import Function, always_there, common_ratio, on_stacks, parts_of
from ..stacks.tree import Trie
from ..step_log import LINE
from ..units import Units
from . import suspect
from .suspect import Excess, Suspect, WeightedComparison
from .verdict import ELSEWHERE, Case, Confidence, HostComparison, Side, Verdict, share_of

# How large an excess chance alone makes: windows of the same length, drawn from the baseline.
#
# Neighbouring samples are not independent, and thousands of functions are looked at: so whole stretches are drawn, and of each
# drawn window the largest excess of any function counts.

DRAWN = 200  # windows
PERCENTILE = 99
BLOCK_S = 1.0  # units are drawn in stretches of at least this length: the next one is seldom independent
BLOCK_WITHOUT_UNITS_S = 0.25
MAX_BLOCKS = 200
SMALL = 0.001  # functions below this share of the time are left out


def drawn_excesses(
    baseline: TrustedSpans,
    trie: Trie,
    first: int,
    ranges: Sequence[Interval],
    units: Units | None,
    window_s: float,
    period_s: float = 0.0,
) -> Floats:
    """The largest excess of each drawn window, per unit. `trie` holds the stacks of `baseline` from its stack number `first` on. Without units, what repeats itself in `period_s` stays together."""
    blocks = blocks_of(ranges, units, BLOCK_S if units is not None else max(BLOCK_WITHOUT_UNITS_S, period_s))
    bounds = np.array(blocks)
    total_s = _totals(baseline, trie, first, bounds)
    divisor = units.within_each(blocks) if units is not None else bounds[:, 1] - bounds[:, 0]
    length_s = float((bounds[:, 1] - bounds[:, 0]).mean())
    picks = np.random.default_rng(0).integers(0, len(blocks), (DRAWN, max(1, round(window_s / length_s))))
    times = np.array([np.bincount(row, minlength=len(blocks)) for row in picks], np.float64)
    excess_s = times @ total_s / np.maximum(times @ divisor, 1e-9)[:, None] - total_s.sum(axis=0) / max(
        divisor.sum(), 1e-9
    )
    largest_s: Floats = excess_s.max(axis=1)
    return largest_s


def threshold_s(drawn: Floats) -> float:
    """A larger excess is hardly chance."""
    return float(np.percentile(drawn, PERCENTILE))


def rank_among(drawn: Floats, excess_s: float) -> float:
    """The share of drawn windows with a smaller largest excess."""
    return float((drawn < excess_s).mean())


def blocks_of(ranges: Sequence[Interval], units: Units | None, least_s: float) -> list[Interval]:
    """Stretches of at least this length: whole units, where there are any."""
    least_s = max(least_s, sum(hi - lo for lo, hi in ranges) / MAX_BLOCKS)
    all_ends = units.ends() if units is not None else None
    blocks: list[Interval] = []
    for lo, hi in ranges:
        ends = np.arange(lo, hi, least_s) if all_ends is None else all_ends[slice(*np.searchsorted(all_ends, (lo, hi)))]
        edges = [lo]
        for end in ends[ends > lo].tolist():
            if end - edges[-1] >= least_s and hi - end >= 0.5 * least_s:
                edges.append(end)
        blocks += pairwise([*edges, hi])
    return blocks


def _totals(baseline: TrustedSpans, trie: Trie, first: int, bounds: Floats) -> Floats:
    """`[block, node]`: seconds at each node that is not small."""
    nodes = len(trie.parent)
    span, block = overlaps(baseline.start_s, baseline.end_s, bounds[:, 0], bounds[:, 1])
    seconds = np.minimum(baseline.end_s[span], bounds[block, 1]) - np.maximum(baseline.start_s[span], bounds[block, 0])
    place = block * nodes + trie.leaf[first + baseline.stack[span]]
    sums = np.bincount(place, seconds * baseline.weight[span], len(bounds) * nodes).astype(np.float64)
    total_s = sums.reshape(len(bounds), nodes)
    for depth in range(int(trie.depth.max(initial=0)), 0, -1):
        level = np.flatnonzero(trie.depth == depth)
        np.add.at(total_s.T, trie.parent[level], total_s.T[level])
    large = (trie.total_s >= SMALL * np.maximum(trie.total_s[:, :1], 1e-9)).any(axis=0)
    drawn: Floats = total_s[:, large]
    return drawn


# How sure a verdict is, by the strength of its evidence: docs/blame.md says what a user may read into each word.

HALVES_S = 0.25  # every other stretch of this length is one half of a window;
HALVES_BLOCKS = 8  # of whole units, where there are so many


class _Strength(NamedTuple):
    """Evidence for a suspect, or the minimum that a confidence level requires."""

    margin: float  # its excess, as a multiple of what chance and counting could make
    share: float  # of the slowdown that it explains
    halves: float  # the smaller one of its excesses in two halves of the window, as a share of the whole's
    alone: float  # how much of its excess is its own: in no other own function below it
    ahead: float  # of what it stands out by, that no second cause has
    samples: int  # of the window
    baseline_s: float  # how long the baseline is
    baseline_units: float | None  # None where the run logs none
    trusted_share: float  # of the window's time, in stacks that are trusted to their leaf
    all_trusted: bool  # all come from a sampler that does not mix moments


HIGH = _Strength(
    margin=2.0,
    share=0.7,
    halves=0.5,
    alone=0.5,
    ahead=0.5,
    samples=150,
    baseline_s=8.0,
    baseline_units=10,
    trusted_share=0.7,
    all_trusted=True,
)
MEDIUM = _Strength(
    margin=1.2,
    share=0.5,
    halves=0.25,
    alone=0.25,
    ahead=0.4,
    samples=100,
    baseline_s=5.0,
    baseline_units=2,
    trusted_share=0.5,
    all_trusted=False,
)


def confidence(case: Case, verdict: Verdict, least_s: float) -> Confidence:
    """`least_s` is what chance and counting could make; low without a baseline."""
    found, slowdown_s = verdict.suspect, verdict.slowdown_s or 0.0
    if case.baseline is None or found is None:
        return "low"
    return _word(
        _Strength(
            margin=found.gain_s(case.window.pace) / max(least_s, 1e-9),
            share=found.excess_s / slowdown_s if slowdown_s > 0 else 1.0,
            halves=_halves(case, found),
            alone=found.alone,
            ahead=1 - verdict.second.stands_out_s / max(found.stands_out_s, 1e-9) if verdict.second else 1.0,
            samples=round(case.asked.seconds * case.hz),
            baseline_s=case.baseline.length_s,
            baseline_units=case.baseline.units,
            trusted_share=case.window.spans.trusted_share,
            all_trusted=case.all_trusted,
        )
    )


def excess_in(function: Frame, side: Side, baseline: Side | None) -> float:
    """What a function takes more than in the baseline, per unit."""
    usual_s = baseline.seconds_in(function) / baseline.divisor if baseline else 0.0
    return side.seconds_in(function) / side.divisor - usual_s


def _word(strength: _Strength) -> Confidence:
    """High only where the sampler reads one moment."""
    return "high" if _reaches(strength, HIGH) else "medium" if _reaches(strength, MEDIUM) else "low"


def _reaches(strength: _Strength, least: _Strength) -> bool:
    return all(has is None or need is None or has >= need for has, need in zip(strength, least, strict=True))


def _halves(case: Case, found: Suspect) -> float:
    """The smaller one of the excesses in every other stretch of the window, and in those between them, as a share of the whole's."""
    blocks = blocks_of(case.window.ranges, case.units, HALVES_S)
    if len(blocks) < HALVES_BLOCKS:
        blocks = blocks_of(case.window.ranges, None, HALVES_S)
    halves = [_part(case.window, blocks[first::2], case.units) for first in (0, 1)]
    return min(excess_in(found.frame, half, case.baseline) for half in halves) / found.excess_s


def _part(side: Side, ranges: list[Interval], units: Units | None) -> Side:
    return Side(side.spans.within(ranges), ranges, units.within(ranges) if units is not None else None, pace=side.pace)


# Time on a machine that is full, as it would have been with as much of a core as in the baseline.
#
# Where other programs want the cores, all that computes takes longer, and most what computes most. What a function does more than in the
# baseline shows in its time on a core.

FULL_PCT = 75.0  # of all cores: where cores are free, no thread waits for one
TAKEN = 0.25  # of one core, on the average over the window
SHIFTED = 0.1  # of one core, from the run to other programs
COMPUTES = 0.05  # of a core: a part with more of one computes, however many share it; one with less waits for a disk or a socket
KNOWN = 0.9  # of the time, for which the kernel says who had a core


def has_risen(host: HostComparison) -> bool:
    """True if other programs use more of the cores than in the baseline."""
    return host.others[0] - host.others[1] >= TAKEN


def took_more(host: HostComparison) -> bool:
    """True if other programs use more of the cores, or somewhat more while the run has as much less: on a full machine nobody gets much more."""
    rise, fall = host.others[0] - host.others[1], host.own[1] - host.own[0]
    return rise >= TAKEN or min(rise, fall) >= SHIFTED


def is_full(host: HostComparison | None) -> bool:
    return host is not None and host.busy_pct[0] >= FULL_PCT


class OnCpuSpans(NamedTuple):
    """Window and baseline with the time of what computes by its time on a core."""

    spans: tuple[TrustedSpans, TrustedSpans]
    longer: float  # how many times as long the window's work took for want of a core, beside the baseline's


def on_cpu_spans(
    sides: tuple[TrustedSpans, TrustedSpans], working: tuple[Bools, Bools], own_folder: str
) -> OnCpuSpans | None:
    """None where the kernel does not say who had a core."""
    at_work = sides[0].take(working[0]), sides[1].take(working[1])
    if any(_known_s(side) < KNOWN * float(side.seconds.sum()) for side in at_work):
        return None
    parts = parts_of(sides, own_folder, always_there(sides[1]))
    computes = _computing(at_work, parts)
    here, there = (_share(side, computes[part]) for side, part in zip(at_work, parts, strict=True))
    if not here or not there:
        return None
    even = (
        _by_cores(side, work, computes[part], there) for side, work, part in zip(sides, working, parts, strict=True)
    )
    return OnCpuSpans((next(even), next(even)), there / here)


def _share(side: TrustedSpans, computes: Bools) -> float:
    """Of a core, that what computes had on the average."""
    those = computes[side.stack]
    return float(_on_core(side)[those].sum() / max(float(side.seconds[those].sum()), 1e-9))


def _by_cores(side: TrustedSpans, working: Bools, computes: Bools, usual: float) -> TrustedSpans:
    those = working & computes[side.stack] & np.isfinite(side.running)
    share = np.clip(np.nan_to_num(side.running), 0, 1) / usual
    return side._replace(weight=np.where(those, side.weight * share, side.weight))


def _computing(sides: tuple[TrustedSpans, TrustedSpans], parts: list[Ints]) -> Bools:
    """The parts of the program that have a core now and then."""
    count = 1 + max(int(part.max(initial=0)) for part in parts)
    on_s, all_s = np.zeros(count), np.zeros(count)
    for side, part in zip(sides, parts, strict=True):
        if len(part):
            on_s += np.bincount(part[side.stack], _on_core(side), count)
            all_s += np.bincount(part[side.stack], side.seconds, count)
    computing: Bools = on_s >= COMPUTES * np.maximum(all_s, 1e-9)
    return computing


def _on_core(side: TrustedSpans) -> Floats:
    seconds: Floats = np.clip(np.nan_to_num(side.running), 0, 1) * side.seconds
    return seconds


def _known_s(side: TrustedSpans) -> float:
    return float(side.seconds[np.isfinite(side.running)].sum())


FEW_SAMPLES = 50
MIN_EXCESS, MIN_UNSURE = 0.05, 0.1  # of the time of a unit of the baseline: less is no difference worth a verdict
SIGMAS = 3.0  # of counting noise
MIN_EVERYWHERE = 0.2  # ... where no function carries it: a machine with other work is now and then that much slower
ANSWERS_LATE = 1.5  # times as long as in the baseline, whose own seconds differ by as much
FEW_WINDOWS = 20  # windows of the baseline side by side; with fewer, MIN_UNSURE is the least
PRESENT = 0.15  # of a short window, that a function which its whole units lost time to must have lost in it
SPANS, STEPS = 3, 3  # a frame is named where it stands in so many spans of so many steps
LONG = 3.0  # samples in a row: who stands so long stands
MOST = 0.5  # of a window without a baseline, that a line has which is named
SAME_PACE = 0.87  # of the baseline's work in a second: with more of it nothing is slower
OUTSIDE = 0.15  # of the baseline's work: with less of it elsewhere, one function and everything cannot be told apart
OUTSIDE_OF_LINES = 0.2  # ... where units are lines of the log, which may stand for more work now than before
BOUND, MAX_BOUND = (
    1.1,
    1.5,
)  # times: how much longer all work may take beside its want of cores; the latter where that has risen
LOOKS = 3  # at what has grown in common: the first suspect may be another than the last


def judge(case: Case) -> Verdict:
    """The verdict on a window from its stacks alone; `reasons.with_reason` adds GPUs, the machine and other ranks."""
    window, baseline = case.window, case.baseline
    known = _known(case)
    if not case.asked.seconds:
        return Verdict("no_profile", **known)
    if known["samples"] < FEW_SAMPLES:
        return Verdict("too_few_samples", **known)
    look = _look(case)
    excess, found, sides = look.excess, look.found, look.sides
    slowdown_s = excess.slowdown_s
    known |= {"slowdown_s": slowdown_s, "unexplained_s": slowdown_s, "common_s": max(0.0, excess.common_s)}
    drawn_s = _drawn(case, look)
    unit_s = baseline.seconds / baseline.units if baseline and baseline.units else 1.0
    least_s = _least(case, excess, found, unit_s, drawn_s)
    everywhere_s = max(least_s, MIN_EVERYWHERE * unit_s)
    if case.answer_s and case.answer_s[0] <= (1 + MIN_EXCESS) * case.answer_s[1]:
        return Verdict(
            "no_difference", **known
        )  # more work a request where fewer share it, and no request takes longer
    if (
        baseline is not None
        and not case.answer_s
        and (window.pace > SAME_PACE if window.units is None else slowdown_s <= 0)
    ):
        return Verdict("no_difference", **known)
    if found is not None and baseline is not None and found.stands_out_s < suspect.SECOND * slowdown_s:
        found = None
    needed_s = everywhere_s if found is not None and (found.last_line or look.is_everything) else least_s
    if found is None or found.gain_s(window.pace) <= needed_s:
        known["most"] = _most(case) if baseline is None else None
        is_slower = baseline is None or _is_slower(case, slowdown_s, least_s if look.is_everything else everywhere_s)
        return Verdict("unknown" if is_slower else "no_difference", **known)
    if not _stands(found, case):
        return Verdict("unknown", **known)
    if not _is_present(found, case):
        return Verdict("no_difference", reason=ELSEWHERE, **known)
    other = suspect.second(excess, found, max(slowdown_s, found.stands_out_s), sides) if baseline else None
    other = other if other is not None and other.stands_out_s > least_s else None
    known |= {
        "suspect": found,
        "second": other,
        "excess_s": found.excess_s,
        "excess_share": share_of(found.excess_s, other, slowdown_s),
        "unexplained_s": slowdown_s - found.excess_s,
        "shares": (found.whole_s * window.pace, found.whole_s - found.excess_s)
        if window.units is None and baseline
        else None,
        "rank_among_baseline": rank_among(drawn_s, found.gain_s(window.pace)) if drawn_s is not None else None,
    }
    verdict = Verdict("line", **known)
    return replace(verdict, confidence=confidence(case, verdict, needed_s))


class _SuspectSearch(NamedTuple):
    trie: Trie
    excess: Excess
    sides: WeightedComparison
    found: Suspect | None
    even: TrustedSpans | None  # the baseline, by which chance is drawn
    is_everything: bool = (
        False  # the suspect is nearly all of the work: whether it or the machine is slower cannot be told
    )


def _look(case: Case) -> _SuspectSearch:
    """The suspect, once all that has grown in common is known: that is what grew apart from the first suspect."""
    window, baseline = case.window, case.baseline
    samples = round(window.seconds * case.hz)
    even = _even(case)
    trie, weighings = suspect.tree_of(
        window.spans, baseline.spans if baseline else None, *((even.spans, even.working[1]) if even else ())
    )
    sides = WeightedComparison(weighings, (window.divisor, baseline.divisor if baseline else 0.0))
    excess = suspect.excess_of(trie, sides, samples, case.own_folder)
    found = suspect.find(excess, excess.excess_s[0], sides)
    if even is None:
        return _SuspectSearch(trie, excess, sides, found, None)
    parts = _work_by_stack(case, even, excess.always)
    for _ in range(LOOKS):
        common = _common(case, even, found, parts)
        if common == sides.common:
            break
        sides = sides._replace(common=common)
        excess = suspect.excess_of(trie, sides, samples, case.own_folder)
        found = suspect.find(excess, excess.excess_s[0], sides)
    outside = _outside(even, found, parts) if found is not None else 1.0
    if case.unit_name == LINE and outside < OUTSIDE_OF_LINES:
        found = None
    return _SuspectSearch(trie, excess, sides, found, even.spans[1], outside < OUTSIDE)


class _AdjustedSpans(NamedTuple):
    """Window and baseline with the same share of cores, as far as that is known."""

    spans: tuple[TrustedSpans, TrustedSpans]
    working: tuple[Bools, Bools]  # the spans that are no waits
    limit: float  # how many times as long all work can take beside that


def _even(case: Case) -> _AdjustedSpans | None:
    """None without a baseline, without units, whose pace has what is common already, and for a service, whose threads wait for each other."""
    window, baseline = case.window, case.baseline
    if baseline is None or window.units is None or case.answer_s is not None or window.spans.serves:
        return None
    sides = window.spans, baseline.spans
    working = case.at_work(window), case.at_work(baseline)
    if case.host is None:
        return _AdjustedSpans(sides, working, np.inf)
    if not is_full(case.host):
        return _AdjustedSpans(sides, working, BOUND)
    by_cores = on_cpu_spans(sides, working, case.own_folder) if _has_slowed(case, sides, working) else None
    if by_cores is None:
        return _AdjustedSpans(sides, working, np.inf if has_risen(case.host) and not case.all_trusted else BOUND)
    return _AdjustedSpans(
        by_cores.spans, working, min(max(1.0, by_cores.longer), MAX_BOUND) if has_risen(case.host) else 1.0
    )


def _has_slowed(case: Case, sides: tuple[TrustedSpans, TrustedSpans], working: tuple[Bools, Bools]) -> bool:
    """True if most of the program's parts take longer: where cores are short they all do."""
    assert case.baseline is not None
    parts = parts_of(sides, case.own_folder, always_there(sides[1]))
    count = 1 + max(int(part.max(initial=0)) for part in parts)
    here, there = (
        np.bincount(part[side.stack[work]], side.seconds[work], count) / of.divisor
        for part, side, work, of in zip(parts, sides, working, (case.window, case.baseline), strict=True)
    )
    return (common_ratio(here, there) or 1.0) >= BOUND


class _Work(NamedTuple):
    """Seconds of work per unit of each stack of one side, and the part of the program that it is in."""

    seconds: Floats
    part: Ints


def _work_by_stack(case: Case, even: _AdjustedSpans, always: Collection[Function]) -> tuple[_Work, _Work]:
    assert case.baseline is not None
    parts = parts_of(even.spans, case.own_folder, always)
    at_work = [side.take(working) for side, working in zip(even.spans, even.working, strict=True)]
    seconds = [np.bincount(side.stack, side.seconds, len(side.stacks)).astype(np.float64) for side in at_work]
    return _Work(seconds[0] / case.window.divisor, parts[0]), _Work(seconds[1] / case.baseline.divisor, parts[1])


def _common(case: Case, even: _AdjustedSpans, found: Suspect | None, work: tuple[_Work, _Work]) -> float:
    """How many times as long as in the baseline all work takes, leaving out what the suspect does."""
    seconds = [side.seconds for side in work]
    if found is not None and not found.last_line:
        if _outside(even, found, work) < OUTSIDE:
            return 1.0
        seconds = [
            np.where(on_stacks(side, found.frame), 0.0, its) for side, its in zip(even.spans, seconds, strict=True)
        ]
    count = 1 + max(int(side.part.max(initial=0)) for side in work)
    sums = [np.bincount(side.part, its, count).astype(np.float64) for side, its in zip(work, seconds, strict=True)]
    return min(max(common_ratio(*sums) or 1.0, 1.0), even.limit)


def _outside(even: _AdjustedSpans, found: Suspect, work: tuple[_Work, _Work]) -> float:
    """The share of the baseline's work that is not in the suspect."""
    its = work[1].seconds
    return 1 - float(its[on_stacks(even.spans[1], found.frame)].sum()) / max(float(its.sum()), 1e-9)


def _is_slower(case: Case, slowdown_s: float, least_s: float) -> bool:
    """True if a unit takes longer; of a service a request, which does where requests wait for each other and are no more work, too."""
    if case.answer_s is not None:
        return case.answer_s[0] > ANSWERS_LATE * case.answer_s[1]
    return (
        case.window.units is not None and slowdown_s > least_s
    )  # without units all that can be seen is what takes its place


def _drawn(case: Case, look: _SuspectSearch) -> Floats | None:
    """The largest excesses that chance makes; None without a baseline."""
    if case.baseline is None:
        return None
    first = len(case.window.spans.stacks)
    baseline = look.even if look.even is not None else case.baseline.spans
    return drawn_excesses(
        baseline, look.trie, first, case.baseline.ranges, case.units, case.window.length_s, case.period_s
    )


def _known(case: Case) -> dict[str, Any]:
    window, baseline = case.window, case.baseline
    return {
        "window_unit_s": window.seconds / window.units if window.units else None,
        "baseline_unit_s": baseline.seconds / baseline.units if baseline and baseline.units else None,
        "unit_name": case.unit_name if window.units is not None else "second",
        "answer_s": case.answer_s,
        "units": case.asked.units,
        "baseline_units": baseline.units if baseline else None,
        "samples": round(case.asked.length_s * case.hz),
        "baseline_samples": round(baseline.length_s * case.hz) if baseline else 0,
        "trusted_share": window.spans.trusted_share,
        "basis": "stacks" if window.units is None else "steps",
        "pace": window.pace,
        "baseline": baseline.ranges if baseline else [],
    }


def _most(case: Case) -> tuple[Frame, float] | None:
    """Of the window's own lines that which the main thread stood at longest, waits too, and its share; None where it is not most of it."""
    spans = case.asked.spans
    own = are_own(list(spans.frames), case.own_folder)
    lines: dict[Frame, float] = {}
    seconds = np.bincount(spans.stack, spans.seconds, len(spans.stacks))
    for stack, its_s in zip(spans.stacks, seconds.tolist(), strict=True):
        frame = next((spans.frames[i] for i in reversed(stack) if own[i]), None)
        if frame is not None and its_s:
            lines[frame] = lines.get(frame, 0.0) + its_s
    frame, most_s = max(lines.items(), key=lambda line: line[1], default=(None, 0.0))
    share = most_s / case.asked.seconds
    return (frame, min(1.0, share)) if frame is not None and share > MOST else None


def _least(case: Case, excess: Excess, found: Suspect | None, baseline_unit_s: float, drawn_s: Floats | None) -> float:
    """An excess up to this may be chance, or nothing that matters."""
    counting_s = SIGMAS * excess.noise_s(found.stands_out_s if found else 0.0)
    windows = sum(hi - lo for lo, hi in case.baseline.ranges) / case.window.length_s if case.baseline else 0.0
    least = MIN_EXCESS if windows >= FEW_WINDOWS else MIN_UNSURE
    by_chance_s = threshold_s(drawn_s) if drawn_s is not None else 0.0
    return max(counting_s * case.window.pace, least * baseline_unit_s, by_chance_s)


def _is_present(found: Suspect, case: Case) -> bool:
    """Whether the window itself shows what its whole units lost: every second in the function is lost in the same part."""
    if not case.in_part:
        return True
    inside_s, whole_s = case.asked.seconds_in(found.frame), case.window.seconds_in(found.frame)
    lost_s = inside_s * min(1.0, found.excess_s * case.window.divisor / max(whole_s, 1e-9))
    return lost_s >= PRESENT * case.asked.seconds and excess_in(found.frame, case.asked, case.baseline) > 0


def _stands(found: Suspect, case: Case) -> bool:
    """Whether the function was seen often enough, or long enough at once, to have been there."""
    spans = case.window.spans
    there = {i for i, frame in enumerate(spans.frames) if frame[:2] == found.frame[:2]}
    stacks = [
        not there.isdisjoint(stack[:depth]) for stack, depth in zip(spans.stacks, spans.trusted.tolist(), strict=True)
    ]
    chosen = np.flatnonzero(np.array(stacks, bool)[spans.stack])
    starts, ends = spans.start_s[chosen], spans.end_s[chosen]
    if case.all_trusted or bool(((ends - starts) * case.hz >= LONG).any()):
        return True
    if case.units is None:
        return len(chosen) >= SPANS
    _, steps = overlaps(starts, ends, case.units.start_s, case.units.end_s)
    return len(chosen) >= SPANS and len(np.unique(steps)) >= min(STEPS, int(case.window.units or 0))


# How fast a window does the run's usual work, for a run that logs no steps.
#
# A new or slower part of a loop leaves less of each second for all the others, by the same factor: that factor is the pace.

MIN_PACE = 0.02  # a window that does other work altogether


def with_pace(case: Case) -> Case:
    """With the pace of the window; unchanged for a run whose units are known."""
    window, baseline = case.window, case.baseline
    if baseline is None or window.units is not None or case.answer_s is not None:
        return case
    trie, weighings = suspect.tree_of(window.spans, baseline.spans)
    sides = WeightedComparison(weighings, (window.divisor, baseline.divisor))
    excess = suspect.excess_of(trie, sides, round(window.seconds * case.hz), case.own_folder)
    found = suspect.find(excess, excess.shifted_s, sides)
    seconds = [
        np.bincount(side.spans.stack, side.spans.seconds, len(side.spans.stacks)) / side.divisor
        for side in (window, baseline)
    ]
    if found is not None and not found.last_line:
        sides_on = [on_stacks(side.spans, found.frame) for side in (window, baseline)]
        seconds = [np.where(on, 0.0, values) for on, values in zip(sides_on, seconds, strict=True)]
    if seconds[1].sum() < OUTSIDE:
        return case
    parts = parts_of((window.spans, baseline.spans), case.own_folder, excess.always)
    count = 1 + max(int(part.max(initial=0)) for part in parts)
    ratio = common_ratio(
        *(np.bincount(part, values, count).astype(np.float64) for part, values in zip(parts, seconds, strict=True))
    )
    pace = min(max(ratio if ratio is not None else 1.0, MIN_PACE), 1.0)
    return case._replace(window=window._replace(pace=pace), asked=case.asked._replace(pace=pace))
