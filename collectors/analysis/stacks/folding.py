"""Fold stack samples into a flame tree, alone or beside a baseline.

Frames merge by function, that is by name and file: two lines of one function are one node, whose line is the one that took
most of its time. A node's total is the wall time in which the thread stood there or below, its self the part at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...records import Frame
from ...store.protocol import StackColumns
from .lanes import Lanes, ThreadTime, threads_of
from .owning import FrameKind, kinds_of
from .reshaping import Reshaping
from .serving import work_of
from .traces import EVER, Floats, Ints, Range, Traces
from .trie import Weighed, build
from .trust import LineOf, no_source, traces_of

PRUNE = 0.001  # a node below this share of the whole is not drawn
PLAIN = Reshaping()


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


class Gathered(NamedTuple):
    """The stacks of one stretch of time, ready to become a tree."""

    weighed: Weighed
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


def gather(columns: StackColumns, lanes: Lanes, line_of: LineOf = no_source) -> Gathered:
    """All that is in the columns."""
    return gather_parts(columns, lanes, [EVER], line_of)[0]


def gather_parts(
    columns: StackColumns, lanes: Lanes, parts: Sequence[Sequence[Range]], line_of: LineOf = no_source
) -> list[Gathered]:
    """One for each part: what lies in its ranges."""
    traces = traces_of(columns, line_of)
    folded = work_of(traces, line_of) if lanes.joined else traces
    run = columns.processes[0][0] if columns.processes else None
    return [
        Gathered(
            lanes.weigh(folded.within(part), columns.threads),
            lanes.title(run, columns.serves),
            threads_of(traces.within(part), columns.threads),
            columns.samples * _share(traces, part),
            columns.hz,
            traces.computes_backward,
        )
        for part in parts
    ]


def _share(traces: Traces, part: Sequence[Range]) -> float:
    """Of all threads' time, how much lies in these ranges."""
    all_s = float(traces.seconds.sum())
    return float(traces.within(part).seconds.sum()) / all_s if all_s else 0.0


def tree_of(
    window: Gathered,
    baseline: Gathered | None = None,
    *,
    shape: Reshaping = PLAIN,
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
