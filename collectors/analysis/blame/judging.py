"""Judge a window against its baseline: whether it lost anything, and to which function."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..baseline.lines import LINE
from ..stacks.parts import Function, always_there, common_ratio, on_stacks, parts_of
from ..stacks.traces import Bools, Floats, Ints, Traces, overlaps
from ..stacks.trie import Trie
from . import suspect
from .chance import drawn_excesses, rank_among, threshold_s
from .confidence import confidence, excess_in
from .cores import evened, has_risen, is_full
from .suspect import Excess, Sides, Suspect
from .verdict import Case, Verdict, share_of

FEW_SAMPLES = 50
LEAST, LEAST_UNSURE = 0.05, 0.1  # of the time of a unit of the baseline: less is no difference worth a verdict
SIGMAS = 3.0  # of counting noise
LEAST_EVERYWHERE = 0.2  # ... where no function carries it: a machine with other work is now and then that much slower
ANSWERS_LATE = 1.5  # times as long as in the baseline, whose own seconds differ by as much
FEW_WINDOWS = 20  # windows of the baseline side by side; with fewer, LEAST_UNSURE is the least
PRESENT = 0.15  # of a short window, that a function which its whole units lost time to must have lost in it
SPANS, STEPS = 3, 3  # a frame is named where it stands in so many spans of so many steps
LONG = 3.0  # samples in a row: who stands so long stands
SAME_PACE = 0.87  # of the baseline's work in a second: with more of it nothing is slower
OUTSIDE = 0.15  # of the baseline's work: with less of it elsewhere, one function and everything cannot be told apart
OUTSIDE_OF_LINES = 0.2  # ... where units are lines of the log, which may stand for more work now than before
BOUND, MOST_BOUND = (
    1.1,
    1.5,
)  # times: how much longer all work may take beside its want of cores; the latter where that has risen
LOOKS = 3  # at what has grown in common: the first suspect may be another than the last


def judge(case: Case) -> Verdict:
    """The line, without a word on GPUs and other ranks."""
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
    everywhere_s = max(least_s, LEAST_EVERYWHERE * unit_s)
    if case.answer_s and case.answer_s[0] <= (1 + LEAST) * case.answer_s[1]:
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
        is_slower = baseline is None or _is_slower(case, slowdown_s, least_s if look.is_everything else everywhere_s)
        return Verdict("unknown" if is_slower else "no_difference", **known)
    if not _stands(found, case):
        return Verdict("unknown", **known)
    if not _is_present(found, case):
        return Verdict("no_difference", reason="elsewhere", **known)
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


class _Look(NamedTuple):
    trie: Trie
    excess: Excess
    sides: Sides
    found: Suspect | None
    even: Traces | None  # the baseline, by which chance is drawn
    is_everything: bool = (
        False  # the suspect is nearly all of the work: whether it or the machine is slower cannot be told
    )


def _look(case: Case) -> _Look:
    """The suspect, once all that has grown in common is known: that is what grew apart from the first suspect."""
    window, baseline = case.window, case.baseline
    samples = round(window.seconds * case.hz)
    even = _even(case)
    trie, weighings = suspect.tree_of(
        window.traces, baseline.traces if baseline else None, *((even.traces, even.working[1]) if even else ())
    )
    sides = Sides(weighings, (window.divisor, baseline.divisor if baseline else 0.0))
    excess = suspect.excess_of(trie, sides, samples, case.own_folder)
    found = suspect.find(excess, excess.excess_s[0], sides)
    if even is None:
        return _Look(trie, excess, sides, found, None)
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
    return _Look(trie, excess, sides, found, even.traces[1], outside < OUTSIDE)


class _Even(NamedTuple):
    """Window and baseline with the same share of cores, as far as that is known."""

    traces: tuple[Traces, Traces]
    working: tuple[Bools, Bools]  # the spans that are no waits
    limit: float  # how many times as long all work can take beside that


def _even(case: Case) -> _Even | None:
    """None without a baseline, without units, whose pace has what is common already, and for a service, whose threads wait for each other."""
    window, baseline = case.window, case.baseline
    if baseline is None or window.units is None or case.answer_s is not None or window.traces.serves:
        return None
    sides = window.traces, baseline.traces
    working = case.at_work(window), case.at_work(baseline)
    if case.host is None:
        return _Even(sides, working, np.inf)
    if not is_full(case.host):
        return _Even(sides, working, BOUND)
    by_cores = evened(sides, working, case.own_folder) if _has_slowed(case, sides, working) else None
    if by_cores is None:
        return _Even(sides, working, np.inf if has_risen(case.host) and not case.all_trusted else BOUND)
    return _Even(by_cores.traces, working, min(max(1.0, by_cores.longer), MOST_BOUND) if has_risen(case.host) else 1.0)


def _has_slowed(case: Case, sides: tuple[Traces, Traces], working: tuple[Bools, Bools]) -> bool:
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


def _work_by_stack(case: Case, even: _Even, always: Collection[Function]) -> tuple[_Work, _Work]:
    assert case.baseline is not None
    parts = parts_of(even.traces, case.own_folder, always)
    at_work = [side.take(working) for side, working in zip(even.traces, even.working, strict=True)]
    seconds = [np.bincount(side.stack, side.seconds, len(side.stacks)).astype(np.float64) for side in at_work]
    return _Work(seconds[0] / case.window.divisor, parts[0]), _Work(seconds[1] / case.baseline.divisor, parts[1])


def _common(case: Case, even: _Even, found: Suspect | None, work: tuple[_Work, _Work]) -> float:
    """How many times as long as in the baseline all work takes, leaving out what the suspect does."""
    seconds = [side.seconds for side in work]
    if found is not None and not found.last_line:
        if _outside(even, found, work) < OUTSIDE:
            return 1.0
        seconds = [
            np.where(on_stacks(side, found.frame), 0.0, its) for side, its in zip(even.traces, seconds, strict=True)
        ]
    count = 1 + max(int(side.part.max(initial=0)) for side in work)
    sums = [np.bincount(side.part, its, count).astype(np.float64) for side, its in zip(work, seconds, strict=True)]
    return min(max(common_ratio(*sums) or 1.0, 1.0), even.limit)


def _outside(even: _Even, found: Suspect, work: tuple[_Work, _Work]) -> float:
    """The share of the baseline's work that is not in the suspect."""
    its = work[1].seconds
    return 1 - float(its[on_stacks(even.traces[1], found.frame)].sum()) / max(float(its.sum()), 1e-9)


