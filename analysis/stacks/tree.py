"""Stacks with weights as one tree, built level by level in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame

from .spans import TrustedSpans


class WeightedStacks(NamedTuple):
    """Stacks, each with the seconds that it stood."""

    frames: list[Frame]
    stacks: list[tuple[int, ...]]  # indices into frames, from below the root to the leaf
    trusted: Ints  # one a stack: so many of its frames, from below the root, surely stood on each other
    seconds: Floats  # one a stack


@dataclass(frozen=True)
class Trie:
    """Nodes in order of depth, then parent, then function name. Times have a row for each weighing: `total_s[weighing, node]`."""

    frames: list[Frame]
    frame: Ints  # index into frames: the node's function, at its hottest line; -1 for the root
    parent: Ints
    depth: Ints
    self_s: Floats
    total_s: Floats
    trusted_s: Floats  # of the total, what surely belongs here
    self_line: Ints  # where most of its self time passed
    own_line: Ints  # of the user's own functions: where most of the time passed outside of others of them; of other nodes as `self_line`
    leaf: Ints  # the node of each stack's last frame, the stacks of all weighings one after the other; -1 where that was pruned
    trusted_to_leaf_s: Floats  # one a weighing: of stacks that are trusted to their leaf

    def pruned(self, share: float) -> Trie:
        """Without what is below this share of every weighing. What is pruned counts in its parent's total, and in no self time."""
        drawn = np.any((self.total_s >= share * self.total_s[:, :1]) & (self.total_s > 0), axis=0)
        return self._take(np.r_[0, 1 + np.flatnonzero(drawn[1:])])

    def preorder(self) -> Trie:
        """The same nodes, each followed by its children, for who draws or prints from top to bottom."""
        levels = np.split(np.arange(len(self.depth)), np.flatnonzero(np.diff(self.depth)) + 1)
        size = np.ones(len(self.depth), np.int64)
        for level in reversed(levels[1:]):
            np.add.at(size, self.parent[level], size[level])
        place = np.zeros(len(self.depth), np.int64)
        for level in levels[1:]:
            parent = self.parent[level]
            before = np.cumsum(size[level]) - size[level]
            leads = np.r_[True, parent[1:] != parent[:-1]]  # the first child of each parent
            place[level] = place[parent] + 1 + before - before[leads][np.cumsum(leads) - 1]
        return self._take(np.argsort(place))

    def _take(self, nodes: Ints) -> Trie:
        moved = np.full(len(self.depth) + 1, -1)  # the last entry is the root's parent, -1
        moved[nodes] = np.arange(len(nodes))
        return Trie(
            frames=self.frames,
            frame=self.frame[nodes],
            parent=moved[self.parent[nodes]],
            depth=self.depth[nodes],
            self_s=self.self_s[:, nodes],
            total_s=self.total_s[:, nodes],
            trusted_s=self.trusted_s[:, nodes],
            self_line=self.self_line[nodes],
            own_line=self.own_line[nodes],
            leaf=moved[self.leaf],
            trusted_to_leaf_s=self.trusted_to_leaf_s,
        )


def weigh(spans: TrustedSpans) -> WeightedStacks:
    """The stacks that were seen, whole."""
    seconds = np.bincount(spans.stack, spans.seconds, len(spans.stacks)).astype(np.float64)
    seen = np.flatnonzero(seconds)
    return WeightedStacks(
        spans.frames, [spans.stacks[stack] for stack in seen.tolist()], spans.trusted[seen], seconds[seen]
    )


