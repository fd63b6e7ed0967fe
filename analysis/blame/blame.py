"""Answers which line a window lost its time to: reads what is needed, judges it, and compares ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from collectors.message import Message, phrase
from collectors.records import Frame

from .. import step_log
from ..baseline import ENOUGH_S
from ..history import History
from ..ledger.cores import CoreWaits, core_waits, without_gil
from ..stacks.fold import PRUNE
from ..stacks.frames import owner_of
from ..stacks.spans import Interval, TrustedSpans, union
from ..stacks.threads import main_threads, work_of
from ..stacks.tree import Trie, build, weigh
from ..stacks.trust import LineOf, no_source, trusted_spans
from ..step_log import StepLog, with_lines
from . import comparison, reasons
from .comparison import WAITS, WindowComparison, neighbour_in, other_threads
from .judgement import judge, with_pace
from .reasons import MAIN_SHARE, straggler, with_reason
from .verdict import WHILE_GIL, Case, ComparedNumber, Side, Verdict, place, with_sentence

TOUCHING_S = 0.05  # spans this close leave no hole in what was recorded


def blame_window(
    history: History,
    window: Interval,
    rank: int | None = None,
    baseline: Interval | None = None,
    line_of: LineOf = no_source,
) -> Verdict:
    """`rank` is whose main thread is looked at first, by default the lowest; one that it waits for takes its place."""
    about, folder = _with_units(_compared(history, window, rank or 0, baseline), baseline), history.folder()
    log = about.log
    stacks = trusted_spans(about.columns, line_of)
    joined = work_of(stacks, line_of)
    first = (
        rank if rank is not None else min((its for _, its, _, role in joined.processes if role == "main"), default=0)
    )
    host = comparison.look_at_host(history, about.window, about.baseline) if about.baseline else None
    case = with_pace(
        _case((stacks, joined), about, first, folder, line_of, _core_waits(history, about, first))._replace(host=host)
    )
    verdict = judge(case)
    late = None if stacks.serves else _awaited(verdict, case, joined, about)
    if late is not None:
        case = with_pace(
            _case((stacks, joined), about, late, folder, line_of, _core_waits(history, about, late))._replace(host=host)
        )
        verdict = replace(judge(case), rank=late)
    looked_at = first if late is None else late
    case = case._replace(
        others=None if stacks.serves else _others(stacks, about, looked_at, line_of),
        gc_s=_collections(case, log),
        gpu=comparison.look_at_gpus(history, about.window, about.baseline, log),
    )
    if about.baseline:
        neighbour, beside = neighbour_in(history, about.window, about.baseline)
        case = case._replace(neighbour=neighbour, beside=beside)
    verdict = with_reason(verdict, case)
    if late is not None and verdict.verdict in ("line", "unknown"):
        verdict = replace(verdict, verdict="collective_wait")
    rows = [*comparison.rows(case, log), *([] if stacks.serves else [_waits(stacks, case, looked_at)])]
    verdict = replace(
        _sized(verdict, case, log),
        evidence=rows,
        profile_until=history.profiled_until(),
        judged=about.window if case.in_part else None,
    )
    drawn = [window], about.baseline if baseline or case.in_part else nearest(about.baseline, window)
    return with_sentence(_checked(verdict, joined, log, drawn, looked_at), case.gpu, case.host, case.neighbour)


def _compared(history: History, window: Interval, rank: int, baseline: Interval | None) -> WindowComparison:
    """By steps; without any by the lines of the log, unless these come too unsteadily to have a usual pace."""
    log = step_log.read(history, window, rank)
    lined = with_lines(log, history, window, rank)
    about = comparison.read(history, window, lined, baseline)
    return about if about.baseline or lined is log else comparison.read(history, window, log, baseline)


def _with_units(about: WindowComparison, baseline: Interval | None) -> WindowComparison:
    """Of a window in which no unit is, as before the first step, the units count for nothing, and only what the user chose is its baseline."""
    if about.log.units is None or about.log.units.within([about.window]):
        return about
    return about._replace(log=about.log._replace(units=None), baseline=about.baseline if baseline is not None else [])


def _awaited(verdict: Verdict, case: Case, joined: TrustedSpans, about: WindowComparison) -> int | None:
    """The rank for whom the others waited most of what was lost."""
    if verdict.verdict not in ("line", "unknown"):
        return None
    divisors = (case.window.divisor, case.baseline.divisor if case.baseline else 0.0)
    return straggler(joined, about.window, about.baseline, divisors, MAIN_SHARE * (verdict.slowdown_s or 0.0))


def _core_waits(history: History, about: WindowComparison, rank: int) -> CoreWaits | None:
    ranges = [about.window, *about.baseline]
    return core_waits(history, (min(lo for lo, _ in ranges), max(hi for _, hi in ranges)), rank)


def _case(
    spans: tuple[TrustedSpans, TrustedSpans],
    about: WindowComparison,
    rank: int,
    folder: str,
    line_of: LineOf,
    waits: CoreWaits | None,
) -> Case:
    """`spans` as they stand and joined; `waits` of the rank's main thread."""
    stacks, mine = spans[0], main_threads(spans[1], rank)
    recorded = about.columns.covered if mine.serves else None
    waits = None if mine.serves else waits
    window = _side(mine, [about.window], about.log, recorded)
    baseline = _side(mine, about.baseline, about.log, recorded) if about.baseline else None
    gil_s = without_gil(window.spans, stacks)
    return Case(
        window=window,
        asked=_side(mine, [about.asked], about.log, recorded),
        baseline=baseline,
        units=about.log.units,
        unit_name=about.log.unit_name,
        hz=about.columns.hz,
        all_trusted=bool((mine.gil >= 0).all()),
        own_folder=folder,
        line_of=line_of,
        period_s=about.period_s,
        answer_s=_answer_s(about) if mine.serves else None,
        asleep=reasons.asleep_in(window.spans, gil_s, waits, line_of),
        queued_s=(_queued_s(window, waits), _queued_s(baseline, waits))
        if waits is not None and baseline is not None
        else None,
    )


