"""Join stacks at waits: while a main thread waits for others, what they did then hangs below its wait.

The time waited is shared out equally among those that were at work at that moment, so that a tree has one denominator, the
main thread's wall time, from its root to the slow line in a worker. Where nobody was at work the wait stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collectors.records import Frame
from collectors.store.protocol import StackColumns

from .trie import Bools, Floats, Ints
from .waits import Joined, Waiting, wait_of, waiting

HEADS: dict[Joined, Frame] = {"workers": Frame("in the workers", "", 0), "threads": Frame("in other threads", "", 0)}
LEAD_IN = ("run", "/multiprocessing/process.py")  # what stands above it in a worker is how the worker was started


def join(columns: StackColumns) -> StackColumns:
    """The same time of the same main threads, with their waits for workers and for other threads replaced by what those did."""
    waits = _waits_of_stacks(columns)
    at_work = np.array([wait is None or wait.wait.joined not in HEADS for wait in waits], bool)
    pieces = [
        _share_out(columns, waiting_spans, busy)
        for kind in HEADS
        for process, (_, _, _, role) in enumerate(columns.processes)
        if role == "main"
        for waiting_spans in [_waiting_for(kind, process, columns, waits)]
        for busy in [np.flatnonzero(_others(kind, process, columns) & at_work[columns.stack])]
        if len(waiting_spans) and len(busy)
    ]
    return _rebuilt(columns, waits, pieces)


class _Pieces(NamedTuple):
    """Parts of waits: as long as somebody's share of the time waited, each with that thread's stack, or -1 for the rest."""

    wait: Ints  # index of the span that waited
    other: Ints
    time_s: Floats
    duration_s: Floats


def _waits_of_stacks(columns: StackColumns) -> list[Waiting | None]:
    rows = [wait_of(frame) for frame in columns.frames]
    return [waiting([rows[frame] for frame in stack]) for stack in columns.stacks]


def _waiting_for(kind: Joined, process: int, columns: StackColumns, waits: list[Waiting | None]) -> Ints:
    """The spans of a process's main thread that wait for these others, in order of time."""
    wanted = np.array([wait is not None and wait.wait.joined == kind for wait in waits], bool)
    main = (columns.process == process) & (columns.tid == columns.processes[process][2])
    spans = np.flatnonzero(main & wanted[columns.stack])
    return spans[np.argsort(columns.time_s[spans], kind="stable")]


def _others(kind: Joined, process: int, columns: StackColumns) -> Bools:
    """The spans of those that a main thread may wait for: its workers' main threads, or its own process's other threads."""
    _, rank, pid, _ = columns.processes[process]
    if kind == "threads":
        same: Bools = (columns.process == process) & (columns.tid != pid)
        return same
    worker = np.array([role == "worker" and its == rank for _, its, _, role in columns.processes], bool)
    pids = np.array([pid for _, _, pid, _ in columns.processes], np.int64)
    theirs: Bools = worker[columns.process] & (columns.tid == pids[columns.process])
    return theirs


def _share_out(columns: StackColumns, waits: Ints, busy: Ints) -> _Pieces:
    """Every overlap of a wait with somebody at work, weighted by one over how many were; then what is left of each wait."""
    begin_s = float(columns.time_s[waits[0]])  # small numbers keep their microseconds
    starts, ends = _bounds(columns, waits, begin_s)
    busy_starts, busy_ends = _bounds(columns, busy, begin_s)
    first = np.searchsorted(ends, busy_starts, "right")
    count = np.maximum(np.searchsorted(starts, busy_ends, "left") - first, 0)
    who = np.repeat(np.arange(len(busy)), count)
    which = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(who))
    clock = _clock(busy_starts, busy_ends)
    # A share only grows with time, so that the later of two moments is the one with the greater share.
    lo = np.maximum(np.interp(starts, clock.moments, clock.share)[which], clock.share_at_start[who])
    hi = np.minimum(np.interp(ends, clock.moments, clock.share)[which], clock.share_at_end[who])
    covered = np.interp(ends, clock.moments, clock.anybody) - np.interp(starts, clock.moments, clock.anybody)
    return _Pieces(
        wait=waits[np.r_[which, np.arange(len(waits))]],
        other=np.r_[columns.stack[busy][who], np.full(len(waits), -1)],
        time_s=np.r_[np.maximum(starts[which], busy_starts[who]), starts] + begin_s,
        duration_s=np.maximum(np.r_[hi - lo, ends - starts - covered], 0.0),
    )


