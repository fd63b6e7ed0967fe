"""Which edges of a stack from py-spy surely stood: it reads without stopping, and may mix two moments.

A caller of one moment and a callee of the next look like any other stack, and no error shows it. An edge is trusted where the
neighbouring sample of the same thread has it, too, or where the source says so. Our own sampler reads twice, and keeps only
what agrees: what it keeps is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame
from collectors.store.store import StackColumns

from .spans import TrustedSpans, compact
from .waits import BACKWARD, wait_of

LineOf = Callable[[str, int], str]
"""The text of a line of a source file, "" where it cannot be read."""

NOT_SEEN = Frame("not seen", "", 0)

ONE_SAMPLE = 1.5  # periods: a span that is longer was seen twice in a row
MISSED = 2.5  # periods: neighbours may lie this far apart
HOLE_S = 0.25
COMPUTES = 0.1  # of a core, on the average: a thread that waits has next to nothing of one
DISPATCHERS = {  # they call what they are given
    *("_call_impl", "_wrapped_call_impl", "decorate_context", "_fn", "inner", "wrapper"),
    *("_bootstrap", "_bootstrap_inner", "run", "spawn_main", "_run_code", "_run_module_code"),
}
SYNTAX = {  # how a call looks that does not name its callee
    "__getitem__": r"\[",
    "__getitems__": r"__getitems__",
    "__enter__": r"\bwith\b",
    "__exit__": r"\bwith\b",
    "__iter__": r"\bfor\b|\biter\b",
    "__next__": r"\bfor\b|\bnext\b",
    "<listcomp>": r"\bfor\b",
    "<setcomp>": r"\bfor\b",
    "<dictcomp>": r"\bfor\b",
    "<genexpr>": r"\bfor\b|\w\(",
}


def no_source(_file: str, _line: int) -> str:
    return ""


def trusted_spans(columns: StackColumns, line_of: LineOf = no_source) -> TrustedSpans:
    """The spans as they are stored, with as many entries for a stack as there are different trusts in it.

    Where our own sampler did not see a stack's leaf, the stack ends with the frame `not seen`.
    """
    depth = trusted_depth(columns, line_of)
    deepest = max(map(len, columns.stacks), default=0) + 1
    leaf_not_seen = ~columns.resolved & (columns.gil >= 0)
    keys, stack = compact(
        (columns.stack.astype(np.int64) * deepest + depth) * 2 + leaf_not_seen, len(columns.stacks) * deepest * 2
    )
    ends = [(), (len(columns.frames),)]
    return TrustedSpans(
        frames=[*columns.frames, NOT_SEEN],
        stacks=[columns.stacks[key // 2 // deepest] + ends[key % 2] for key in keys.tolist()],
        trusted=keys // 2 % deepest,
        processes=columns.processes,
        start_s=columns.time_s,
        end_s=_until_the_next(columns),
        weight=np.ones(len(columns.tid)),
        process=columns.process.astype(np.int64),
        tid=columns.tid,
        stack=stack,
        gil=columns.gil,
        running=columns.cpu_s / np.maximum(columns.duration_s, 1e-9),
        serves=columns.serves,
        computes_backward=_computes_backward(columns),
    )


def _computes_backward(columns: StackColumns) -> bool:
    """True if threads have a core during their backward passes; a thread that waits for autograd's own threads has none."""
    backward = [i for i, frame in enumerate(columns.frames) if wait_of(frame) is BACKWARD]
    ends = (
        np.array([bool(stack) and stack[-1] in backward for stack in columns.stacks], bool)
        if backward
        else np.zeros(0, bool)
    )
    inside = ends[columns.stack] & np.isfinite(columns.cpu_s) if len(ends) else np.zeros(0, bool)
    return bool(inside.any()) and float(columns.cpu_s[inside].sum()) >= COMPUTES * float(
        columns.duration_s[inside].sum()
    )


def _until_the_next(columns: StackColumns) -> Floats:
    """When each span ends; short holes between two spans of a thread count with the span before them.

    A sampler that gets no CPU takes its next sample late. Left out, the time would be missing where the machine is busiest.
    """
    end_s: Floats = columns.time_s + columns.duration_s
    order = by_thread(columns)
    process, tid, time_s = columns.process[order], columns.tid[order], columns.time_s[order]
    hole_s = time_s[1:] - end_s[order][:-1]
    filled = (process[1:] == process[:-1]) & (tid[1:] == tid[:-1]) & (hole_s > 0) & (hole_s < HOLE_S)
    end_s[order[:-1][filled]] = time_s[1:][filled]
    return end_s


def by_thread(columns: StackColumns) -> Ints:
    """The order of the spans by thread, then by time: they are in order of time, and the sort is stable."""
    tids = np.unique(columns.tid)
    key = columns.process.astype(np.int64) * len(tids) + np.searchsorted(tids, columns.tid)
    return np.argsort(key.astype(np.int16) if key.max(initial=0) < np.iinfo(np.int16).max else key, kind="stable")


