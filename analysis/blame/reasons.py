"""Reasons beyond a line: it waits, holds a lock or the GIL, collects garbage, sleeps, or other processes took the cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.message import Message, phrase
from collectors.records import Frame

from ..ledger.cores import CoreWaits
from ..stacks.spans import Interval, TrustedSpans
from ..stacks.threads import standing
from ..stacks.trust import LineOf
from ..stacks.wait_joins import IN_THREADS, Locks, is_head, is_waiting, rank_of_head
from ..stacks.waits import BACKWARD, reads_gpu, reason_in, reason_of, takes_lock, wait_of, waiting
from . import suspect
from .comparison import MIN_BUSY_PCT
from .judgement import COMPUTES, TAKEN, has_risen, is_full, took_more
from .suspect import SECOND, Suspect, WeightedComparison
from .verdict import TOO_FAINT, WHILE_GIL, WHILE_LOCK, Case, Side, Verdict, share_of, waits_for

MAIN_SHARE = 0.5  # of the slowdown: what explains so much of it is the reason
MIN_LOGGED = 0.15  # of a unit of the baseline: the run's own clock says it, no chance of sampling does
FAINT = 0.12  # of a unit of the baseline: so much the units of quiet minutes differ, too
IDLER_PCT = 5.0  # so much less busy is idle
SLOWER_CLOCK = 0.97
OTHERS_AT_WORK = 0.3  # seconds of every second, by which a process's other threads must have become busier
WAS_THERE = 0.02  # of its time in the window: so much a function must take in the baseline to be the same, only slower
TOGETHER = 1.1  # of the slowdown: two causes that explain more are one
CORELESS = 0.7  # of the slowdown: work without a core
SAME_WORK = 1.25  # times the CPU time of a unit of the baseline
BESIDE, ALONE = 0.8, 0.2  # of the window at least, of the baseline at most, in which a slot is shared

GC = phrase("garbage collection")
EVENT_LOOP = "/asyncio/base_events.py"


def with_reason(verdict: Verdict, case: Case) -> Verdict:
    """The verdict with its reason; or another one, where the reason says that the line is innocent."""
    collected_s = case.gc_s[0] - case.gc_s[1] if case.gc_s else 0.0
    if verdict.verdict == "no_difference" and collected_s >= MIN_LOGGED * (verdict.baseline_unit_s or np.inf):
        return (
            _collector(verdict, collected_s) if collected_s >= MAIN_SHARE * (verdict.slowdown_s or 0.0) > 0 else verdict
        )
    if verdict.verdict not in ("line", "unknown") or not verdict.baseline or not verdict.slowdown_s:
        return replace(verdict, reason=_of_line(verdict.suspect, case)) if verdict.suspect else verdict
    if case.gc_s and collected_s >= MAIN_SHARE * verdict.slowdown_s:
        return _collector(verdict, collected_s)
    if _neighbour_slows(verdict, case):
        return _without_line(verdict, "neighbour")
    if _gpu_is_slower(verdict, case):
        return _without_line(verdict, "gpu_slower")
    if pool := _holder_of_gil(verdict, case):
        return pool
    taken_s = _taken(verdict, case)
    if taken_s >= _least_taken(verdict) > 0 and taken_s > _with_more_work(verdict, case):
        second = _beside(verdict, taken_s)
        sure = second is None and taken_s >= CORELESS * verdict.slowdown_s
        bare = _without_line(verdict, "cpu_taken")
        return replace(bare, taken_s=taken_s, second=second, confidence="medium" if sure else "low")
    if verdict.suspect is None:
        return replace(verdict, coreless_share=_coreless_share(case))
    if (
        verdict.basis == "steps"
        and verdict.confidence != "high"
        and verdict.slowdown_s < FAINT * (verdict.baseline_unit_s or 0.0)
    ):
        return _bare(replace(verdict, verdict="no_difference", reason=TOO_FAINT, confidence=None))
    doubted = taken_s >= SECOND * verdict.slowdown_s > 0 and verdict.confidence == "high"
    confidence = "medium" if doubted else verdict.confidence
    return replace(verdict, reason=_of_line(verdict.suspect, case), taken_s=taken_s, confidence=confidence)


def _without_line(verdict: Verdict, kind: Literal["gpu_slower", "cpu_taken", "neighbour"]) -> Verdict:
    return replace(_bare(verdict), verdict=kind, confidence="medium")


def _bare(verdict: Verdict) -> Verdict:
    return replace(
        verdict,
        suspect=None,
        second=None,
        excess_s=None,
        excess_share=None,
        rank_among_baseline=None,
        unexplained_s=verdict.slowdown_s,
    )


def _of_line(found: Suspect | None, case: Case) -> Message | None:
    """By the frames below it, by what its line says, and by how it came below the main thread."""
    if found is None:
        return None
    if word := reason_in(found.below) or reason_of(found.frame):
        return phrase(word)
    wait = waiting([wait_of(frame) for frame in (found.frame, *found.below)])
    if wait and not (wait.wait is BACKWARD and case.window.spans.computes_backward):
        in_loop = any(frame.file.endswith(EVENT_LOOP) for frame in found.below)
        return phrase("its asyncio loop waits for the network or a timer") if in_loop else waits_for(wait.wait.what)
    text = case.line_of(found.frame.file, found.frame.line)
    if not found.below and case.gpu is not None and reads_gpu(text):  # without a GPU `.tolist()` waits for nothing
        return waits_for("GPU")
    return WHILE_LOCK if _below_lock(found, case) else None


def _below_lock(found: Suspect, case: Case) -> bool:
    """Whether most of its time in the window hangs below a line that takes a lock."""
    spans = case.window.spans
    if IN_THREADS not in spans.frames:
        return False
    heads = {i for i, frame in enumerate(spans.frames) if frame == IN_THREADS}
    locks = Locks(spans.frames, case.line_of)
    texts = [case.line_of(frame.file, frame.line) for frame in spans.frames]
    takers = {i for i, text in enumerate(texts) if takes_lock(text, locks.entered(text))}
    locked = [any(a in takers and b in heads for a, b in pairwise(stack)) for stack in spans.stacks]
    there = standing(spans, found.frame)
    below = there & np.array(locked, bool)[spans.stack]
    return bool(spans.seconds[below].sum() > MAIN_SHARE * spans.seconds[there].sum())


def _collector(verdict: Verdict, excess_s: float) -> Verdict:
    slowdown_s = verdict.slowdown_s or excess_s
    return replace(
        verdict,
        verdict="line",
        suspect=Suspect(Frame("gc", "", 0), "", excess_s, [], []),
        reason=GC,
        excess_s=excess_s,
        excess_share=share_of(excess_s, verdict.second, slowdown_s),
        unexplained_s=slowdown_s - excess_s,
        confidence="medium",  # the run says so itself; which line made the garbage is not known
    )


def _neighbour_slows(verdict: Verdict, case: Case) -> bool:
    """A neighbour is there in the window and not in the baseline, and what takes longer is what was there before, or waits for the device."""
    here, there = case.beside
    if not case.neighbour or verdict.units is None or here < BESIDE or there > ALONE:
        return False
    return _only_slower(verdict.suspect, case) or _of_line(verdict.suspect, case) == waits_for("GPU")


def _gpu_is_slower(verdict: Verdict, case: Case) -> bool:
    """No more idle than in the baseline, and: clocks down, kernels longer, or all that the main thread does more is wait for it."""
    gpu = case.gpu
    if (
        gpu is None
        or verdict.units is None
        or gpu.busy_pct[1] < MIN_BUSY_PCT
        or gpu.busy_pct[0] < gpu.busy_pct[1] - IDLER_PCT
    ):
        return False
    clocks_down = gpu.clock_mhz is not None and gpu.clock_mhz[0] < SLOWER_CLOCK * gpu.clock_mhz[1]
    longer_s = gpu.kernels_s[0] - gpu.kernels_s[1] if gpu.kernels_s else 0.0
    waits = _of_line(verdict.suspect, case) == waits_for("GPU")
    return clocks_down or waits or longer_s >= MAIN_SHARE * (verdict.slowdown_s or 0.0)


def _holder_of_gil(verdict: Verdict, case: Case) -> Verdict | None:
    """Where the main thread's own work only takes longer while other threads of its process became busy: what they do."""
    if case.others is None or case.baseline is None or verdict.units is None or not _only_slower(verdict.suspect, case):
        return None
    window, baseline = case.others
    rise = window.seconds / case.window.seconds - baseline.seconds / case.baseline.seconds
    slowdown_s = verdict.slowdown_s or 0.0
    if not _is_blocked(case, case.others, slowdown_s) if case.all_trusted else rise < OTHERS_AT_WORK:
        return None
    trie, weighings = suspect.tree_of(window.spans, baseline.spans)
    sides = WeightedComparison(weighings, (case.window.seconds, case.baseline.seconds))
    found = suspect.find(suspect.excess_of(trie, sides, verdict.samples, case.own_folder), rise, sides)
    if found is None:
        return None
    excess_s = (
        verdict.excess_s or slowdown_s
    )  # of the work that became slower: without the GIL it stands, or gets less of a core
    return replace(
        verdict,
        verdict="line",
        suspect=found,
        reason=WHILE_GIL,
        excess_s=excess_s,
        excess_share=share_of(excess_s, verdict.second, slowdown_s),
        unexplained_s=slowdown_s - excess_s,
        confidence=verdict.confidence or "low",
    )


