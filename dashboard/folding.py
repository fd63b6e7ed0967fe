"""Fold stack samples into a flame tree, alone or beside a baseline.

Frames merge by function, that is by name and file: two lines of one function are one node, whose line is the one that took
most of its time. A node's total is the wall time in which the thread stood there or below, its self the part at the top.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.records import Frame
from collectors.store.protocol import StackColumns

from .joining import HEADS, join
from .trie import Bools, Floats, Ints, Weighed, build
from .waits import wait_of

View: TypeAlias = Literal["main", "joined", "threads"]
Kind: TypeAlias = Literal["own", "library", "wait", "joined"]

PRUNE = 0.001  # a node below this share of the whole is not drawn
LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python\d|^<")
NO_FRAME = Frame("", "", 0)
SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


class ThreadTime(NamedTuple):
    """One thread of the window, and for how long it was seen."""

    pid: int
    tid: int
    name: str
    rank: int
    role: str  # of its process: "main" or "worker"
    seconds: float


@dataclass(frozen=True)
class FlameTree:
    """Nodes as columns in preorder, siblings by name; the root comes first and its parent is -1. Seconds are wall time."""

    frames: list[Frame]
    frame: Ints  # index into frames
    parent: Ints
    self_s: Floats
    total_s: Floats
    base_self_s: Floats | None
    base_total_s: Floats | None
    kind: list[Kind]
    samples: int
    seconds: float
    hz: float
    baseline_samples: int
    baseline_seconds: float
    threads: list[ThreadTime]

    def as_json(self) -> dict[str, Any]:
        """As `GET /flame` answers it; the base columns are null without a baseline."""
        columns = ("frame", "parent", "self_s", "total_s", "base_self_s", "base_total_s")
        nodes = {name: None if (column := getattr(self, name)) is None else column.tolist() for name in columns}
        counts = ("samples", "seconds", "hz", "baseline_samples", "baseline_seconds")
        return {
            **{name: getattr(self, name) for name in counts},
            "threads": [thread._asdict() for thread in self.threads],
            "frames": [frame._asdict() for frame in self.frames],
            "nodes": {**nodes, "kind": self.kind},
        }


def fold(
    columns: StackColumns,
    *,
    thread: str | None = None,
    rank: int | None = None,
    pid: int | None = None,
    view: View = "main",
    baseline: StackColumns | None = None,
    prune: float = PRUNE,
    own_folder: str = "",
) -> FlameTree:
    """The view `main` is the main thread of each rank, `joined` the same with its waits for others replaced by what those did;
    `threads`, or a `thread` by name or id, has a node for each thread.

    `own_folder` is the run's working folder: code below it counts as the run's own. A node stays where its share of the window
    or of the baseline is at least `prune`.
    """
    lanes = _Lanes("threads" if thread else view, thread, rank, pid)
    sources = [columns] if baseline is None else [columns, baseline]
    folded = [join(source) for source in sources] if lanes.view == "joined" else sources
    trie = build([lanes.weigh(source) for source in folded]).pruned(prune).preorder()
    used, frame = np.unique(trie.frame, return_inverse=True)
    frames = [Frame(lanes.title(columns), "", 0), *(trie.frames[i] for i in used[1:])]
    kinds = _kinds(frames, own_folder)
    seconds = trie.total_s[:, 0].tolist()
    samples = [_samples(*pair) for pair in zip(sources, seconds, strict=True)]
    return FlameTree(
        frames=frames,
        frame=frame,
        parent=trie.parent,
        self_s=trie.self_s[0],
        total_s=trie.total_s[0],
        base_self_s=None if baseline is None else trie.self_s[1],
        base_total_s=None if baseline is None else trie.total_s[1],
        kind=[kinds[i] for i in frame],
        samples=samples[0],
        seconds=seconds[0],
        hz=columns.hz,
        baseline_samples=sum(samples[1:]),
        baseline_seconds=sum(seconds[1:]),
        threads=threads_of(columns),
    )


def threads_of(columns: StackColumns) -> list[ThreadTime]:
    """All threads of the window: main processes first, main threads first, then by time."""
    lanes, lane = _lanes(columns, np.arange(len(columns.tid)))
    seconds = np.bincount(lane, columns.duration_s, len(lanes))
    found = [_thread_time(columns, *key, time_s) for key, time_s in zip(lanes, seconds.tolist(), strict=True)]
    return sorted(found, key=lambda one: (one.role != "main", one.rank, one.tid != one.pid, -one.seconds))


def to_folded(tree: FlameTree) -> str:
    """`main;forward;matmul 1250000` a line, in microseconds of self time: what flamegraph.pl and speedscope read."""
    names = [re.sub(r"[;\n]", ":", _label(frame)) for frame in tree.frames]
    lines = [
        f"{';'.join(names[frame] for frame in stack)} {round(self_s * 1e6)}" for stack, self_s in _stacks(tree) if self_s >= 1e-6
    ]
    return "\n".join([*lines, ""])


def to_speedscope(tree: FlameTree, name: str = "profile") -> dict[str, Any]:
    """A sampled profile in speedscope's file format, a sample for each node that has self time."""
    stacks = [(stack, self_s) for stack, self_s in _stacks(tree) if self_s > 0]
    profile = {
        "type": "sampled",
        "name": name,
        "unit": "seconds",
        "startValue": 0,
        "endValue": sum(self_s for _, self_s in stacks),
        "samples": [stack for stack, _ in stacks],
        "weights": [self_s for _, self_s in stacks],
    }
    frames = [
        {"name": frame.name, "file": frame.file, "line": frame.line} if frame.line else {"name": frame.name}
        for frame in tree.frames
    ]
    return {"$schema": SPEEDSCOPE_SCHEMA, "name": name, "shared": {"frames": frames}, "profiles": [profile]}


