"""A service's work as one: what all threads of a process do, and its children, without what waits for the next request.

A request passes from thread to thread, and each of them waits most of the time. What counts is the time that they are at work, or held
up in it: by a lock, a sleep, a program or a server that they ask. It is laid on the process's main thread, where all questions look.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ...records import Frame
from .joining import join, waits_of_stacks
from .owning import are_own
from .traces import Bools, Floats, Range, Traces, overlaps
from .trust import LineOf, no_source
from .waits import SLEEP, Waiting

HOLD_UP = ("lock", "time", "network", "child process")  # waits in the middle of a request
ON_CPU = 0.05  # mean share of a core below which a loop waits for work
LOOP_ON_CPU = 0.5  # of a server's loop in C, which also reads and writes what it waits for: 0.1 at a hundred requests a second
SERVERS = re.compile(  # whose loops are in C, or wait in calls into C
    r"/(asyncio|uvloop|uvicorn|gunicorn|hypercorn|granian|tornado|twisted|trio|anyio|gevent|eventlet|waitress|grpc|aiohttp)/|/(threading|selectors|socketserver|socket|http/server)\.py$"
)
IDLE = Frame("waits for requests", "", 0)
STARTS = "/threading.py"


def work_of(traces: Traces, line_of: LineOf = no_source) -> Traces:
    """What stands for each process: its main thread, joined at its waits; of a service all of its work."""
    return served(traces, line_of) if traces.serves else join(traces, line_of)


def served(traces: Traces, line_of: LineOf = no_source) -> Traces:
    """Spans overlap, since threads work at the same time."""
    at_work = _are_work(traces, waits_of_stacks(traces, line_of))
    kept = at_work[traces.stack] if len(at_work) else np.zeros(0, bool)
    mains = {rank: i for i, (_, rank, _, role) in reversed(list(enumerate(traces.processes))) if role == "main"}
    main = np.array([mains.get(rank, i) for i, (_, rank, _, _) in enumerate(traces.processes)], np.int64)
    found = traces.take(kept)
    process = main[found.process] if len(main) else found.process
    return found._replace(process=process, tid=found.pids[process] if len(main) else found.tid)


def one_at_a_time(work: Traces, recorded: Sequence[Range]) -> Traces:
    """A service's work as one thread's: at each moment one of those at work, who holds the GIL before the others; else `IDLE`.

    All spans are of one process.
    """
    edges = np.unique(np.concatenate([work.start_s, work.end_s, np.asarray(recorded, np.float64).reshape(-1)]))
    middle_s = (edges[1:] + edges[:-1]) / 2
    inside = np.zeros(len(middle_s), bool)
    for lo, hi in recorded:
        inside |= (middle_s > lo) & (middle_s < hi)
    starts, ends = edges[:-1][inside], edges[1:][inside]
    span, place = overlaps(work.start_s, work.end_s, starts, ends)
    order = np.lexsort((work.start_s[span], -work.gil[span], place))
    places, first = np.unique(place[order], return_index=True)
    chosen = np.full(len(starts), -1)
    chosen[places] = span[order][first]
    busy = chosen >= 0
    taken = work.take(np.maximum(chosen, 0)) if len(work.start_s) else _nothing(work, len(starts))
    idle = len(work.stacks)
    return taken._replace(
        frames=[*work.frames, IDLE],
        stacks=[*work.stacks, (len(work.frames),)],
        trusted=np.r_[work.trusted, 1],
        start_s=starts,
        end_s=ends,
        stack=np.where(busy, taken.stack, idle),
        gil=np.where(busy, taken.gil, 0).astype(np.int8),
        running=np.where(busy, taken.running, 0.0),
    )


def _nothing(work: Traces, count: int) -> Traces:
    """As many spans of the first process, for a stretch without work."""
    zeros = np.zeros(count, np.int64)
    return work._replace(
        start_s=np.zeros(count),
        end_s=np.zeros(count),
        weight=np.ones(count),
        process=zeros,
        tid=zeros + (work.processes[0].pid if work.processes else 0),
        stack=zeros,
        gil=zeros.astype(np.int8),
        running=np.zeros(count),
    )


def _are_work(traces: Traces, waits: Sequence[Waiting | None]) -> Bools:
    """Of each stack, whether a request may be in it."""
    own = are_own(traces.frames, "")
    shares = _core_shares(traces)
    of_server = [bool(SERVERS.search(frame.file)) for frame in traces.frames]
    found = []
    for stack, wait, share in zip(traces.stacks, waits, shares.tolist(), strict=True):
        outermost = _is_outermost(traces.frames, stack)
        if wait is None:
            loops = bool(stack) and of_server[stack[-1]]
            found.append(bool(stack) and not (share < ON_CPU and outermost) and not (share < LOOP_ON_CPU and loops))
        else:
            held_up = wait.wait.what in HOLD_UP and any(own[i] for i in stack)
            found.append(held_up and not (wait.wait is SLEEP and outermost))
    return np.array(found, bool)


def _is_outermost(frames: Sequence[Frame], stack: tuple[int, ...]) -> bool:
    """Whether a stack ends in the function that its thread was started with, or in the program's own top: what stands still there is a
    loop that waits or pauses between requests."""
    starts = [
        i for i, frame in enumerate(stack) if frames[frame].name.rpartition(".")[2] == "run" and frames[frame].file.endswith(STARTS)
    ]
    above = starts[-1] + 1 if starts else 0
    return len(stack) - above <= 1


def _core_shares(traces: Traces) -> Floats:
    """Of each stack, the mean share of a core that it had; 1 where that is not known."""
    known = np.isfinite(traces.running)
    count = len(traces.stacks)
    on_s = np.bincount(traces.stack[known], (np.clip(traces.running, 0, 1) * traces.seconds)[known], count)
    all_s = np.bincount(traces.stack[known], traces.seconds[known], count)
    return np.where(all_s > 0, on_s / np.maximum(all_s, 1e-9), 1.0)
