"""Whether a verdict stands in the graph and in the table beside it: what a user could hold against the sentence."""

from __future__ import annotations

from collections.abc import Sequence

from ...records import Frame
from ..baseline.steady import ENOUGH_S
from ..stacks.folding import PRUNE
from ..stacks.owning import owner_of
from ..stacks.traces import Range, Traces
from ..stacks.trie import Trie, build, weigh
from .compared import main_threads
from .evidence import WAITS
from .verdict import Evidence, Verdict
from .wording import place, signed

LARGEST = 0.5  # of the sentence's excess, that the graph's must have at least
NEAREST = 2  # of the window's own lengths: to draw what the baseline looks like, fewer do than to judge by
FOR_OTHERS = "waits for the "
OF_GIL = "waits for the GIL"


def contradiction(verdict: Verdict, tree: Trie, rows: Sequence[Evidence], units: tuple[float, float]) -> str:
    """One sentence, "" where all agree. `tree` is what the page draws, `units` those of its window and baseline."""
    if verdict.suspect is None or not verdict.baseline:
        return ""
    if (
        verdict.reason.endswith(OF_GIL) or verdict.suspect.last_line
    ):  # another thread's function, or lines, which no graph shows
        return _in_waits(verdict, rows)
    return _in_tree(verdict, verdict.suspect.frame, tree, units) or _in_waits(verdict, rows)


def drawn(joined: Traces, sides: Sequence[Sequence[Range]], rank: int) -> Trie:
    """The tree of a page: the rank's main thread, joined, in each side's ranges; with frames that are not trusted."""
    mine = main_threads(joined, rank)
    return build([weigh(mine.within(side)) for side in sides]).pruned(PRUNE)


def nearest(baseline: Sequence[Range], window: Range) -> list[Range]:
    """As much of a verdict's baseline as a page draws beside the window."""
    left_s = max(ENOUGH_S, NEAREST * (window[1] - window[0]))
    found: list[Range] = []
    for lo, hi in sorted(baseline, key=lambda part: max(window[0] - part[1], part[0] - window[1])):
        if left_s <= 0:
            break
        taken_s = min(hi - lo, left_s)
        found.append((hi - taken_s, hi) if lo < window[0] else (lo, lo + taken_s))
        left_s -= taken_s
    return sorted(found)


def _in_tree(verdict: Verdict, function: Frame, tree: Trie, units: tuple[float, float]) -> str:
    if not function.file:
        return ""
    mine = {i for i, frame in enumerate(tree.frames) if _is(frame, function)}
    nodes = {i for i, frame in enumerate(tree.frame.tolist()) if frame in mine}
    if not nodes:
        return f"The flame graph does not show {place(function)}."
    parent = tree.parent.tolist()
    outermost = [i for i in nodes if not _below(i, nodes, parent)]
    here_s, there_s = (float(column[outermost].sum()) for column in tree.total_s)
    excess_s = here_s / max(units[0], 1e-9) - there_s / max(units[1], 1e-9)
    if excess_s >= LARGEST * (verdict.excess_s or 0.0):
        return ""
    return f"The flame graph disagrees: {signed(excess_s)} per {verdict.unit_name} for {place(function)}."


def _is(frame: Frame, function: Frame) -> bool:
    return frame.file == function.file and function.name in (frame.name, owner_of(frame.name))


def _below(node: int, nodes: set[int], parent: Sequence[int]) -> bool:
    while (node := parent[node]) >= 0:
        if node in nodes:
            return True
    return False


def _in_waits(verdict: Verdict, rows: Sequence[Evidence]) -> str:
    """A wait is blamed, and the main thread waits less than it did."""
    waits = next((row for row in rows if row.name == WAITS), None)
    if not verdict.reason.startswith(FOR_OTHERS) or waits is None or waits.window is None or waits.baseline is None:
        return ""
    return "But the main thread waits no longer than in the baseline." if waits.window <= waits.baseline else ""