def _taken(verdict: Verdict, case: Case) -> float:
    """Seconds per unit that all work takes longer while other programs take the cores; 0 where they do not.

    All of the slowdown where the work is that of the baseline, and lost most of it for want of a core.
    """
    host, slowdown_s = case.host, verdict.slowdown_s or 0.0
    if host is None or case.baseline is None or verdict.window_unit_s is None or verdict.baseline_unit_s is None:
        return 0.0
    if host.others[0] < TAKEN or not is_full(host) or not took_more(host):
        return 0.0
    lasted_s = case.window.length_s / case.window.divisor, case.baseline.length_s / case.baseline.divisor
    same_work = host.own[0] * lasted_s[0] <= SAME_WORK * host.own[1] * lasted_s[1]
    coreless_s = (
        _coreless(case.window, case) / case.window.divisor - _coreless(case.baseline, case) / case.baseline.divisor
    )
    if (
        has_risen(host)
        and same_work
        and _was_there(verdict.suspect, case)
        and (coreless_s >= CORELESS * slowdown_s if case.all_trusted else _may_have_wanted(verdict, case))
    ):
        return slowdown_s
    return min(max(verdict.common_s, _wanting(verdict, case)), slowdown_s)


def _least_taken(verdict: Verdict) -> float:
    """So much of the slowdown other programs must explain to be the verdict: half, or more than the lines of a function that is always there do."""
    found, slowdown_s = verdict.suspect, verdict.slowdown_s or 0.0
    if found is None or not found.last_line:
        return MAIN_SHARE * slowdown_s
    return min(MAIN_SHARE * slowdown_s, max(SECOND * slowdown_s, found.stands_out_s))