def build(weighings: Sequence[WeightedStacks], are_own: Callable[[list[Frame]], Sequence[bool]] | None = None) -> Trie:
    """One tree for all weighings; frames with the same name and file are one function. `are_own` says which frames are the user's: without
    it `self_line` and `own_line` are the lines of the frames."""
    frames, flat = _shared_frames(weighings)
    function, functions = _functions(frames)
    lengths = np.array([len(stack) for weighing in weighings for stack in weighing.stacks], np.int64)
    starts = np.cumsum(lengths) - lengths
    trusted = np.concatenate([np.zeros(0, np.int64), *(weighing.trusted for weighing in weighings)])
    seconds = _by_weighing(weighings)
    heat = seconds[0] + 1e-9 * seconds.sum(axis=0)  # the window's lines, and the baseline's where the window has none
    node = np.zeros(len(lengths), np.int64)
    active = np.flatnonzero(lengths > 0)
    whole = seconds.sum(axis=1, keepdims=True)
    levels = [_Level(np.array([-1]), np.array([-1]), whole, whole)]
    nodes = 1
    while len(active):
        frame = flat[starts[active] + len(levels) - 1]
        keys, child = np.unique(node[active] * functions + function[frame], return_inverse=True)
        total_s = np.array([np.bincount(child, row[active], len(keys)) for row in seconds])
        surely = trusted[active] >= len(levels)
        trusted_s = np.array([np.bincount(child, row[active] * surely, len(keys)) for row in seconds])
        levels.append(_Level(_hottest(child, frame, heat[active], len(frames)), keys // functions, total_s, trusted_s))
        node[active] = nodes + child
        nodes += len(keys)
        active = active[lengths[active] >= len(levels)]
    shown = np.concatenate([level.frame for level in levels])
    parent = np.concatenate([level.parent for level in levels])
    depth = np.repeat(np.arange(len(levels)), [len(level.frame) for level in levels])
    self_line = own_line = np.array([*(frame.line for frame in frames), 0], np.int64)[shown]  # the last is the root's
    if are_own is not None:
        own = np.array([*are_own(frames), False], bool)[shown]
        lines = _Lines(frames, flat, starts, depth, heat)
        self_line = lines.at(node, self_line)
        own_line = lines.at(_nearest(node, parent, own), np.where(own, own_line, self_line))
    return Trie(
        frames=frames,
        frame=shown,
        parent=parent,
        depth=depth,
        self_s=np.array([np.bincount(node, row, nodes) for row in seconds]),
        total_s=np.concatenate([level.total_s for level in levels], axis=1),
        trusted_s=np.concatenate([level.trusted_s for level in levels], axis=1),
        self_line=self_line,
        own_line=own_line,
        leaf=node,
        trusted_to_leaf_s=(seconds * (trusted >= lengths)).sum(axis=1),
    )


class _Level(NamedTuple):
    frame: Ints
    parent: Ints
    total_s: Floats
    trusted_s: Floats


class _Lines(NamedTuple):
    """The stacks of all weighings, as `build` has them."""

    frames: list[Frame]
    flat: Ints
    starts: Ints
    depth: Ints  # of the nodes
    heat: Floats

    def at(self, node: Ints, default: Ints) -> Ints:
        """Of each node the line at which most of the stacks stood that have it as their `node`, 0 for none; else its default."""
        found, stacks = default.copy(), np.flatnonzero(node)
        if len(stacks):
            frame = self.flat[self.starts[stacks] + self.depth[node[stacks]] - 1]
            hottest = _hottest(node[stacks], frame, self.heat[stacks], len(self.frames))
            found[np.unique(node[stacks])] = [self.frames[i].line for i in hottest.tolist()]
        return found


def _shared_frames(weighings: Sequence[WeightedStacks]) -> tuple[list[Frame], Ints]:
    """One table of frames for all, and every stack's frames in it, one after the other."""
    index: dict[Frame, int] = {}
    flat: list[Ints] = []
    for weighing in weighings:
        moved = np.array([index.setdefault(frame, len(index)) for frame in weighing.frames], np.int64)
        flat.append(moved[np.fromiter(chain.from_iterable(weighing.stacks), np.int64)])
    return list(index), np.concatenate(flat)


def _functions(frames: list[Frame]) -> tuple[Ints, int]:
    """The number of each frame's function, in the order of names, and how many there are."""
    names = sorted({frame[:2] for frame in frames})
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[frame[:2]] for frame in frames], np.int64), max(1, len(names))


def _by_weighing(weighings: Sequence[WeightedStacks]) -> Floats:
    """`[weighing, stack]`: a stack's seconds stand in the row of the weighing that it came from."""
    seconds = np.zeros((len(weighings), sum(len(weighing.stacks) for weighing in weighings)))
    at = 0
    for row, weighing in zip(seconds, weighings, strict=True):
        row[at : at + len(weighing.stacks)] = weighing.seconds
        at += len(weighing.stacks)
    return seconds


def _nearest(node: Ints, parent: Ints, wanted: Bools) -> Ints:
    """From each node up, the first that is wanted; 0, the root, where none is."""
    found = node.copy()
    while (moving := (found > 0) & ~wanted[found]).any():
        found[moving] = parent[found[moving]]
    return found


def _hottest(node: Ints, frame: Ints, heat: Floats, frames: int) -> Ints:
    """For each node the frame with most heat among those that fell on it."""
    pairs, pair = np.unique(node * frames + frame, return_inverse=True)
    order = np.lexsort((np.bincount(pair, heat), pairs // frames))
    owner = pairs[order] // frames
    last = np.flatnonzero(np.r_[owner[1:] != owner[:-1], True])
    hottest: Ints = pairs[order][last] % frames
    return hottest