def _is_slower(case: Case, slowdown_s: float, least_s: float) -> bool:
    """True if a unit takes longer; of a service a request, which does where requests wait for each other and are no more work, too."""
    if case.answer_s is not None:
        return case.answer_s[0] > ANSWERS_LATE * case.answer_s[1]
    return (
        case.window.units is not None and slowdown_s > least_s
    )  # without units all that can be seen is what takes its place


def _drawn(case: Case, look: _Look) -> Floats | None:
    """The largest excesses that chance makes; None without a baseline."""
    if case.baseline is None:
        return None
    first = len(case.window.traces.stacks)
    baseline = look.even if look.even is not None else case.baseline.traces
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
        "trusted_share": window.traces.trusted_share,
        "basis": "stacks" if window.units is None else "steps",
        "pace": window.pace,
        "baseline": baseline.ranges if baseline else [],
    }


def _least(case: Case, excess: Excess, found: Suspect | None, baseline_unit_s: float, drawn_s: Floats | None) -> float:
    """An excess up to this may be chance, or nothing that matters."""
    counting_s = SIGMAS * excess.noise_s(found.stands_out_s if found else 0.0)
    windows = sum(hi - lo for lo, hi in case.baseline.ranges) / case.window.length_s if case.baseline else 0.0
    least = LEAST if windows >= FEW_WINDOWS else LEAST_UNSURE
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
    traces = case.window.traces
    there = {i for i, frame in enumerate(traces.frames) if frame[:2] == found.frame[:2]}
    stacks = [
        not there.isdisjoint(stack[:depth]) for stack, depth in zip(traces.stacks, traces.trusted.tolist(), strict=True)
    ]
    spans = np.flatnonzero(np.array(stacks, bool)[traces.stack])
    starts, ends = traces.start_s[spans], traces.end_s[spans]
    if case.all_trusted or bool(((ends - starts) * case.hz >= LONG).any()):
        return True
    if case.units is None:
        return len(spans) >= SPANS
    _, steps = overlaps(starts, ends, case.units.start_s, case.units.end_s)
    return len(spans) >= SPANS and len(np.unique(steps)) >= min(STEPS, int(case.window.units or 0))
