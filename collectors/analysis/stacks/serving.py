"""A service's work as one: what all threads of a process do, and its children, without what waits for the next request.

A request passes from thread to thread, and each of them waits most of the time. What counts is the time that they are at work, or held
up in it: by a lock, a sleep, a program or a server that they ask. It is laid on the process's main thread, where all questions look.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ...records import Frame
from .joining import STARTED_BY_PYTHON, join, waits_of_stacks
from .owning import are_own
from .traces import Bools, Range, Traces, overlaps, union
from .trust import LineOf, no_source
from .waits import SLEEP, Waiting

HOLD_UP = ("lock", "time", "network", "child process")  # waits in the middle of a request
ON_CPU = 0.5  # share of a core, of a span: with less a loop waits for work, and reads and writes what it waits for
SERVERS = re.compile(  # whose loops are in C, or wait in calls into C
    r"/(asyncio|uvloop|uvicorn|gunicorn|hypercorn|granian|tornado|twisted|trio|anyio|gevent|eventlet|waitress|grpc|aiohttp|multiprocessing)/|/(threading|selectors|socketserver|socket|http/server)\.py$"
)
IDLE = Frame("waits for requests", "", 0)
STARTS = ("_bootstrap", "_bootstrap_inner", "run")  # of a thread
SLICE_S = 1.0  # no rest is longer, so that each lies in the stretch that it is counted in


def work_of(traces: Traces, line_of: LineOf = no_source) -> Traces:
    """What stands for each process: its main thread, joined at its waits; of a service all of its work."""
    return served(traces, line_of) if traces.serves else join(traces, line_of)


def served(traces: Traces, line_of: LineOf = no_source) -> Traces:
    """Spans overlap, since threads work at the same time."""
    work, loop, pause = _kinds(traces, waits_of_stacks(traces, line_of))
    kept = np.zeros(0, bool)
    if len(work):
        rests = (loop[traces.stack] & ~(traces.running > ON_CPU)) | (pause[traces.stack] & (traces.running <= ON_CPU))
        kept = work[traces.stack] & ~rests
    mains = {rank: i for i, (_, rank, _, role) in reversed(list(enumerate(traces.processes))) if role == "main"}
    main = np.array([mains.get(rank, i) for i, (_, rank, _, _) in enumerate(traces.processes)], np.int64)
    found = traces.take(kept)
    process = main[found.process] if len(main) else found.process
    return found._replace(process=process, tid=found.pids[process] if len(main) else found.tid)


def laid_out(traces: Traces, recorded: Sequence[Range], rank: int | None = None, line_of: LineOf = no_source) -> Traces:
    """All work of one rank as one thread's, by default of the lowest."""
    work = served(traces, line_of)
    lowest = min((its for _, its, _, role in traces.processes if role == "main"), default=0)
    mine = [role == "main" and its == (lowest if rank is None else rank) for _, its, _, role in traces.processes]
    return one_at_a_time(work.take(work.of(mine)), union(recorded))


def one_at_a_time(work: Traces, recorded: Sequence[Range]) -> Traces:
    """A service's work as one thread's: at each moment one of those at work, who holds the GIL before the others; else `IDLE`.

    All spans are of one process.
    """
    marks = [np.arange(np.ceil(lo), hi, SLICE_S) for lo, hi in recorded if hi - lo < np.inf]
    edges = np.unique(np.concatenate([work.start_s, work.end_s, np.asarray(recorded, np.float64).reshape(-1), *marks]))
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


def _kinds(traces: Traces, waits: Sequence[Waiting | None]) -> tuple[Bools, Bools, Bools]:
    """Of each stack: whether a request may be in it; whether it is a server's loop, and whether it is a thread's outermost function, which
    wait for work where they have no core."""
    own = are_own(traces.frames, "")
    of_server = [bool(SERVERS.search(frame.file)) for frame in traces.frames]
    work, loop, pause = [], [], []
    for stack, wait in zip(traces.stacks, waits, strict=True):
        outermost = _is_outermost(traces.frames, stack)
        held_up = wait is not None and wait.wait.what in HOLD_UP and any(own[i] for i in stack)
        work.append(bool(stack) and (wait is None or (held_up and not (wait.wait is SLEEP and outermost))))
        loop.append(wait is None and bool(stack) and of_server[stack[-1]])
        pause.append(wait is None and outermost)
    return np.array(work, bool), np.array(loop, bool), np.array(pause, bool)


def _is_outermost(frames: Sequence[Frame], stack: tuple[int, ...]) -> bool:
    """Whether a stack ends in the function that its thread was started with, or in the program's own top: what stands still there is a
    loop that waits or pauses between requests."""
    named = [(i, frames[frame]) for i, frame in enumerate(stack)]
    starts = [
        i for i, frame in named if frame.file.endswith(STARTED_BY_PYTHON) and frame.name.rpartition(".")[2] in STARTS
    ]
    above = starts[-1] + 1 if starts else 0
    return len(stack) - above <= 1