def _with_more_work(verdict: Verdict, case: Case) -> float:
    """Seconds per unit that the suspect takes with work that the baseline does not have, its waits for a core among them.

    Work is time on a core. As far as all other work takes more of it too, the suspect's is not more: threads that wait for each other spin.
    """
    found = verdict.suspect
    if found is None or case.baseline is None or not case.all_trusted or case.window.spans.serves:
        return 0.0
    here, there = (
        _on_core(side.spans, standing(side.spans, found.frame)) / side.divisor for side in (case.window, case.baseline)
    )
    whole = [_on_core(side.spans, case.at_work(side)) / side.divisor for side in (case.window, case.baseline)]
    others_here, others_there = whole[0] - here, whole[1] - there
    if others_there <= WAS_THERE * whole[1]:
        return 0.0  # it is all of the work
    as_before = SAME_WORK * max(1.0, others_here / others_there) * there
    return found.excess_s * max(0.0, 1 - as_before / max(here, 1e-9))


def _wanting(verdict: Verdict, case: Case) -> float:
    """Seconds per unit that a suspect which computes takes longer for want of a core, if that is most of what it takes longer; else 0."""
    found = verdict.suspect
    if found is None or case.baseline is None or not case.all_trusted or not _was_there(found, case):
        return 0.0
    on, shares = [], []
    for side in (case.window, case.baseline):
        there = standing(side.spans, found.frame)
        on_s = _on_core(side.spans, there)
        on.append(on_s / side.divisor)
        shares.append(on_s / max(float(side.spans.seconds[there].sum()), 1e-9))
    if case.asleep is not None and _asleep_s(found, case) > MAIN_SHARE * case.window.seconds_in(found.frame):
        return 0.0
    wanting_s = found.excess_s - (on[0] - on[1]) / max(shares[1], 1e-9)
    return wanting_s if min(shares) >= COMPUTES and wanting_s >= MAIN_SHARE * found.excess_s else 0.0


def _on_core(spans: TrustedSpans, those: Bools) -> float:
    """Seconds."""
    return float((np.clip(np.nan_to_num(spans.running[those]), 0, 1) * spans.seconds[those]).sum())


def _may_have_wanted(verdict: Verdict, case: Case) -> bool:
    """False where the run queue says that the main thread hardly waited longer for a core; what others did for it has no such account.

    For a sampler that does not say who had a core.
    """
    if case.queued_s is None or verdict.suspect is None or not _only_slower(verdict.suspect, case):
        return True
    return case.queued_s[0] - case.queued_s[1] >= MAIN_SHARE * (verdict.slowdown_s or 0.0)


