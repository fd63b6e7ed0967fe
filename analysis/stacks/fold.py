"""Folds stack samples into a flame tree, alone or beside a baseline, and adds GPU kernels below their launches."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Floats, Ints
from collectors.records import Frame
from collectors.store.store import StackColumns

from ..traces.steps import StepTrace
from .frames import FrameKind, kinds_of
from .spans import EVER, Interval, TrustedSpans
from .threads import ThreadSelection, ThreadTime, threads_of, work_of
from .tree import WeightedStacks, build
from .trust import LineOf, no_source, trusted_spans
from .wait_joins import Locks
from .waits import BACKWARD as WAITS_BACKWARD
from .waits import wait_at, wait_of

# Other looks at the same stacks: only some of them, without some frames, rolled up, or from the leaf to the root.

Roll: TypeAlias = Literal["function", "module", "file"]

_LIBRARIES = re.compile(r".*/(?:(?:site|dist)-packages|lib(?:64)?/python\d[\d.]*)/")


class FoldOptions(NamedTuple):
    """Patterns are case-insensitive substrings of `name file`; with * or ? globs over all of it."""

    waits: bool = True  # False: without the time in which a thread only waits
    focus: str = ""  # only stacks in which a frame matches, from the first such frame on
    hide: str = ""  # without the frames that match: their callees move up to their callers
    roll: Roll = "function"
    invert: bool = False  # from the leaf to the root

    def of(self, one: WeightedStacks, line_of: LineOf = no_source, computes_backward: bool = False) -> WeightedStacks:
        """The parts of the shape in the order of its fields."""
        if not self.waits:
            one = at_work(one, line_of, computes_backward)
        if self.focus:
            one = focused(one, matching(one.frames, self.focus))
        if self.hide:
            one = hidden(one, matching(one.frames, self.hide))
        if self.roll != "function":
            one = rolled(one, self.roll)
        return inverted(one) if self.invert else one


def matching(frames: list[Frame], pattern: str) -> set[int]:
    """The indices of the frames that match."""
    pattern = pattern.lower()
    wanted = pattern if "*" in pattern or "?" in pattern else f"*{glob.escape(pattern)}*"
    return {i for i, frame in enumerate(frames) if fnmatch.fnmatchcase(f"{frame.name} {frame.file}".lower(), wanted)}


def at_work(one: WeightedStacks, line_of: LineOf, computes_backward: bool = False) -> WeightedStacks:
    """The stacks whose last frame does not wait."""
    locks = Locks(one.frames, line_of)

    def waits(frame: Frame) -> bool:
        row, text = wait_of(frame), line_of(frame.file, frame.line)
        return (
            bool(row and not (row is WAITS_BACKWARD and computes_backward))
            or wait_at(text, locks.entered(text)) is not None
        )

    waiting = {i for i, frame in enumerate(one.frames) if waits(frame)}
    kept = [i for i, stack in enumerate(one.stacks) if not stack or stack[-1] not in waiting]
    return WeightedStacks(one.frames, [one.stacks[i] for i in kept], one.trusted[kept], one.seconds[kept])


def focused(one: WeightedStacks, wanted: set[int]) -> WeightedStacks:
    starts = [next((i for i, frame in enumerate(stack) if frame in wanted), -1) for stack in one.stacks]
    kept = [i for i, start in enumerate(starts) if start >= 0]
    return WeightedStacks(
        one.frames,
        [one.stacks[i][starts[i] :] for i in kept],
        np.array([max(0, int(one.trusted[i]) - starts[i]) for i in kept], np.int64),
        one.seconds[kept],
    )


def hidden(one: WeightedStacks, unwanted: set[int]) -> WeightedStacks:
    return _each(one, lambda stack: [i for i, frame in enumerate(stack) if frame not in unwanted])


def rolled(one: WeightedStacks, roll: Roll) -> WeightedStacks:
    """One frame a file or module; neighbours in the same one become one."""
    frames = [_rolled(frame, roll) for frame in one.frames]
    numbers: dict[Frame, int] = {}
    places = [numbers.setdefault(frame, len(numbers)) for frame in frames]
    moved = one._replace(frames=list(numbers), stacks=[tuple(places[frame] for frame in stack) for stack in one.stacks])
    return _each(moved, lambda stack: [i for i, frame in enumerate(stack) if i == 0 or frame != stack[i - 1]])


def inverted(one: WeightedStacks) -> WeightedStacks:
    """A stack that is not trusted to its leaf is not trusted at all when the leaf comes first."""
    lengths = np.array([len(stack) for stack in one.stacks], np.int64)
    trusted = np.where(one.trusted >= lengths, lengths, 0)
    return one._replace(stacks=[stack[::-1] for stack in one.stacks], trusted=trusted)


def module_of(file: str) -> str:
    """`torch.nn.modules.module` for a library's file, `data` for a file of the user's."""
    library = _LIBRARIES.match(file)
    parts = file[library.end() :] if library else file.rpartition("/")[2]
    return parts.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _each(one: WeightedStacks, kept: Callable[[tuple[int, ...]], list[int]]) -> WeightedStacks:
    """Each stack with only these of its frames."""
    places = [kept(stack) for stack in one.stacks]
    stacks = [tuple(stack[i] for i in place) for stack, place in zip(one.stacks, places, strict=True)]
    trusted: Ints = np.array(
        [sum(i < depth for i in place) for place, depth in zip(places, one.trusted.tolist(), strict=True)], np.int64
    )
    return one._replace(stacks=stacks, trusted=trusted)


def _rolled(frame: Frame, roll: Roll) -> Frame:
    if not frame.file:
        return frame
    return Frame(module_of(frame.file) if roll == "module" else frame.file.rpartition("/")[2], frame.file, 0)


PRUNE = 0.001  # a node below this share of the whole is not drawn
PLAIN = FoldOptions()


@dataclass(frozen=True)
class FlameTree:
    """Nodes as columns in preorder, siblings by name; the root comes first and its parent is -1. Seconds are wall time."""

    frames: list[Frame]
    frame: Ints  # index into frames
    parent: Ints
    self_s: Floats
    total_s: Floats
    trusted_s: Floats  # of the total, what lies below trusted edges only
    base_self_s: Floats | None
    base_total_s: Floats | None
    kind: list[FrameKind]
    self_line: Ints  # of the node, where most of its self time passed
    own_line: Ints  # the same; of the user's own functions with what libraries took that they call
    samples: int
    seconds: float
    hz: float
    baseline_samples: int
    baseline_seconds: float
    trusted_share: float  # of the seconds, in stacks that are trusted to their leaf
    threads: list[ThreadTime]


class WindowStacks(NamedTuple):
    """The stacks of one stretch of time, ready to become a tree."""

    weighed: WeightedStacks
    title: str  # of the root
    threads: list[ThreadTime]  # all, whichever were chosen
    samples: float  # of all threads
    hz: float
    computes_backward: bool = False  # a backward pass is then no wait

    @property
    def chosen_samples(self) -> int:
        """How many of the samples the chosen threads took: those of all are counted together."""
        all_s = sum(thread.seconds for thread in self.threads)
        return round(self.samples * float(self.weighed.seconds.sum()) / all_s) if all_s else 0


def gather(columns: StackColumns, lanes: ThreadSelection, line_of: LineOf = no_source) -> WindowStacks:
    """All that is in the columns."""
    return gather_parts(columns, lanes, [EVER], line_of)[0]


def gather_parts(
    columns: StackColumns, lanes: ThreadSelection, parts: Sequence[Sequence[Interval]], line_of: LineOf = no_source
) -> list[WindowStacks]:
    """One for each part: what lies in its ranges."""
    spans = trusted_spans(columns, line_of)
    folded = work_of(spans, line_of) if lanes.joined else spans
    run = columns.processes[0][0] if columns.processes else None
    return [
        WindowStacks(
            lanes.weigh(folded.within(part), columns.threads),
            lanes.title(run, columns.serves),
            threads_of(spans.within(part), columns.threads),
            columns.samples * _share(spans, part),
            columns.hz,
            spans.computes_backward,
        )
        for part in parts
    ]


def _share(spans: TrustedSpans, part: Sequence[Interval]) -> float:
    """Of all threads' time, how much lies in these ranges."""
    all_s = float(spans.seconds.sum())
    return float(spans.within(part).seconds.sum()) / all_s if all_s else 0.0


