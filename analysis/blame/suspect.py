"""The line that a window lost its time to: down the tree of excess, as long as one function carries most of it.

A function that is always there, such as `main`, carries all of any loss, which says nothing: it is named only by lines of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame

from ..stacks.frames import are_own, has_name, library_name, owner_of
from ..stacks.spans import TrustedSpans
from ..stacks.threads import Function
from ..stacks.tree import Trie, WeightedStacks, build
from ..stacks.waits import OF_IMPORTS

CARRIES = 0.8  # of its caller's excess
MIN_SHARE = 0.5  # of the whole loss
NEARLY = 0.7  # of the largest: the first on the way down of those that carry about as much
SECOND = 0.25  # of the whole loss: a cause with so much is named where none has half of it, or beside the first
BELOW = 0.5  # of what the lines of a function that is always there lost: a function with so much is named before them
REST = 0.1  # of a function's time in the baseline, without what is below it: with less it does nothing itself
SIGMAS = 3.0
ALIKE = 1.33  # times: so much faster two parts may grow in proportion
ALL = 0.9  # of a unit of the baseline: what is there all the time
DRAWN = 0.001  # smaller nodes are not looked at
BLOCK_GAP = 2  # lines of a function that are no further apart are one block
USUAL = 0.02  # of a unit of the baseline: so much a function must take there to be known by it
NEW = 0.1  # of a call's time in the window, that it has at most in the baseline,
ELSEWHERE = 0.5  # ... where what it calls is called elsewhere for so much of its time at least
OF_BLOCK = 0.1  # of what a function's own lines lost, that each line of a block has at least


class WeightedComparison(NamedTuple):
    """Stacks of window and baseline, each as it was and as it would be with the same share of cores, and those of the baseline's work."""

    weighings: list[WeightedStacks]
    divisors: tuple[float, float]  # units, or seconds; 0 for no baseline
    common: float = 1.0  # how many times as long as in the baseline all work takes, whatever it is

    def expected(self, baseline_s: Floats, work_s: Floats) -> Floats:
        """Seconds per unit that a window would have without a cause of its own."""
        found: Floats = (
            (baseline_s + (self.common - 1) * work_s) / self.divisors[1] if self.divisors[1] else 0.0 * baseline_s
        )
        return found


class Excess(NamedTuple):
    """A tree in preorder whose nodes carry seconds per unit in the window minus those that are expected by the baseline."""

    trie: Trie  # a row for each of the sides' weighings
    end: list[int]  # where each node's descendants end
    depth: list[int]
    function: list[Function]  # of each node
    own: list[bool]  # whether it is the user's own
    excess_s: list[float]  # per unit, beyond what all work takes longer in common
    more_s: list[float]  # per unit, beyond the baseline
    baseline_s: list[float]  # per unit, 0 for no baseline
    unit_s: float  # how long one takes in the window
    samples: int  # of the window

    @property
    def slowdown_s(self) -> float:
        return self.more_s[0]

    @property
    def common_s(self) -> float:
        """What all work takes longer in common, per unit."""
        return self.more_s[0] - self.excess_s[0]

    @property
    def always(self) -> set[Function]:
        """The functions that are on the stack all the time in the baseline; in the window where there is none."""
        present_s = self.baseline_s if self.baseline_s[0] else self.excess_s
        return {
            function
            for function, s in zip(self.function[1:], present_s[1:], strict=True)
            if s >= ALL * present_s[0] > 0
        }

    def is_usual(self, function: Function) -> bool:
        """Whether the baseline is in a function for long enough to show how fast it is, wherever that is called."""
        usual_s = sum(self.baseline_s[node] for node in _outermost(self, function))
        return usual_s >= USUAL * self.baseline_s[0] > 0

    def most_of(self, excess_s: float) -> float:
        """What carries so much carries such an excess."""
        return CARRIES * excess_s - self.noise_s(excess_s)

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

    function: Function
    nodes: list[int]  # where it stands, none above another
    excess_s: float