def _asleep_s(found: Suspect, case: Case) -> float:
    assert case.asleep is not None
    spans = case.window.spans
    return float(spans.seconds[standing(spans, found.frame) & case.asleep[spans.stack]].sum())


def _beside(verdict: Verdict, taken_s: float) -> Suspect | None:
    """The function beside another cause, if it has a quarter of the slowdown, and not of what that cause explains."""
    found, slowdown_s = verdict.suspect, verdict.slowdown_s or 0.0
    if found is None or found.last_line or found.stands_out_s < SECOND * slowdown_s:
        return None
    return found if found.stands_out_s + taken_s <= TOGETHER * slowdown_s else None


def _coreless_share(case: Case) -> float:
    """Of the window, in which there was work and no core; 0 where cores were free."""
    if not is_full(case.host) or case.window.spans.serves:
        return 0.0
    return _coreless(case.window, case) / max(case.window.seconds, 1e-9)


def _coreless(side: Side, case: Case) -> float:
    """Seconds in which the main thread, or who works for it, had something to do and no core to do it on."""
    working = side.spans.take(case.at_work(side))
    return float(((1 - np.clip(np.nan_to_num(working.running, nan=1.0), 0, 1)) * working.seconds).sum())


def _only_slower(found: Suspect | None, case: Case) -> bool:
    """Whether what was found is work of the main thread that the baseline has, too; so it is where nothing was found."""
    return not (found and any(not frame.file for frame in found.path)) and _was_there(found, case)


def _was_there(found: Suspect | None, case: Case) -> bool:
    """Whether what was found is work that the baseline has, too; so it is where nothing was found."""
    if found is None or case.baseline is None:
        return found is None
    if wait_of(found.frame):
        return False
    here, there = (side.seconds_in(found.frame) / side.divisor for side in (case.window, case.baseline))
    return there >= WAS_THERE * here


def _is_blocked(case: Case, others: tuple[Side, Side], slowdown_s: float) -> bool:
    """Whether the main thread lost most of what it lost at work without a core, while other threads of its process held the GIL.

    Where cores are free nothing but the GIL keeps it from one; else both must have been at the same time.
    """
    assert case.baseline is not None
    sides = (case.window, case.baseline)
    if is_full(case.host):
        here, there = (_blocked(main, other) / main.divisor for main, other in zip(sides, others, strict=True))
        return here - there >= MAIN_SHARE * slowdown_s
    coreless_s, held_s = (
        [_coreless(side, case) / side.divisor for side in sides],
        [_held_s(other) / main.divisor for main, other in zip(sides, others, strict=True)],
    )
    return coreless_s[0] - coreless_s[1] >= MAIN_SHARE * slowdown_s and held_s[0] - held_s[1] >= SECOND * slowdown_s


def _held_s(others: Side) -> float:
    """Seconds in which these threads held the GIL."""
    return float(others.spans.seconds[others.spans.gil == 1].sum())


def _blocked(main: Side, others: Side) -> float:
    """Seconds in which the main thread was at work without the GIL while another thread of its process held it."""
    held = others.spans.take(others.spans.gil == 1)
    without = main.spans.take((main.spans.gil == 0) & (main.spans.running < MAIN_SHARE))
    return _shared_s(without, held)


def _shared_s(one: TrustedSpans, other: TrustedSpans) -> float:
    """For how long both were there; several others at once count once."""
    moments = np.r_[other.start_s, other.end_s]
    order = np.argsort(moments, kind="stable")
    there = np.cumsum(np.where(order < len(other.start_s), 1, -1))[:-1] > 0
    share = np.r_[0.0, np.cumsum(np.where(there, np.diff(moments[order]), 0.0))] if len(order) else np.zeros(0)
    if not len(order):
        return 0.0
    until = [np.interp(edge, moments[order], share) for edge in (one.start_s, one.end_s)]
    return float(((until[1] - until[0]) * one.weight).sum())


# Lines at which a thread sleeps in a call into C, such as a read of a pipe: it has no core there because it wants none.
#
# Such a call has no frame, and its line may be called anything. What tells it from work that found no core is the kernel's run queue,
# which counts a thread only while it is ready to run.

MOSTLY = 0.5  # of a line's time, asleep if each second on a core cost as much of the run queue at every line
AT_LEAST = 0.25  # ... and even if all of the run queue that is left by lines with the GIL was its own
ON_CPU = 0.05  # of a core: with less of one a line sleeps, where the run queue does not say
OWN_THREADS = (
    "/torch/"  # a part of the path of a library that waits for threads of its own, which may want a core themselves
)