def tree_of(
    window: WindowStacks,
    baseline: WindowStacks | None = None,
    *,
    shape: FoldOptions = PLAIN,
    prune: float = PRUNE,
    own_folder: str = "",
    line_of: LineOf = no_source,
) -> FlameTree:
    """A node stays where its share of the window or of the baseline is at least `prune`; `own_folder` is the run's working folder."""
    sides = [window] if baseline is None else [window, baseline]
    weighed = [shape.of(side.weighed, line_of, side.computes_backward) for side in sides]

    def are_own(frames: list[Frame]) -> list[bool]:
        return [kind == "own" for kind in kinds_of(frames, own_folder, window.computes_backward)]

    trie = build(weighed, are_own).pruned(prune).preorder()
    used, frame = np.unique(trie.frame, return_inverse=True)
    frames = [Frame(window.title, "", 0), *(trie.frames[i] for i in used[1:])]
    kinds = kinds_of(frames, own_folder, window.computes_backward)
    seconds = trie.total_s[:, 0].tolist()
    return FlameTree(
        frames=frames,
        frame=frame,
        parent=trie.parent,
        self_s=trie.self_s[0],
        total_s=trie.total_s[0],
        trusted_s=trie.trusted_s[0],
        base_self_s=trie.self_s[1] if baseline else None,
        base_total_s=trie.total_s[1] if baseline else None,
        kind=[kinds[i] for i in frame],
        self_line=trie.self_line,
        own_line=trie.own_line,
        samples=window.chosen_samples,
        seconds=seconds[0],
        hz=window.hz,
        baseline_samples=baseline.chosen_samples if baseline else 0,
        baseline_seconds=sum(seconds[1:]),
        trusted_share=float(trie.trusted_to_leaf_s[0]) / seconds[0] if seconds[0] else 1.0,
        threads=window.threads,
    )