class Suspect(NamedTuple):
    frame: Frame  # the function, at the line that cost most
    leaf: str  # the library's function below it that carries most of it, "" for none
    excess_s: float  # per unit, more than in the baseline
    path: list[Frame]  # the functions that lead to it, from the root, itself last
    below: list[Frame]  # the library's functions below it that carry most of it
    caller: str = ""  # where no frame of the user's own is on the stack: the library's function that called it
    alone: float = 1.0  # how much of its excess is in no other own function below it
    stands_out_s: float = 0.0  # per unit, of its excess: what is more than all work takes longer in common
    whole_s: float = 0.0  # per unit, in the window
    line_s: float | None = None  # per unit, of its excess: what the line has, with what it calls
    last_line: int = 0  # of a block of lines, where a function that is always there is named by one; else 0
    called_at: Frame | None = (
        None  # a line that the baseline does not have, and by which usual work takes longer; else None
    )

    def gain_s(self, pace: float) -> float:
        """What may be chance: without units, at a pace below 1, the time that it has more of every second."""
        return self.stands_out_s if pace == 1.0 else self.whole_s * pace - (self.whole_s - self.excess_s)


def weighed(spans: TrustedSpans) -> WeightedStacks:
    """All stacks as far as they are trusted, with their seconds; a stack's place is its place in `spans.stacks`."""
    frames, stacks = with_owners(
        spans.frames, [stack[:depth] for stack, depth in zip(spans.stacks, spans.trusted.tolist(), strict=True)]
    )
    seconds = np.bincount(spans.stack, spans.seconds, len(stacks)).astype(np.float64)
    return WeightedStacks(frames, stacks, spans.trusted, seconds)


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


def excess_of(trie: Trie, sides: WeightedComparison, samples: int, own_folder: str) -> Excess:
    drawn = trie.pruned(DRAWN).preorder()
    window_s, baseline_s, even_window_s, even_baseline_s, work_s = drawn.total_s
    own = are_own(drawn.frames, own_folder)
    usual_s: Floats = baseline_s / sides.divisors[1] if sides.divisors[1] else np.zeros(len(baseline_s))
    here_s: Floats = window_s / sides.divisors[0]
    return Excess(
        drawn,
        _ends(drawn),
        drawn.depth.tolist(),
        [drawn.frames[i][:2] if i >= 0 else ("", "") for i in drawn.frame.tolist()],
        [i >= 0 and own[i] for i in drawn.frame.tolist()],
        (even_window_s / sides.divisors[0] - sides.expected(even_baseline_s, work_s)).tolist(),
        (here_s - usual_s).tolist(),
        usual_s.tolist(),
        unit_s=float(here_s[0]),
        samples=samples,
    )


def find(excess: Excess, lost_s: float, sides: WeightedComparison) -> Suspect | None:
    """The deepest own function on the way down, or the nearest one above it; None where nothing carries a quarter of the loss.

    Where the way down ends at a function that is always there, it is the largest of those below it, or a block of its own lines.
    """
    always = excess.always
    steps = _walk(excess, lost_s, always)
    if (last_own := _last_own(excess, steps)) >= 0 and steps[last_own].function not in always:
        return _named(excess, steps, last_own, sides)
    block = _block(excess, always, sides)
    part = _largest_part(excess, always)
    if part is not None and part.excess_s >= max(SECOND * lost_s, BELOW * block.stands_out_s if block else 0.0) > 0:
        steps = _walk(excess, lost_s, always, [part])
        return _named(excess, steps, _last_own(excess, steps), sides)
    if block is not None and block.stands_out_s >= SECOND * lost_s > 0:
        return block
    return _named(excess, steps, -1, sides) if steps and last_own < 0 else None


def _leaf(below: Sequence[Frame]) -> str:
    """The library's function that an own one is in; what runs while a module is imported says less than that import."""
    called = list(takewhile(lambda frame: not OF_IMPORTS.search(frame.file), below))
    named = [frame for frame in called if has_name(frame)] or called
    return library_name(named[-1]) if named else ""


def _last_own(excess: Excess, steps: Sequence[_Step]) -> int:
    """Place of the last own function on a way down; -1 for none."""
    return max((i for i, step in enumerate(steps) if excess.own[step.nodes[0]]), default=-1)