def _bounds(columns: StackColumns, spans: Ints, begin_s: float) -> tuple[Floats, Floats]:
    starts = columns.time_s[spans] - begin_s
    return starts, starts + columns.duration_s[spans]


class _Clock(NamedTuple):
    """Sums over time, at each moment where somebody begins or stops to work."""

    moments: Floats
    share: Floats  # seconds that fell to one of those at work, had they shared out all time
    anybody: Floats  # seconds in which anybody worked
    share_at_start: Floats  # the same at the start and the end of each span of work
    share_at_end: Floats


def _clock(starts: Floats, ends: Floats) -> _Clock:
    moments = np.r_[starts, ends]
    order = np.argsort(moments, kind="stable")
    working = np.cumsum(np.repeat([1, -1], len(starts))[order])[:-1]
    elapsed = np.where(working > 0, np.diff(moments[order]), 0.0)
    share = np.r_[0.0, np.cumsum(elapsed / np.maximum(working, 1))]
    at = np.empty(len(order))
    at[order] = share
    return _Clock(moments[order], share, np.r_[0.0, np.cumsum(elapsed)], at[: len(starts)], at[len(starts) :])


def _rebuilt(columns: StackColumns, waits: list[Waiting | None], pieces: list[_Pieces]) -> StackColumns:
    """The spans with some of them replaced by their pieces."""
    if not pieces:
        return columns
    split = np.zeros(len(columns.stack), bool)
    split[np.concatenate([part.wait for part in pieces])] = True
    whole = np.flatnonzero(~split)
    source = np.concatenate([whole, *(part.wait for part in pieces)])
    other = np.concatenate([np.full(len(whole), -1), *(part.other for part in pieces)])
    keys, stack = np.unique(columns.stack[source] * np.int64(len(columns.stacks) + 1) + other + 1, return_inverse=True)
    heads = {kind: len(columns.frames) + i for i, kind in enumerate(HEADS)}
    stacks = [_joined_stack(columns, waits, heads, *divmod(key, len(columns.stacks) + 1)) for key in keys.tolist()]
    return columns._replace(
        frames=[*columns.frames, *HEADS.values()],
        stacks=stacks,
        time_s=np.concatenate([columns.time_s[whole], *(part.time_s for part in pieces)]),
        duration_s=np.concatenate([columns.duration_s[whole], *(part.duration_s for part in pieces)]),
        process=columns.process[source],
        tid=columns.tid[source],
        stack=stack.astype(np.int32),
        resolved=columns.resolved[source],
        gil=columns.gil[source],
        cpu_s=columns.cpu_s[source],
    )


def _joined_stack(
    columns: StackColumns, waits: list[Waiting | None], heads: dict[Joined, int], stack: int, other: int
) -> tuple[int, ...]:
    """A wait down to its first frame, then what somebody else did below their own lead-in. `other` is 0 for nobody, else 1 more."""
    wait = waits[stack]
    if other == 0 or wait is None:
        return columns.stacks[stack]
    below = columns.stacks[other - 1]
    lead_in = [i for i, frame in enumerate(below) if _leads_in(columns.frames[frame])]
    return (*columns.stacks[stack][: wait.since + 1], heads[wait.wait.joined], *below[lead_in[-1] + 1 if lead_in else 0 :])


def _leads_in(frame: Frame) -> bool:
    return frame.name.rpartition(".")[2] == LEAD_IN[0] and frame.file.endswith(LEAD_IN[1])