# Traced steps as stacks: each kernel is a leaf below the line of Python that launched it.

FILES = {"GPU": "<kernel>", "CPU": "<operator>"}  # what stands for the file of a leaf
BACKWARD = Frame("backward", "<autograd>", 0)  # below the line that ran forward
UNKNOWN = Frame("launched by no line that was traced", "<unknown>", 0)


def gathered_of(trace: StepTrace, run: str) -> WindowStacks:
    """Seconds are those of the kernels: what runs at once counts several times."""
    index: dict[Frame, int] = {}
    stacks = []
    for kernel in trace.kernels:
        above = kernel.stack or (UNKNOWN,)
        stack = (*above, *([BACKWARD] if kernel.backward else []), Frame(kernel.name, FILES[trace.device], 0))
        stacks.append(tuple(index.setdefault(frame, len(index)) for frame in stack))
    seconds = np.array([kernel.seconds for kernel in trace.kernels], np.float64)
    launches = sum(kernel.calls for kernel in trace.kernels)
    trusted = np.array([len(stack) for stack in stacks], np.int64)
    what = "kernels of the GPU" if trace.device == "GPU" else "operators on the CPU"
    whole = ThreadTime(0, 0, what, trace.rank, "main", float(seconds.sum()))
    return WindowStacks(WeightedStacks(list(index), stacks, trusted, seconds), f"{run} {what}", [whole], launches, 0.0)
