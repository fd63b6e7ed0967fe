"""The line that a window lost its time to: down the tree of excess, as long as one function carries most of it."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from ...records import Frame
from ..stacks.owning import are_own, has_name, library_name, owner_of
from ..stacks.traces import Floats, Traces
from ..stacks.trie import Trie, Weighed, build

CARRIES = 0.8  # of its caller's excess
LEAST = 0.5  # of the whole loss
REST = 0.1  # of a function's time in the baseline, without what is below it: with less it does nothing itself
SIGMAS = 3.0
ALIKE = 1.33  # times: so much faster two parts may grow in proportion
ALL = 0.9  # of a unit of the baseline: what is there all the time
DRAWN = 0.001  # smaller nodes are not looked at


class Excess(NamedTuple):
    """A tree in preorder whose nodes carry seconds per unit in the window minus the same in the baseline."""

    trie: Trie  # the window's seconds in its first row, the baseline's in its second
    end: list[int]  # where each node's descendants end
    depth: list[int]
    function: list[tuple[str, str]]  # name and file of each node
    own: list[bool]  # whether it is the user's own
    excess_s: list[float]  # per unit
    baseline_s: list[float]  # per unit, 0 for no baseline
    unit_s: float  # how long one takes in the window
    samples: int  # of the window

    @property
    def slowdown_s(self) -> float:
        return self.excess_s[0]

    def noise_s(self, excess_s: float) -> float:
        """One standard deviation of what so large an excess may be off, because samples are counted."""
        share = min(0.5, max(0.0, excess_s / self.unit_s))
        return float(np.sqrt(share * (1 - share) / self.samples)) * self.unit_s

    @property
    def shifted_s(self) -> float:
        """What is spent more anywhere, whether or not it is spent less elsewhere."""
        own = np.array(self.excess_s)
        np.subtract.at(own, self.trie.parent[1:], own[1:])
        return float(own[own > 0].sum())


class _Step(NamedTuple):
    """A function on the way down."""

    function: tuple[str, str]
    nodes: list[int]  # where it stands, none above another
    excess_s: float


class Suspect(NamedTuple):
    frame: Frame  # the function, at the line that cost most
    leaf: str  # the library's function below it that carries most of it, "" for none
    excess_s: float  # per unit
    path: list[Frame]  # the functions that lead to it, from the root, itself last
    below: list[Frame]  # the library's functions below it that carry most of it
    caller: str = ""  # where no frame of the user's own is on the stack: the library's function that called it
    alone: float = 1.0  # how much of its excess is in no other own function below it
    everywhere: bool = False  # all else grew in the same proportion: innocent, unless there is a reason


def weighed(traces: Traces) -> Weighed:
    """All stacks as far as they are trusted, with their seconds; a stack's place is its place in `traces.stacks`."""
    frames, stacks = with_owners(
        traces.frames, [stack[:depth] for stack, depth in zip(traces.stacks, traces.trusted.tolist(), strict=True)]
    )
    seconds = np.bincount(traces.stack, traces.seconds, len(stacks)).astype(np.float64)
    return Weighed(frames, stacks, traces.trusted, seconds)


def with_owners(frames: list[Frame], stacks: list[tuple[int, ...]]) -> tuple[list[Frame], list[tuple[int, ...]]]:
    """Comprehensions, generator expressions and lambdas below the function that they are a part of count as that function.

    Python 3.12 has no frames of comprehensions any more; Python 3.10 calls all of them by the same name, whichever their function.
    """
    owners = {i: owner for i, frame in enumerate(frames) if (owner := owner_of(frame.name))}
    if not owners:
        return frames, stacks
    named, places = list(frames), {frame: i for i, frame in enumerate(frames)}

    def place(frame: Frame) -> int:
        if frame not in places:
            places[frame] = len(named)
            named.append(frame)
        return places[frame]

    def renamed(stack: tuple[int, ...]) -> tuple[int, ...]:
        found: list[int] = []
        for i in stack:
            owner = (
                next((outer for outer in reversed(found) if _owns(named[outer], frames[i], owners[i])), None)
                if i in owners
                else None
            )
            if owner is not None and owner == found[-1]:
                found.pop()  # its own line says less than the part's
            found.append(i if owner is None else place(named[owner]._replace(line=frames[i].line)))
        return tuple(found)

    return named, [stack if owners.keys().isdisjoint(stack) else renamed(stack) for stack in stacks]