def _named(excess: Excess, steps: list[_Step], last_own: int, sides: WeightedComparison) -> Suspect | None:
    """The suspect at the last own one of the steps, -1 for none; or the new call by which it takes longer."""
    found = steps[last_own] if last_own >= 0 and steps[last_own].function not in excess.always else None
    call = _new_call(excess, found) if found is not None else None
    called_at = _new_line(excess, found, sides) if found is not None and call is None else None
    if call is not None:
        steps, last_own = [call, *steps[last_own + 1 :]], 0
    above = _above(excess, steps[-1])
    own = [_at_hottest_line(step, excess) for step in steps[: last_own + 1] if excess.own[step.nodes[0]]]
    own = [frame for frame, is_own in (_above(excess, steps[0]) if own else above) if is_own] + own
    below = [_at_hottest_line(step, excess) for step in steps[last_own + 1 :]]
    below = [frame for frame in below if frame.file]
    named = [frame for frame in below if has_name(frame)] or below
    path = own or named[-1:] or [frame for frame, _ in above if has_name(frame)][-1:]
    if not path:
        return None
    line, line_s = _hottest_line(path[-1][:2], sides)
    step = steps[last_own] if last_own >= 0 else steps[-1]
    frame = path[-1]._replace(line=line)
    is_usual_work = call is not None or called_at is not None
    return Suspect(
        frame=frame,
        leaf=_leaf(below) if own and not is_usual_work else "",
        excess_s=sum(excess.more_s[node] for node in step.nodes),
        path=[*_at_calls(path[:-1], frame, sides), frame],
        below=below,
        caller="" if own else _caller([outer for outer, _ in above], path[-1]),
        alone=_alone(excess, steps[max(last_own, 0)], leave_usual=call is not None),
        stands_out_s=step.excess_s,
        whole_s=float(excess.trie.total_s[0, step.nodes].sum()) / sides.divisors[0],
        line_s=line_s,
        called_at=called_at,
    )


def _new_call(excess: Excess, step: _Step) -> _Step | None:
    """The function that the baseline hardly has, below which a usual one takes longer: a validation, not the model that it calls.

    None where the function itself is new, or takes longer elsewhere, too.
    """
    if not excess.is_usual(step.function):
        return None
    everywhere = _outermost(excess, step.function)
    carried_s = sum(excess.excess_s[i] for i in everywhere)
    for outer in _up(excess, max(step.nodes, key=lambda node: excess.excess_s[node])):
        if not excess.own[outer]:
            continue
        nodes = _outermost(excess, excess.function[outer])
        inside = [i for i in everywhere if any(start < i < excess.end[start] for start in nodes)]
        call, its, whole = (_Call.of(excess, each) for each in (nodes, inside, everywhere))
        inside_s = sum(excess.excess_s[i] for i in inside)
        if call.is_new(its, whole) and inside_s >= excess.most_of(max(step.excess_s, carried_s)) > 0:
            return _Step(excess.function[outer], nodes, sum(excess.excess_s[i] for i in nodes))
    return None


def _new_line(excess: Excess, step: _Step, sides: WeightedComparison) -> Frame | None:
    """The same of the lines of functions that are always there, such as `main`: the deepest one that calls it."""
    if not excess.is_usual(step.function):
        return None
    always, own = excess.always, dict(zip(excess.function, excess.own, strict=True))
    lines: dict[Frame, list[list[float]]] = defaultdict(lambda: [[0.0, 0.0], [0.0, 0.0]])  # all, and with the function
    depths: dict[Frame, int] = {}
    for which, (side, units) in enumerate(zip(sides.weighings[:2], sides.divisors, strict=True)):
        is_line = [frame[:2] in always and own.get(frame[:2], False) for frame in side.frames]
        there = {i for i, frame in enumerate(side.frames) if frame[:2] == step.function}
        for stack, its_s in zip(side.stacks, side.seconds.tolist(), strict=True):
            is_inside = not there.isdisjoint(stack)
            for depth, i in enumerate(stack if its_s else ()):
                if is_line[i]:
                    depths.setdefault(side.frames[i], depth)
                    lines[side.frames[i]][0][which] += its_s / units
                    lines[side.frames[i]][1][which] += its_s / units * is_inside
    whole = _Call.of(excess, _outermost(excess, step.function))
    least_s = excess.most_of(max(sum(excess.more_s[node] for node in step.nodes), whole.here_s - whole.usual_s))
    calls = {line: (_Call(*of_line), _Call(*inside)) for line, (of_line, inside) in lines.items()}
    new = [
        line
        for line, (call, its) in calls.items()
        if call.is_new(its, whole) and its.here_s - its.usual_s >= least_s > 0
    ]
    return max(new, key=lambda line: depths[line], default=None)