def _queued_s(side: Side, waits: CoreWaits) -> float:
    ranges = np.asarray(side.ranges, np.float64)
    return float(waits.during(ranges[:, 0], ranges[:, 1]).sum()) / side.divisor


def _side(
    spans: TrustedSpans, ranges: Sequence[Interval], log: StepLog, recorded: Sequence[Interval] | None = None
) -> Side:
    """Units count only where the thread was recorded; `recorded` is when that was, where spans lack what is no work."""
    inside = spans.within(ranges)
    if recorded is None:
        seen = union(list(zip(inside.start_s.tolist(), inside.end_s.tolist(), strict=True)), TOUCHING_S)
        return Side(inside, list(ranges), log.units.within(seen) if log.units else None)
    seen = [
        (max(lo, start), min(hi, end)) for lo, hi in ranges for start, end in union(recorded) if start < hi and end > lo
    ]
    return Side(inside, list(ranges), log.units.within(seen) if log.units else None, sum(hi - lo for lo, hi in seen))


def _answer_s(about: WindowComparison) -> tuple[float, float] | None:
    """Of window and baseline; None where one of the two has no line of the log."""
    here, there = (
        about.log.phases.unit_s([about.window]),
        about.log.phases.unit_s(about.baseline) if about.baseline else None,
    )
    return (here, there) if here is not None and there else None


def _waits(stacks: TrustedSpans, case: Case, rank: int) -> ComparedNumber:
    mine = main_threads(stacks, rank)
    baseline = mine.within(case.baseline.ranges) if case.baseline else None
    return comparison.waits_of((mine.within(case.window.ranges), baseline), case, case.line_of)


def _checked(
    verdict: Verdict, joined: TrustedSpans, log: StepLog, sides: tuple[list[Interval], list[Interval]], rank: int
) -> Verdict:
    """With what the graph or the table beside it say otherwise; it is then a guess."""
    if verdict.suspect is None or not sides[1]:
        return verdict
    tree = drawn(joined, sides, rank)
    units = [
        log.units.within(side) if log.units else float(seconds)
        for side, seconds in zip(sides, tree.total_s[:, 0], strict=True)
    ]
    said = contradiction(verdict, tree, verdict.evidence, (units[0] * verdict.pace, units[1]))
    return replace(verdict, contradiction=said, confidence="low") if said else verdict


def _sized(verdict: Verdict, case: Case, log: StepLog) -> Verdict:
    if log.sized is None or case.baseline is None:
        return verdict
    longer = log.sized.longer(case.window.ranges, case.baseline.ranges)
    return replace(verdict, size=f"{log.sized.usual:,.0f} {log.sized.name}", longer=longer)


