"""Judge a window against its baseline: whether it lost anything, and to which function."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..stacks.traces import Floats, overlaps
from ..stacks.trie import Trie, Weighed
from . import suspect
from .chance import drawn_excesses, rank_among, threshold_s
from .confidence import confidence, excess_in
from .spread import grows_everywhere, in_proportion, some_lines_grow
from .suspect import Excess, Suspect
from .verdict import Case, Verdict

FEW_SAMPLES = 50
LEAST, LEAST_UNSURE = 0.05, 0.1  # of the time of a unit of the baseline: less is no difference worth a verdict
SIGMAS = 3.0  # of counting noise
LEAST_EVERYWHERE = 0.15  # ... where no function carries it: a machine with other work is now and then that much slower
ANSWERS_LATE = 1.5  # times as long as in the baseline, whose own seconds differ by as much
FEW_WINDOWS = 20  # windows of the baseline side by side; with fewer, LEAST_UNSURE is the least
ALL = 0.9  # of its time
PRESENT = 0.15  # of a short window, that a function which its whole units lost time to must have lost in it
SPANS, STEPS = 3, 3  # a frame is named where it stands in so many spans of so many steps
LONG = 3.0  # samples in a row: who stands so long stands


def judge(case: Case) -> Verdict:
    """The line, without a word on GPUs and other ranks."""
    window, baseline = case.window, case.baseline
    known = _known(case)
    if not case.asked.seconds:
        return Verdict("no_profile", **known)
    if known["samples"] < FEW_SAMPLES:
        return Verdict("too_few_samples", **known)
    trie, weighings = suspect.tree_of(window.traces, baseline.traces if baseline else None)
    divisors = (window.divisor, baseline.divisor if baseline else 0.0)
    excess = suspect.excess_of(trie, divisors, round(window.seconds * case.hz), case.own_folder)
    slowdown_s = excess.slowdown_s if window.units is not None or baseline is None else excess.shifted_s
    known |= {"slowdown_s": slowdown_s, "unexplained_s": slowdown_s}
    found = suspect.find(excess, slowdown_s, weighings, divisors)
    drawn_s = _drawn(case, trie)
    unit_s = baseline.seconds / baseline.units if baseline and baseline.units else 1.0
    least_s = _least(case, excess, found, unit_s, drawn_s)
    everywhere_s = max(least_s, LEAST_EVERYWHERE * unit_s)
    if case.answer_s and case.answer_s[0] <= (1 + LEAST) * case.answer_s[1]:
        return Verdict("no_difference", **known)  # more work a request where fewer share it, and no request takes longer
    if found is not None:
        found = found._replace(everywhere=_is_everywhere(found, excess, slowdown_s, case, weighings))
    if found is None or found.excess_s <= (everywhere_s if found.everywhere or _is_all(found, case) else least_s):
        is_slower = baseline is None or _is_slower(case, slowdown_s, everywhere_s)
        return Verdict("unknown" if is_slower else "no_difference", **known)
    if not _stands(found, case):
        return Verdict("unknown", **known)
    if not _is_present(found, case):
        return Verdict("no_difference", reason="elsewhere", **known)
    known |= {
        "suspect": found,
        "excess_s": found.excess_s,
        "excess_share": min(1.0, found.excess_s / slowdown_s) if slowdown_s > 0 else 1.0,
        "unexplained_s": slowdown_s - found.excess_s,
        "confidence": confidence(case, found, slowdown_s, least_s),
        "rank_among_baseline": rank_among(drawn_s, found.excess_s) if drawn_s is not None else None,
    }
    return Verdict("line", **known)


def _is_slower(case: Case, slowdown_s: float, least_s: float) -> bool:
    """Whether a unit takes longer; of a service a request, which does where requests wait for each other and are no more work, too."""
    if case.answer_s is not None:
        return case.answer_s[0] > ANSWERS_LATE * case.answer_s[1]
    return case.window.units is not None and slowdown_s > least_s


def _is_everywhere(found: Suspect, excess: Excess, slowdown_s: float, case: Case, weighings: list[Weighed]) -> bool:
    """Whether it names all that there is: what it calls, or what is beside it, grew in the same proportion, and none of its lines more."""
    window, baseline = case.window, case.baseline
    if baseline is None or window.units is None:
        return False
    divisors = (window.divisor, baseline.divisor)
    parts = suspect.largest_below(excess, [found.frame, *found.below][-1], divisors) if _is_all(found, case) else None
    if parts is not None and in_proportion(parts[0].tolist(), parts[1].tolist()):
        here, there = np.array([*suspect.seconds_by_line(found.frame[:2], weighings, divisors).values()]).T
        if not some_lines_grow(here, there, excess.samples):
            return True
    return grows_everywhere(found.frame, window.traces, baseline.traces, divisors, slowdown_s, case.own_folder, case.line_of)


def _is_all(found: Suspect, case: Case) -> bool:
    """Whether the function is there all the time in the baseline: that it takes longer says no more than that a unit does."""
    baseline = case.baseline
    return baseline is not None and baseline.seconds_in(found.frame) >= ALL * baseline.seconds


def _drawn(case: Case, trie: Trie) -> Floats | None:
    """The largest excesses that chance makes; None without a baseline."""
    if case.baseline is None:
        return None
    first = len(case.window.traces.stacks)
    return drawn_excesses(case.baseline.traces, trie, first, case.baseline.ranges, case.units, case.window.length_s, case.period_s)


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
        "baseline": baseline.ranges if baseline else [],
    }


def _least(case: Case, excess: Excess, found: Suspect | None, baseline_unit_s: float, drawn_s: Floats | None) -> float:
    """An excess up to this may be chance, or nothing that matters."""
    counting_s = SIGMAS * excess.noise_s(found.excess_s if found else 0.0)
    windows = sum(hi - lo for lo, hi in case.baseline.ranges) / case.window.length_s if case.baseline else 0.0
    least = LEAST if windows >= FEW_WINDOWS else LEAST_UNSURE
    return max(least * baseline_unit_s, counting_s, threshold_s(drawn_s) if drawn_s is not None else 0.0)


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
    stacks = [not there.isdisjoint(stack[:depth]) for stack, depth in zip(traces.stacks, traces.trusted.tolist(), strict=True)]
    spans = np.flatnonzero(np.array(stacks, bool)[traces.stack])
    starts, ends = traces.start_s[spans], traces.end_s[spans]
    if case.all_trusted or bool(((ends - starts) * case.hz >= LONG).any()):
        return True
    if case.units is None:
        return len(spans) >= SPANS
    _, steps = overlaps(starts, ends, case.units.start_s, case.units.end_s)
    return len(spans) >= SPANS and len(np.unique(steps)) >= min(STEPS, int(case.window.units or 0))