class _Call(NamedTuple):
    """Seconds per unit in which a function or a line is on the stack."""

    here_s: float
    usual_s: float  # in the baseline

    @classmethod
    def of(cls, excess: Excess, nodes: Sequence[int]) -> _Call:
        usual_s = sum(excess.baseline_s[i] for i in nodes)
        return cls(usual_s + sum(excess.more_s[i] for i in nodes), usual_s)

    def is_new(self, its: _Call, whole: _Call) -> bool:
        """Whether the baseline hardly has this call of a function, `its`, which it has elsewhere: `whole`."""
        return self.usual_s <= NEW * self.here_s and its.usual_s <= (1 - ELSEWHERE) * whole.usual_s


def _largest_part(excess: Excess, always: Collection[Function]) -> _Step | None:
    """The own function with the largest excess, of those that are not always there."""
    own = [step for step in _functions_below(excess, [0]) if excess.own[step.nodes[0]] and step.function not in always]
    return max(own, key=lambda step: step.excess_s, default=None)


def _block(excess: Excess, always: Collection[Function], sides: WeightedComparison) -> Suspect | None:
    """The costliest lines of a function that is always there: those close to each other, with the library code that they call."""
    own = {function for function, is_own in zip(excess.function, excess.own, strict=True) if is_own}
    found: list[Suspect] = []
    for function in own.intersection(always):
        lines = _own_lines(function, own, sides)
        lost_s = {line: its.stands_out_s for line, its in lines.items()}
        least_s = OF_BLOCK * sum(s for s in lost_s.values() if s > 0)
        grown = sorted(line for line, s in lost_s.items() if s >= least_s > 0)
        blocks = np.split(np.array(grown), np.flatnonzero(np.diff(grown) > BLOCK_GAP) + 1) if grown else []
        for block in (each.tolist() for each in blocks):
            line = max(block, key=lambda line: lost_s[line])
            frame = Frame(*function, line)
            below = _library_below(frame, own, sides.weighings[0])
            found.append(
                Suspect(
                    frame=frame,
                    leaf=_leaf(below),
                    excess_s=sum(lines[each].more_s for each in block),
                    path=[*_at_calls(_leading_to(excess, function), frame, sides), frame],
                    below=below,
                    stands_out_s=sum(lost_s[each] for each in block),
                    whole_s=sum(lines[each].whole_s for each in block),
                    line_s=lines[line].more_s,
                    last_line=block[-1],
                )
            )
    return max(found, key=lambda suspect: suspect.stands_out_s, default=None)


class _Line(NamedTuple):
    """Seconds per unit of one line."""

    whole_s: float  # in the window
    more_s: float  # of that: than in the baseline
    stands_out_s: float  # of that: more than all work takes longer in common


def _own_lines(function: Function, own: Collection[Function], sides: WeightedComparison) -> dict[int, _Line]:
    """Of each line of a function, without the other own functions that it calls."""
    lines: dict[int, list[float]] = defaultdict(lambda: [0.0] * len(sides.weighings))
    for which, side in enumerate(sides.weighings):
        there = {i: frame.line for i, frame in enumerate(side.frames) if frame[:2] == function}
        is_own = [frame[:2] in own for frame in side.frames]
        for stack, seconds in zip(side.stacks, side.seconds.tolist(), strict=True):
            last = next((frame for frame in reversed(stack) if is_own[frame]), None) if seconds else None
            if last in there:
                lines[there[last]][which] += seconds
    here, there_s = max(sides.divisors[0], 1e-9), max(sides.divisors[1], 1e-9)
    return {
        line: _Line(
            window / here,
            window / here - baseline / there_s,
            even / here - (even_baseline + (sides.common - 1) * work) / there_s,
        )
        for line, (window, baseline, even, even_baseline, work) in lines.items()
    }