def _owns(above: Frame, part: Frame, owner: str) -> bool:
    unqualified = part.name in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
    return above.file == part.file and (above.name == owner or unqualified)


def excess_of(trie: Trie, divisors: tuple[float, float], samples: int, own_folder: str) -> Excess:
    """From a tree of window and baseline, and how many units (or seconds) each of them has; 0 for no baseline."""
    drawn = trie.pruned(DRAWN).preorder()
    window_s, baseline_s = drawn.total_s
    own = are_own(drawn.frames, own_folder)
    usual_s: Floats = baseline_s / divisors[1] if divisors[1] else np.zeros(len(baseline_s))
    excess_s: Floats = window_s / divisors[0] - usual_s
    return Excess(
        drawn,
        _ends(drawn),
        drawn.depth.tolist(),
        [drawn.frames[i][:2] if i >= 0 else ("", "") for i in drawn.frame.tolist()],
        [i >= 0 and own[i] for i in drawn.frame.tolist()],
        excess_s.tolist(),
        usual_s.tolist(),
        unit_s=float(window_s[0]) / divisors[0],
        samples=samples,
    )


def find(excess: Excess, lost_s: float, weighings: list[Weighed], divisors: tuple[float, float]) -> Suspect | None:
    """The deepest own function on the way down, or the nearest one above it; None where no function carries most of the loss."""
    steps = _walk(excess, lost_s)
    if not steps:
        return None
    last_own = max((i for i, step in enumerate(steps) if excess.own[step.nodes[0]]), default=-1)
    above = _above(excess, steps[-1])
    own = [_at_hottest_line(step, excess) for step in steps[: last_own + 1] if excess.own[step.nodes[0]]]
    own = own or [frame for frame, is_own in above if is_own]
    below = [_at_hottest_line(step, excess) for step in steps[last_own + 1 :]]
    below = [frame for frame in below if frame.file]
    named = [frame for frame in below if has_name(frame)] or below
    path = own or named[-1:] or [frame for frame, _ in above if has_name(frame)][-1:]
    if not path:
        return None
    frame = path[-1]._replace(line=_hottest_line(path[-1][:2], weighings, divisors))
    leaf = library_name(named[-1]) if own and named else ""
    caller = "" if own else _caller([outer for outer, _ in above], frame)
    carried_s = steps[last_own].excess_s if last_own >= 0 else steps[-1].excess_s
    return Suspect(frame, leaf, carried_s, [*path[:-1], frame], below, caller, _alone(excess, steps[max(last_own, 0)]))


def _alone(excess: Excess, step: _Step) -> float:
    """How much of what a function carries is in no other own function below it."""
    others_s = 0.0
    for node in step.nodes:
        below = node + 1
        while below < excess.end[node]:
            is_other = excess.own[below] and excess.function[below] != step.function
            others_s += max(0.0, excess.excess_s[below]) if is_other else 0.0
            below = excess.end[below] if is_other else below + 1
    return 1 - min(1.0, others_s / max(step.excess_s, 1e-9))


def _walk(excess: Excess, lost_s: float) -> list[_Step]:
    """From function to function, each time to the next one that carries most of what the last one does, wherever it stands below."""
    path: list[_Step] = []
    here = _Step(("", ""), [0], lost_s)
    while True:
        least_s = max(CARRIES * here.excess_s - excess.noise_s(here.excess_s), LEAST * lost_s)
        functions = _functions_below(excess, here.nodes)
        heavy = [step for step in functions if step.excess_s >= least_s > 0 and step.function != here.function]
        if not heavy:
            return path
        below = min(heavy, key=lambda step: (min(excess.depth[node] for node in step.nodes), -step.excess_s))
        if path and _does_more(excess, here, below):
            return path
        here = below
        path.append(here)


def _does_more(excess: Excess, function: _Step, below: _Step) -> bool:
    """Whether all that a function does grew in proportion, with and without the heaviest one below it: it is called more often, or with
    more to do, and what is below is not to blame. Not for what is there all the time: there something else slows everything."""
    baseline_s, below_s = (sum(excess.baseline_s[node] for node in step.nodes) for step in (function, below))
    rest_s, growth_s = baseline_s - below_s, function.excess_s - below.excess_s
    both_own = excess.own[function.nodes[0]] and excess.own[below.nodes[0]]
    if not both_own or below_s <= 0 or baseline_s >= ALL * excess.baseline_s[0]:
        return False
    if rest_s < REST * baseline_s or growth_s <= SIGMAS * excess.noise_s(growth_s):
        return False
    return 1 / ALIKE < (growth_s / rest_s) / (below.excess_s / below_s) < ALIKE