def _others(stacks: TrustedSpans, about: WindowComparison, rank: int, line_of: LineOf) -> tuple[Side, Side] | None:
    if not about.baseline:
        return None
    others = other_threads(stacks, rank, line_of)
    return _side(others, [about.window], about.log), _side(others, about.baseline, about.log)


def _collections(case: Case, log: StepLog) -> tuple[float, float] | None:
    """Seconds of garbage collection a unit."""
    if log.collections is None or case.baseline is None:
        return None
    here, there = (
        sum(max(0.0, min(hi, end) - max(lo, start)) for lo, hi in side.ranges for start, end in log.collections)
        / side.divisor
        for side in (case.window, case.baseline)
    )
    return here, there


# Whether a verdict stands in the graph and in the table beside it: what a user could hold against the sentence.

LARGEST = 0.5  # of the sentence's excess, that the graph's must have at least
NEAREST = 2  # of the window's own lengths: to draw what the baseline looks like, fewer do than to judge by


def contradiction(
    verdict: Verdict, tree: Trie, rows: Sequence[ComparedNumber], units: tuple[float, float]
) -> Message | None:
    """None where all agree. `tree` is what the page draws, `units` those of its window and baseline."""
    if verdict.suspect is None or not verdict.baseline:
        return None
    if (
        verdict.reason == WHILE_GIL or verdict.suspect.last_line
    ):  # another thread's function, or lines, which no graph shows
        return _in_waits(verdict, rows)
    return _in_tree(verdict, verdict.suspect.frame, tree, units) or _in_waits(verdict, rows)


def drawn(joined: TrustedSpans, sides: Sequence[Sequence[Interval]], rank: int) -> Trie:
    """The tree of a page: the rank's main thread, joined, in each side's ranges; with frames that are not trusted."""
    mine = main_threads(joined, rank)
    return build([weigh(mine.within(side)) for side in sides]).pruned(PRUNE)


def nearest(baseline: Sequence[Interval], window: Interval) -> list[Interval]:
    """As much of a verdict's baseline as a page draws beside the window."""
    left_s = max(ENOUGH_S, NEAREST * (window[1] - window[0]))
    found: list[Interval] = []
    for lo, hi in sorted(baseline, key=lambda part: max(window[0] - part[1], part[0] - window[1])):
        if left_s <= 0:
            break
        taken_s = min(hi - lo, left_s)
        found.append((hi - taken_s, hi) if lo < window[0] else (lo, lo + taken_s))
        left_s -= taken_s
    return sorted(found)


def _in_tree(verdict: Verdict, function: Frame, tree: Trie, units: tuple[float, float]) -> Message | None:
    if not function.file:
        return None
    mine = {i for i, frame in enumerate(tree.frames) if _is(frame, function)}
    nodes = {i for i, frame in enumerate(tree.frame.tolist()) if frame in mine}
    if not nodes:
        return phrase("The flame graph does not show {place}.", place=place(function))
    parent = tree.parent.tolist()
    outermost = [i for i in nodes if not _below(i, nodes, parent)]
    here_s, there_s = (float(column[outermost].sum()) for column in tree.total_s)
    excess_s = here_s / max(units[0], 1e-9) - there_s / max(units[1], 1e-9)
    if excess_s >= LARGEST * (verdict.excess_s or 0.0):
        return None
    return phrase(
        "The flame graph disagrees: {excess_s:signed} per {unit} for {place}.",
        excess_s=excess_s,
        unit=verdict.unit_name,
        place=place(function),
    )


def _is(frame: Frame, function: Frame) -> bool:
    return frame.file == function.file and function.name in (frame.name, owner_of(frame.name))


def _below(node: int, nodes: set[int], parent: Sequence[int]) -> bool:
    while (node := parent[node]) >= 0:
        if node in nodes:
            return True
    return False


def _in_waits(verdict: Verdict, rows: Sequence[ComparedNumber]) -> Message | None:
    """A wait is blamed, and the main thread waits less than it did."""
    waits = next((row for row in rows if row.name == WAITS), None)
    is_wait = verdict.reason is not None and "what" in verdict.reason.values
    if not is_wait or waits is None or waits.window is None or waits.baseline is None or waits.window > waits.baseline:
        return None
    return phrase("But the main thread waits no longer than in the baseline.")
