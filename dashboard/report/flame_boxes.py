"""A flame tree as boxes: the widest functions, from the root down, in percent of the width."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collectors.analysis.stacks.folding import FlameTree
from collectors.analysis.stacks.owning import file_name, library_name
from collectors.analysis.stacks.traces import Floats, Ints
from collectors.records import Frame

from .texts import length_of, shortened

MOST_ROWS = 48
LEAST_PCT = 0.12  # of the width: about a pixel
LEAST_ROW_PCT = 8.0  # of all boxes of a row: below it stand narrow towers, such as imports
NAMED_PCT = 1.2  # a narrower box has no room for a name


class FlameBox(NamedTuple):
    """`left` and `width` are percent. `tone`: own, library, wait, joined or hot."""

    left: float
    width: float
    row: int
    tone: str
    name: str  # "" where there is no room
    title: str


class HotFunction(NamedTuple):
    """Of all boxes of one function."""

    name: str
    place: str
    length: str  # with it at the top of the stack
    self_pct: float


class FlameBoxes(NamedTuple):
    boxes: list[FlameBox]
    rows: int
    left_out: int  # nodes that are too narrow, too deep or too many
    hottest: list[HotFunction]


def boxes_of(tree: FlameTree, most: int, characters: int, functions: int = 12) -> FlameBoxes:
    """At most so many boxes, of which each stands below its caller's."""
    depth, left_s = _places(tree)
    whole_s = max(float(tree.total_s[0]), 1e-9)
    width = 100 * tree.total_s / whole_s
    filled = np.bincount(depth, width)
    wide = (width >= LEAST_PCT) & (depth < min(MOST_ROWS, int(np.argmin(np.r_[filled, 0.0] >= LEAST_ROW_PCT))))
    order = np.lexsort((np.arange(len(width)), depth, -width))  # a caller is at least as wide as what it calls
    chosen = np.sort(order[wide[order]][:most])
    own_s = np.where([kind == "own" for kind in tree.kind], tree.self_s, 0.0)
    hot = int(np.argmax(own_s)) if own_s.any() else -1
    boxes = [
        _box(
            tree,
            i,
            100 * left_s[i] / whole_s,
            float(width[i]),
            int(depth[i]),
            "hot" if i == hot else tree.kind[i],
            characters,
        )
        for i in chosen.tolist()
    ]
    rows = int(depth[chosen].max()) + 1 if len(chosen) else 0
    return FlameBoxes(boxes, rows, len(width) - len(chosen), _hottest(tree, whole_s, functions, characters))


def _places(tree: FlameTree) -> tuple[Ints, Floats]:
    """How deep each node is, and where it begins, in seconds: children stand side by side from their parent's left edge."""
    depth, left_s = np.zeros(len(tree.parent), np.int64), np.zeros(len(tree.parent))
    next_s = np.zeros(len(tree.parent))
    for i, (parent, total_s) in enumerate(zip(tree.parent.tolist(), tree.total_s.tolist(), strict=True)):
        if parent >= 0:
            depth[i] = depth[parent] + 1
            left_s[i] = left_s[parent] + next_s[parent]
            next_s[parent] += total_s
    return depth, left_s


def _box(tree: FlameTree, i: int, left: float, width: float, row: int, tone: str, characters: int) -> FlameBox:
    frame, total_s = tree.frames[int(tree.frame[i])], float(tree.total_s[i])
    name = frame.name if tone in ("own", "hot") or not frame.file else library_name(frame)
    title = f"{shortened(name, characters)}{_where(frame, characters)}, {length_of(total_s)}, {width:.1f} %"
    return FlameBox(left, width, row, tone, shortened(name, characters) if width >= NAMED_PCT else "", title)


def _where(frame: Frame, characters: int) -> str:
    place = _place(frame, characters)
    return f" ({place})" if place else ""


def _place(frame: Frame, characters: int) -> str:
    if not frame.file:
        return ""
    return f"{shortened(file_name(frame.file), characters)}{f':{frame.line}' if frame.line else ''}"


def _hottest(tree: FlameTree, whole_s: float, most: int, characters: int) -> list[HotFunction]:
    """By the time at the top of the stack."""
    seconds = np.bincount(tree.frame, tree.self_s, len(tree.frames))
    order = [i for i in np.argsort(-seconds, kind="stable").tolist() if seconds[i] > 0][:most]
    by_self = np.argsort(tree.self_s, kind="stable")
    line = dict(
        zip(tree.frame[by_self].tolist(), tree.self_line[by_self].tolist(), strict=True)
    )  # of the node with most
    return [
        HotFunction(
            shortened(tree.frames[i].name, characters),
            _place(tree.frames[i]._replace(line=line[i]), characters),
            length_of(float(seconds[i])),
            100 * float(seconds[i]) / whole_s,
        )
        for i in order
    ]