def _above(excess: Excess, step: _Step) -> list[tuple[Frame, bool]]:
    """What leads to where a step is heaviest, from the root, and whether it is own: it took no longer, only this below it did."""
    node = max(step.nodes, key=lambda i: excess.excess_s[i])
    found: list[tuple[Frame, bool]] = []
    while (node := int(excess.trie.parent[node])) > 0:
        found.append((excess.trie.frames[int(excess.trie.frame[node])], excess.own[node]))
    return found[::-1]


def _caller(above: list[Frame], called: Frame) -> str:
    """The nearest function that is named and of another file: `transformers Trainer.get_batch_samples`."""
    before = above[: next((i for i, frame in enumerate(above) if frame[:2] == called[:2]), len(above))]
    return next((library_name(frame) for frame in reversed(before) if has_name(frame) and frame.file != called.file), "")


def largest_below(excess: Excess, function: Frame, divisors: tuple[float, float]) -> tuple[Floats, Floats] | None:
    """What of a function's time lies in the heaviest one below it, and what does not: of the window and of the baseline, per unit."""
    open_until, nodes = 0, []
    for node, name in enumerate(excess.function):
        if name == function[:2] and node >= open_until:
            nodes.append(node)
            open_until = excess.end[node]
    below = _functions_below(excess, nodes)
    if not below:
        return None
    heaviest = max(below, key=lambda step: step.excess_s)
    inside, whole = (excess.trie.total_s[:, some].sum(axis=1) / np.maximum(divisors, 1e-9) for some in (heaviest.nodes, nodes))
    return inside, whole - inside


def _functions_below(excess: Excess, nodes: list[int]) -> list[_Step]:
    """Every function below the nodes, with what it carries; where it calls itself, the outermost counts."""
    carried: dict[tuple[str, str], float] = defaultdict(float)
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for node in nodes:
        open_until: dict[tuple[str, str], int] = {}
        for i in range(node + 1, excess.end[node]):
            function = excess.function[i]
            if open_until.get(function, 0) <= i:
                open_until[function] = excess.end[i]
                carried[function] += excess.excess_s[i]
                places[function].append(i)
    return [_Step(function, places[function], excess_s) for function, excess_s in carried.items()]


def _ends(trie: Trie) -> list[int]:
    """Where each node's descendants end, for nodes in preorder."""
    parent = trie.parent.tolist()
    end = list(range(1, len(parent) + 1))
    for i in range(len(parent) - 1, 0, -1):
        end[parent[i]] = max(end[parent[i]], end[i])
    return end


def _at_hottest_line(step: _Step, excess: Excess) -> Frame:
    hottest = max(step.nodes, key=lambda node: excess.excess_s[node])
    return excess.trie.frames[int(excess.trie.frame[hottest])]


def _hottest_line(function: tuple[str, str], weighings: list[Weighed], divisors: tuple[float, float]) -> int:
    """The line of a function with the largest excess."""
    lines = seconds_by_line(function, weighings, divisors)
    return max(lines, key=lambda line: lines[line][0] - lines[line][1])


def seconds_by_line(
    function: tuple[str, str], weighings: list[Weighed], divisors: tuple[float, float]
) -> dict[int, tuple[float, float]]:
    """Of each line of a function, with what it calls: of the window and of the baseline, per unit."""
    lines: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for which, (side, units) in enumerate(zip(weighings, divisors, strict=False)):
        there = {i: frame.line for i, frame in enumerate(side.frames) if frame[:2] == function}
        for stack, seconds in zip(side.stacks, side.seconds.tolist(), strict=True):
            line = next((there[frame] for frame in stack if frame in there), None) if seconds else None
            if line is not None:
                lines[line][which] += seconds / units
    return {line: (window, baseline) for line, (window, baseline) in lines.items()}


def tree_of(window: Traces, baseline: Traces | None) -> tuple[Trie, list[Weighed]]:
    """One tree for both, with the baseline's seconds all 0 where there is none."""
    one = weighed(window)
    other = weighed(baseline) if baseline is not None else one._replace(seconds=np.zeros_like(one.seconds))
    return build([one, other]), [one, other]