def asleep_in(window: TrustedSpans, gil_s: Floats, waits: CoreWaits | None, line_of: LineOf) -> Bools:
    """Which of the stacks end at such a line, by what the main thread did in the window.

    `gil_s`: of each span, seconds in which another thread of the process held the GIL. `waits`: the main thread's, where they are known.
    """
    keys, stack = _lines(window), window.stack
    count = 1 + int(keys.max(initial=-1))
    if not count or not len(stack):
        return np.zeros(len(window.stacks), bool)
    known = np.isfinite(window.running) & ~is_waiting(window, line_of)
    on_share = np.clip(np.nan_to_num(window.running), 0, 1)
    all_s, on_s = np.where(known, window.seconds, 0.0), np.where(known, on_share * window.seconds, 0.0)
    off_s = all_s - on_s
    free_s = np.where(window.gil == 1, 0.0, np.maximum(0.0, off_s - np.minimum(gil_s, off_s)))

    def by_line(seconds: Floats) -> Floats:
        return np.bincount(keys[stack], seconds, count).astype(np.float64)

    line_s, line_on_s, line_free_s = by_line(all_s), by_line(on_s), by_line(free_s)
    hardly_on = (line_on_s <= ON_CPU * line_s) & (line_free_s >= MOSTLY * line_s)
    joined, threaded = _marked(window, keys, count)
    if waits is None:
        found = hardly_on
    else:
        mine = ~joined[keys[stack]]
        queued_s = float(waits.during(window.start_s[mine], window.end_s[mine]).sum())
        each = queued_s / max(float(on_s[mine].sum()), 1e-9)
        left_s = max(0.0, queued_s - float(off_s[mine & (window.gil == 1)].sum()))
        beyond = (line_free_s - each * line_on_s > MOSTLY * line_s) & (line_free_s - left_s > AT_LEAST * line_s)
        found = np.where(joined, hardly_on, beyond & (hardly_on | ~threaded))
    found &= line_s > 0
    return found[keys] if len(keys) else np.zeros(0, bool)


def _lines(spans: TrustedSpans) -> Ints:
    """Of each stack a number for its last line, another one where it is a worker's."""
    heads = {i for i, frame in enumerate(spans.frames) if is_head(frame)}
    last = [2 * (stack[-1] + 1) + (not heads.isdisjoint(stack)) if stack else 0 for stack in spans.stacks]
    return np.array(last, np.int64)


def _marked(spans: TrustedSpans, keys: Ints, count: int) -> tuple[Bools, Bools]:
    """Which lines are another process's or thread's, and which a library's with threads of its own."""
    joined = np.arange(count) % 2 == 1
    of_library = [OWN_THREADS in frame.file or wait_of(frame) is BACKWARD for frame in spans.frames]
    threaded = np.repeat([False, *of_library], 2)[:count]
    return joined, np.r_[threaded, np.zeros(count - len(threaded), bool)]


# Who made the other ranks wait: the one for whom they waited longest in their collectives.


def straggler(
    joined: TrustedSpans, window: Interval, baseline: Sequence[Interval], divisors: tuple[float, float], least_s: float
) -> int | None:
    """The rank for whom the others waited longest; None where none of them waited `least_s` longer per unit than in the baseline.

    `divisors` is how many units window and baseline have; 0 for no baseline.
    """
    ranks = sorted({rank for _, rank, _, role in joined.processes if role == "main"})
    if len(ranks) < 2:
        return None
    waited_s = _waited(joined.within([window]), ranks) / divisors[0]
    if divisors[1]:
        waited_s -= _waited(joined.within(baseline), ranks) / divisors[1]
    return ranks[int(waited_s.sum(axis=0).argmax())] if waited_s.sum(axis=1).max() >= least_s else None


def _waited(spans: TrustedSpans, ranks: list[int]) -> Floats:
    """`[who waits, for whom]`: seconds."""
    heads = {i: rank for i, frame in enumerate(spans.frames) if (rank := rank_of_head(frame)) is not None}
    for_whom = [next((ranks.index(heads[frame]) for frame in stack if frame in heads), -1) for stack in spans.stacks]
    who = np.array([ranks.index(rank) if rank in ranks else -1 for _, rank, _, _ in spans.processes], np.int64)[
        spans.process
    ]
    whom = np.array(for_whom, np.int64)[spans.stack] if for_whom else np.zeros(0, np.int64)
    known = (who >= 0) & (whom >= 0) & spans.main
    sums = np.bincount(who[known] * len(ranks) + whom[known], spans.seconds[known], len(ranks) ** 2)
    return sums.astype(np.float64).reshape(len(ranks), len(ranks))