def _stacks(tree: FlameTree) -> Iterator[tuple[list[int], float]]:
    """Each node as its path of frames from the root, with its self seconds."""
    paths: list[list[int]] = []
    for frame, parent, self_s in zip(tree.frame.tolist(), tree.parent.tolist(), tree.self_s.tolist(), strict=True):
        paths.append([*paths[parent], frame] if parent >= 0 else [frame])
        yield paths[-1], self_s


def _samples(columns: StackColumns, seconds: float) -> int:
    """How many of the window's samples the folded threads took: those of all are counted together."""
    return round(columns.samples * seconds / float(columns.duration_s.sum())) if seconds else 0


def _label(frame: Frame) -> str:
    return f"{frame.name} ({frame.file}:{frame.line})" if frame.file else frame.name


class _Lanes(NamedTuple):
    """Which threads are folded, and below which node each of them stands."""

    view: View
    thread: str | None
    rank: int | None
    pid: int | None

    def title(self, columns: StackColumns) -> str:
        if not columns.processes:
            return "no samples"
        run = columns.processes[0][0]
        return run if self.view == "threads" else f"{run} main thread"

    def weigh(self, columns: StackColumns) -> Weighed:
        spans = np.flatnonzero(self._chosen(columns))
        heads, head = self._heads(columns, spans)
        stacks = max(1, len(columns.stacks))
        seconds = np.bincount(head * stacks + columns.stack[spans], columns.duration_s[spans]).astype(np.float64)
        seen = np.flatnonzero(seconds)
        first = len(columns.frames)
        below = [(first + i,) if frame else () for i, frame in enumerate(heads)]
        rows = [below[key // stacks] + columns.stacks[key % stacks] for key in seen.tolist()]
        return Weighed([*columns.frames, *(frame or NO_FRAME for frame in heads)], rows, seconds[seen])

    def _chosen(self, columns: StackColumns) -> Bools:
        pids = np.array([pid for _, _, pid, _ in columns.processes], np.int64)
        wanted = np.array([self._wants(*process) for process in columns.processes], bool)
        chosen = wanted[columns.process] if len(wanted) else np.zeros(0, bool)
        if self.thread is not None:
            tids = [tid for (_, tid), name in columns.threads.items() if self.thread in (name, str(tid))]
            return chosen & np.isin(columns.tid, tids)
        return chosen if self.view == "threads" else chosen & (columns.tid == pids[columns.process])

    def _wants(self, _run: str, rank: int, pid: int, role: str) -> bool:
        if self.rank not in (None, rank) or self.pid not in (None, pid):
            return False
        return role == "main" or self.view == "threads" or self.pid is not None

    def _heads(self, columns: StackColumns, spans: Ints) -> tuple[list[Frame | None], Ints]:
        """A node for each rank or thread, none where there is only one rank; and which of them each span stands below."""
        if self.view != "threads":
            ranks = [rank for _, rank, _, _ in columns.processes]
            several = len(set(ranks)) > 1
            heads = [Frame(f"rank {rank}", "", 0) if several else None for rank in ranks]
            return heads, columns.process[spans].astype(np.int64)
        lanes, lane = _lanes(columns, spans)
        times = [_thread_time(columns, process, tid, 0.0) for process, tid in lanes]
        return [Frame(_thread_label(time), "", 0) for time in times], lane


def _lanes(columns: StackColumns, spans: Ints) -> tuple[list[tuple[int, int]], Ints]:
    """The threads as (process, tid), and which one each span belongs to. Sorts runs of equal neighbours, not spans."""
    process, tid = columns.process[spans].astype(np.int64), columns.tid[spans]
    if not len(spans):
        return [], np.zeros(0, np.int64)
    heads = np.flatnonzero(np.r_[True, (process[1:] != process[:-1]) | (tid[1:] != tid[:-1])])
    pairs, lane = np.unique(np.stack([process[heads], tid[heads]], axis=1), axis=0, return_inverse=True)
    return [(int(a), int(b)) for a, b in pairs], np.repeat(lane.reshape(-1), np.diff(np.r_[heads, len(spans)]))


def _thread_time(columns: StackColumns, process: int, tid: int, seconds: float) -> ThreadTime:
    _, rank, pid, role = columns.processes[process]
    return ThreadTime(pid, tid, columns.threads.get((pid, tid), str(tid)), rank, role, seconds)


def _thread_label(thread: ThreadTime) -> str:
    place = f"rank {thread.rank}" if thread.role == "main" else f"worker {thread.pid}"
    return f"{place} {thread.name}"


def _kinds(frames: list[Frame], own_folder: str) -> list[Kind]:
    """Code below the run's folder is its own; where none is, whatever lies outside Python's own folders is."""
    mine = [not LIBRARY.search(frame.file) and bool(frame.file) for frame in frames]
    below = [is_mine and Path(frame.file).is_relative_to(own_folder) for is_mine, frame in zip(mine, frames, strict=True)]
    own = below if own_folder and any(below) else mine
    return [_kind(frame, is_own) for frame, is_own in zip(frames, own, strict=True)]


def _kind(frame: Frame, own: bool) -> Kind:
    if frame in HEADS.values():
        return "joined"
    return "wait" if wait_of(frame) else "own" if own else "library"