def _library_below(frame: Frame, own: Collection[Function], window: WeightedStacks) -> list[Frame]:
    """The library's functions in which an own line mostly is, from the outermost on, each at the line at which it mostly is."""
    whole_s = 0.0
    inside_s: dict[Function, dict[int, float]] = defaultdict(lambda: defaultdict(float))  # by its lines
    depths: dict[Function, int] = {}
    is_own = [each[:2] in own for each in window.frames]
    for stack, seconds in zip(window.stacks, window.seconds.tolist(), strict=True):
        last = next((i for i in reversed(range(len(stack))) if is_own[stack[i]]), None) if seconds else None
        if last is not None and window.frames[stack[last]] == frame:
            whole_s += seconds
            called = {window.frames[i][:2]: i for i in reversed(stack[last + 1 :])}  # the outermost of each
            for function, i in called.items():
                inside_s[function][i] += seconds
            for depth, i in enumerate(stack[last + 1 :]):
                depths[window.frames[i][:2]] = min(depth, depths.get(window.frames[i][:2], depth))
    most = [function for function, its in inside_s.items() if sum(its.values()) >= CARRIES * whole_s and function[1]]
    lines = [
        max(inside_s[function], key=lambda i: inside_s[function][i])
        for function in sorted(most, key=lambda each: depths[each])
    ]
    return [window.frames[i] for i in lines]


def _leading_to(excess: Excess, function: Function) -> list[Frame]:
    """The own functions above where a function is first on the stack."""
    node = excess.function.index(function)
    return [frame for frame, is_own in _above(excess, _Step(function, [node], 0.0)) if is_own]


def second(excess: Excess, first: Suspect, lost_s: float, sides: WeightedComparison) -> Suspect | None:
    """Another cause beside the first: an own function with a quarter of the loss, neither above nor below it on any stack."""
    nodes = _outermost(excess, first.frame[:2])
    always = excess.always
    above = {excess.function[node] for start in nodes for node in _up(excess, start)} if not first.last_line else set()
    inside = (
        [any(start <= node < excess.end[start] for start in nodes) for node in range(len(excess.depth))]
        if not first.last_line
        else [False] * len(excess.depth)
    )
    found = [
        step
        for step in _functions_below(excess, [0])
        if excess.own[step.nodes[0]]
        and step.function not in always
        and step.function not in above
        and not any(inside[node] for node in step.nodes)
        and step.excess_s >= SECOND * lost_s > 0
    ]
    largest = max(found, key=lambda step: step.excess_s, default=None)
    if largest is None:
        return None
    steps = _walk(excess, largest.excess_s, always, [largest])
    other = _named(excess, steps, _last_own(excess, steps), sides)
    return other if other is None or other.frame[:2] not in above else None


def _up(excess: Excess, node: int) -> list[int]:
    found: list[int] = []
    while (node := int(excess.trie.parent[node])) > 0:
        found.append(node)
    return found


def _outermost(excess: Excess, function: Function) -> list[int]:
    """Where a function is on the stack, without where it has called itself."""
    open_until, nodes = 0, []
    for node, name in enumerate(excess.function):
        if name == function and node >= open_until:
            nodes.append(node)
            open_until = excess.end[node]
    return nodes


def _alone(excess: Excess, step: _Step, leave_usual: bool) -> float:
    """How much of what a function carries is in no other own function below it; `leave_usual`: that the baseline does not have."""
    others_s = 0.0
    for node in step.nodes:
        below = node + 1
        while below < excess.end[node]:
            is_other = excess.own[below] and excess.function[below] != step.function
            counts = is_other and not (leave_usual and excess.is_usual(excess.function[below]))
            others_s += max(0.0, excess.excess_s[below]) if counts else 0.0
            below = excess.end[below] if is_other else below + 1
    return 1 - min(1.0, others_s / max(step.excess_s, 1e-9))


def _walk(excess: Excess, lost_s: float, always: Collection[Function], path: Sequence[_Step] = ()) -> list[_Step]:
    """From function to function, each time to the next one that carries most of what the last one does, wherever it stands below.

    Below a function that is always there, half of the loss is enough: what else takes longer there has another cause.
    """
    path = list(path)
    here = path[-1] if path else _Step(("", ""), [0], lost_s)
    while True:
        least_s = MIN_SHARE * min(lost_s, here.excess_s)
        if path and here.function not in always:
            least_s = max(least_s, excess.most_of(here.excess_s))
        functions = _functions_below(excess, here.nodes)
        heavy = [step for step in functions if step.excess_s >= least_s > 0 and step.function != here.function]
        if not heavy:
            return path
        most = max(heavy, key=lambda step: step.excess_s)
        largest = [step for step in heavy if step.excess_s >= NEARLY * most.excess_s and _leads_to(excess, step, most)]
        below = min(largest, key=lambda step: (min(excess.depth[node] for node in step.nodes), -step.excess_s))
        if path and _does_more(excess, here, below):
            return path
        here = below
        path.append(here)


