"""Stack columns by hand, the trees that they become, and trees as text."""

from __future__ import annotations

import numpy as np

from analysis.stacks.fold import PRUNE, FlameTree, gather, tree_of
from analysis.stacks.threads import ThreadSelection, View
from collectors.records import Frame
from collectors.store.store import Process, StackColumns

Span = tuple[int, int, float, tuple[Frame, ...]]  # process, tid, seconds, stack
MAIN = ("run", 0, 7, "main")


def columns(
    *spans: Span, processes: tuple[tuple[str, int, int, str], ...] = (MAIN,), hz: float = 100.0
) -> StackColumns:
    """Spans of threads, as the store hands them out; thread 7 is the main thread of process 7."""
    frames: dict[Frame, int] = {}
    stacks: dict[tuple[int, ...], int] = {}
    rows = [tuple(frames.setdefault(frame, len(frames)) for frame in stack) for *_, stack in spans]
    stack = [stacks.setdefault(row, len(stacks)) for row in rows]
    seconds = np.array([seconds for _, _, seconds, _ in spans], float)
    pids = [processes[process][2] for process, *_ in spans]
    names = {
        (pid, span[1]): "MainThread" if pid == span[1] else f"Thread-{span[1]}"
        for pid, span in zip(pids, spans, strict=True)
    }
    return StackColumns(
        frames=list(frames),
        stacks=list(stacks),
        processes=[Process(*process) for process in processes],
        threads=names,
        time_s=np.cumsum(seconds) - seconds,
        duration_s=seconds,
        process=np.array([span[0] for span in spans], np.int32),
        tid=np.array([span[1] for span in spans], np.int64),
        stack=np.array(stack, np.int32),
        resolved=np.ones(len(spans), bool),
        gil=np.full(len(spans), -1, np.int8),
        cpu_s=np.full(len(spans), np.nan),
        samples=round(float(seconds.sum()) * hz),
        hz=hz,
        covered=[],
    )


def drawn(tree: FlameTree) -> list[str]:
    """`["run main thread 3", "  <module> 3", ...]`: the tree as a person would write it down."""
    depth: list[int] = []
    for parent in tree.parent.tolist():
        depth.append(depth[parent] + 1 if parent >= 0 else 0)
    names = [tree.frames[frame].name for frame in tree.frame]
    return [f"{'  ' * deep}{name} {total:g}" for deep, name, total in zip(depth, names, tree.total_s, strict=True)]


def fold(
    window: StackColumns,
    *,
    thread: str | None = None,
    rank: int | None = None,
    pid: int | None = None,
    view: View = "main",
    baseline: StackColumns | None = None,
    prune: float = PRUNE,
    own_folder: str = "",
) -> FlameTree:
    """As a page would ask for it."""
    lanes = ThreadSelection(view, thread, rank, pid)
    sides = [gather(one, lanes) for one in (window, baseline) if one is not None]
    return tree_of(*sides, prune=prune, own_folder=own_folder)