def trusted_depth(columns: StackColumns, line_of: LineOf = no_source) -> Ints:
    """How many frames of each span, from the root, are trusted."""
    lengths = np.array([len(stack) for stack in columns.stacks], np.int64)
    whole = lengths[columns.stack] if len(lengths) else np.zeros(0, np.int64)
    doubtful = np.flatnonzero((columns.gil < 0) & (columns.duration_s * columns.hz < ONE_SAMPLE) & (whole > 1))
    if not len(doubtful):
        return whole
    depth = whole.copy()
    shared = _shared_with_neighbours(columns, lengths)[doubtful]
    stack = columns.stack[doubtful].astype(np.int64)
    depth[doubtful] = np.maximum(shared, _named_by_source(columns, lengths, shared, stack, line_of))
    depth[~columns.resolved & (columns.gil < 0)] = 0  # not even its root is the thread's
    return depth


def _shared_with_neighbours(columns: StackColumns, lengths: Ints) -> Ints:
    """How many functions, from the root, each span has in common with the span before or after it of its thread."""
    order = by_thread(columns)
    stack, tid, process = columns.stack[order].astype(np.int64), columns.tid[order], columns.process[order]
    end_s = columns.time_s[order] + columns.duration_s[order]
    near = (tid[1:] == tid[:-1]) & (process[1:] == process[:-1])
    near &= (columns.time_s[order][1:] - end_s[:-1]) * columns.hz < MISSED
    common = np.where(near, _common(columns, lengths, stack[:-1], stack[1:]), 0)
    shared = np.zeros(len(order), np.int64)
    shared[order] = np.maximum(np.r_[0, common], np.r_[common, 0])
    return shared


def _common(columns: StackColumns, lengths: Ints, one: Ints, other: Ints) -> Ints:
    """How many functions two stacks share from the root, for many pairs."""
    pairs, pair = np.unique(one * len(lengths) + other, return_inverse=True)
    rows = _functions(columns, lengths)
    one, other = pairs // len(lengths), pairs % len(lengths)
    common = np.zeros(len(pairs), np.int64)
    active = np.arange(len(pairs))
    for column in rows.T:
        active = active[(column[one[active]] == column[other[active]]) & (column[one[active]] >= 0)]
        common[active] += 1
        if not len(active):
            break
    return common[pair]


def _functions(columns: StackColumns, lengths: Ints) -> Ints:
    """`[stack, depth]`: the function that stands there, -1 below the leaf."""
    numbers: dict[tuple[str, str], int] = {}
    function = np.array([numbers.setdefault(frame[:2], len(numbers)) for frame in columns.frames], np.int64)
    rows = np.full((len(lengths), int(lengths.max(initial=0))), -1)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = function[
        np.fromiter(chain.from_iterable(columns.stacks), np.int64)
    ]
    return rows


def _named_by_source(columns: StackColumns, lengths: Ints, shared: Ints, stack: Ints, line_of: LineOf) -> Ints:
    """From what is shared on: as far as each caller's line names its callee."""
    stacks = np.unique(stack)
    named = _edges_named(columns, stacks, line_of)
    place = np.zeros(len(lengths), np.int64)  # where each stack begins when they are laid out one after the other
    place[stacks] = np.cumsum(lengths[stacks]) - lengths[stacks]
    unnamed = np.flatnonzero(~named)
    first = place[stack] + np.maximum(shared, 1)
    next_unnamed = np.r_[unnamed, len(named)][np.searchsorted(unnamed, first)]
    depth: Ints = np.minimum(next_unnamed - place[stack], lengths[stack])
    return depth


def _edges_named(columns: StackColumns, stacks: Ints, line_of: LineOf) -> Bools:
    """For each frame of these stacks, one after the other, whether its caller's line names it; true for roots."""
    flat = np.fromiter(chain.from_iterable(columns.stacks[i] for i in stacks.tolist()), np.int64)
    callers = np.r_[0, flat[:-1]]
    edges, edge = np.unique(callers * len(columns.frames) + flat, return_inverse=True)
    pairs = [divmod(key, len(columns.frames)) for key in edges.tolist()]
    named = np.array([source_names(columns.frames[a], columns.frames[b], line_of) for a, b in pairs], bool)[edge]
    roots = np.cumsum([0, *(len(columns.stacks[i]) for i in stacks.tolist()[:-1])])
    named[roots] = True
    return named


def source_names(caller: Frame, callee: Frame, line_of: LineOf) -> bool:
    """Whether the caller calls whatever it is given, or its current line names the callee.

    `Frame("step", "t.py", 7)` with `loss = model.forward(x)` on line 7 names `Model.forward`, and not `backward`.
    """
    if caller.name.rpartition(".")[2] in DISPATCHERS:
        return True
    text = line_of(caller.file, caller.line)
    outer, _, name = callee.name.rpartition(".")
    if name in SYNTAX:
        return bool(re.search(SYNTAX[name], text))
    if name in ("__init__", "__new__", "__call__"):
        name = outer.rpartition(".")[2] or name
    return bool(re.search(rf"\b{re.escape(name)}\b", text))