def _leads_to(excess: Excess, step: _Step, other: _Step) -> bool:
    """Whether the other function is this one, or takes longer below it."""
    inside = (node for node in other.nodes if any(start < node < excess.end[start] for start in step.nodes))
    return step.function == other.function or sum(excess.excess_s[node] for node in inside) >= CARRIES * other.excess_s


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
    return next(
        (library_name(frame) for frame in reversed(before) if has_name(frame) and frame.file != called.file), ""
    )


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


def _at_calls(path: Sequence[Frame], called: Frame, sides: WeightedComparison) -> list[Frame]:
    """The functions that lead to another one, each at the line at which that takes longer."""
    more_s: dict[Frame, float] = defaultdict(float)
    for side, units, sign in zip(sides.weighings[:2], sides.divisors, (1, -1), strict=True):
        there = {i for i, frame in enumerate(side.frames) if frame[:2] == called[:2]}
        for stack, its_s in zip(side.stacks, side.seconds.tolist(), strict=True):
            for i in set(stack) if its_s and not there.isdisjoint(stack) else ():
                more_s[side.frames[i]] += sign * its_s / units
    return [
        max((frame for frame in more_s if frame[:2] == each[:2]), key=lambda frame: more_s[frame], default=each)
        for each in path
    ]


def _at_hottest_line(step: _Step, excess: Excess) -> Frame:
    hottest = max(step.nodes, key=lambda node: excess.excess_s[node])
    return excess.trie.frames[int(excess.trie.frame[hottest])]


def _hottest_line(function: Function, sides: WeightedComparison) -> tuple[int, float]:
    """The line of a function with the largest excess, with what it calls, and that excess per unit."""
    lines: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for which, (side, units) in enumerate(zip(sides.weighings[:2], sides.divisors, strict=True)):
        there = {i: frame.line for i, frame in enumerate(side.frames) if frame[:2] == function}
        for stack, seconds in zip(side.stacks, side.seconds.tolist(), strict=True):
            line = next((there[frame] for frame in stack if frame in there), None) if seconds else None
            if line is not None:
                lines[line][which] += seconds / max(units, 1e-9)
    line = max(lines, key=lambda each: lines[each][0] - lines[each][1])
    return line, lines[line][0] - lines[line][1]


def tree_of(
    window: TrustedSpans,
    baseline: TrustedSpans | None,
    even: tuple[TrustedSpans, TrustedSpans] | None = None,
    work: Bools | None = None,
) -> tuple[Trie, list[WeightedStacks]]:
    """One tree for both, with the baseline's seconds all 0 where there is none.

    `even` are the same spans with the same share of cores. `work`: which spans of the baseline are no waits; all by default.
    """
    one = weighed(window)
    other = weighed(baseline) if baseline is not None else one._replace(seconds=np.zeros_like(one.seconds))
    sides = [one, other, one, other, other]
    if baseline is not None:
        even = even or (window, baseline)
        working = even[1].take(work) if work is not None else even[1]
        sides[2:] = [_seconds_of(of, side) for of, side in zip((one, other, other), (*even, working), strict=True)]
    return with_rows(build([one, other]), sides), sides


def with_rows(trie: Trie, sides: Sequence[WeightedStacks]) -> Trie:
    """A tree of window and baseline with the times of all weighings, of which each second one has the baseline's stacks, as has the last."""
    first = len(sides[0].stacks)
    rows = [trie.total_s[0], trie.total_s[1]]
    rows += [
        _below(trie, leaf, side.seconds)
        for leaf, side in zip((trie.leaf[:first], *[trie.leaf[first:]] * 2), sides[2:], strict=True)
    ]
    return replace(trie, total_s=np.vstack(rows))


def _seconds_of(of: WeightedStacks, spans: TrustedSpans) -> WeightedStacks:
    return of._replace(seconds=np.bincount(spans.stack, spans.seconds, len(of.stacks)).astype(np.float64))


def _below(trie: Trie, leaf: Ints, seconds: Floats) -> Floats:
    """The seconds of each node, with those of what is below it."""
    total_s: Floats = np.bincount(leaf, seconds, len(trie.parent)).astype(np.float64)
    for depth in range(int(trie.depth.max(initial=0)), 0, -1):
        level = np.flatnonzero(trie.depth == depth)
        np.add.at(total_s, trie.parent[level], total_s[level])
    return total_s
