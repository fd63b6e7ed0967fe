"""Threads of a program: which compute, which serve requests, and which parts of the program they are in."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame, Public, Searched
from collectors.store.store import Process

from .frames import are_own, owner_of
from .spans import Interval, TrustedSpans, compact, overlaps, union
from .tree import WeightedStacks
from .trust import LineOf, no_source
from .wait_joins import STARTED_BY_PYTHON, join, waits_of_stacks
from .waits import SLEEP, StackWait

CAP = 0.15  # of all work, by which a part counts at most: what many parts have in common is common, not what a large one does
ALWAYS = 0.9  # of all time
SEEN = 0.005  # of the baseline's work: the growth of a smaller part is not known

Function: TypeAlias = tuple[str, str]  # name and file


def parts_of(sides: Sequence[TrustedSpans], own_folder: str, always: Collection[Function]) -> list[Ints]:
    """The number of the part of the program that each stack of each side is in: its deepest own function.

    Functions that are always there, `always`, count line by line; a stack without own code counts by its last function.
    """
    numbers: dict[tuple[str, str, int], int] = {}
    found = []
    for side in sides:
        own = are_own(side.frames, own_folder)
        names = [(owner_of(frame.name) or frame.name, frame.file) for frame in side.frames]
        keys = [(*name, frame.line if name in always else 0) for name, frame in zip(names, side.frames, strict=True)]
        last = [next((i for i in reversed(stack) if own[i]), stack[-1] if stack else None) for stack in side.stacks]
        found.append(
            np.array(
                [numbers.setdefault(keys[i] if i is not None else ("", "", 0), len(numbers)) for i in last], np.int64
            )
        )
    return found


def common_ratio(here: Floats, there: Floats) -> float | None:
    """By which factor most parts of the work differ between two sides, each in seconds per unit of each part; None if too little is seen.

    The median over all parts, large ones counting little more than small ones; of two answers the smaller.
    """
    seen = there >= SEEN * max(float(there.sum()), 1e-12)
    if not seen.any():
        return None
    ratio, weight = here[seen] / there[seen], np.minimum(there[seen], CAP * there.sum())
    order = np.argsort(ratio, kind="stable")
    reached = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(reached, 0.5 * reached[-1])])


def standing(spans: TrustedSpans, function: Frame) -> Bools:
    """The spans on whose stacks the function is."""
    stacks = on_stacks(spans, function)
    there: Bools = stacks[spans.stack] if len(stacks) else np.zeros(0, bool)
    return there


def on_stacks(spans: TrustedSpans, function: Frame) -> Bools:
    """The stacks on which the function is, itself or by a part of it."""
    places = {i for i, frame in enumerate(spans.frames) if frame[:2] == function[:2]}
    return np.array([not places.isdisjoint(stack) for stack in spans.stacks], bool)


def always_there(spans: TrustedSpans) -> set[Function]:
    """The functions that are on the stack nearly all the time."""
    seconds = np.bincount(spans.stack, spans.seconds, len(spans.stacks)).tolist()
    function = [frame[:2] for frame in spans.frames]
    total: dict[Function, float] = defaultdict(float)
    for stack, its_s in zip(spans.stacks, seconds, strict=True):
        if its_s:
            for each in {function[i] for i in stack}:
                total[each] += its_s
    return {each for each, its_s in total.items() if its_s >= ALWAYS * sum(seconds)}


# Which threads of a window are folded, and below which node each of them stands.

View: TypeAlias = Literal["main", "joined", "threads"]

NO_FRAME = Frame("", "", 0)


class ThreadTime(NamedTuple):
    """One thread of the window, and for how long it was seen."""

    pid: int
    tid: int
    name: Searched
    rank: int
    role: Public  # of its process: "main" or "worker"
    seconds: float


class ThreadSelection(NamedTuple):
    """A choice of threads. A `thread`, by name or id, is shown as in the view `threads`."""

    view: View = "main"
    thread: str | None = None
    rank: int | None = None
    pid: int | None = None

    @property
    def by_thread(self) -> bool:
        return self.view == "threads" or self.thread is not None

    @property
    def joined(self) -> bool:
        return self.view == "joined" and not self.by_thread

    def title(self, run: str | None, serves: bool = False) -> str:
        """Of the root; None for a window without samples."""
        if run is None:
            return "no samples"
        if serves and self.joined:
            return f"{run} at work"
        return run if self.by_thread else f"{run} main thread"

    def chosen(self, spans: TrustedSpans, names: dict[tuple[int, int], str]) -> Bools:
        """Which spans are of these threads; `names` by (pid, tid)."""
        chosen = spans.of([self._wants(*process) for process in spans.processes])
        if self.thread is not None:
            tids = [tid for (_, tid), name in names.items() if self.thread in (name, str(tid))]
            return chosen & np.isin(spans.tid, tids)
        return chosen if self.view == "threads" else chosen & spans.main

    def weigh(self, spans: TrustedSpans, names: dict[tuple[int, int], str]) -> WeightedStacks:
        """Their stacks, each with its seconds, below a node for each thread or, where there are several, for each rank."""
        chosen = spans.take(self.chosen(spans, names))
        heads, head = self._heads(chosen, names)
        stacks = max(1, len(spans.stacks))
        seconds = np.bincount(head * stacks + chosen.stack, chosen.seconds).astype(np.float64)
        seen = np.flatnonzero(seconds)
        first = len(spans.frames)
        below = [(first + i,) if frame else () for i, frame in enumerate(heads)]
        rows = [below[key // stacks] + spans.stacks[key % stacks] for key in seen.tolist()]
        above = np.array([len(head) for head in below] or [0])
        return WeightedStacks(
            frames=[*spans.frames, *(frame or NO_FRAME for frame in heads)],
            stacks=rows,
            trusted=spans.trusted[seen % stacks] + above[seen // stacks] if len(seen) else np.zeros(0, np.int64),
            seconds=seconds[seen],
        )

    def _wants(self, _run: str, rank: int, pid: int, role: str) -> bool:
        if self.rank not in (None, rank) or self.pid not in (None, pid):
            return False
        return role == "main" or self.by_thread or self.pid is not None

    def _heads(self, chosen: TrustedSpans, names: dict[tuple[int, int], str]) -> tuple[list[Frame | None], Ints]:
        """The nodes, None where a thread needs none of its own, and which of them each span stands below."""
        if not self.by_thread:
            ranks = [rank for _, rank, _, _ in chosen.processes]
            several = len(set(ranks)) > 1
            return [Frame(f"rank {rank}", "", 0) if several else None for rank in ranks], chosen.process
        threads, thread = _threads(chosen.process, chosen.tid)
        times = [_thread_time(chosen.processes, names, *key, 0.0) for key in threads]
        return [Frame(label(time), "", 0) for time in times], thread


def threads_of(spans: TrustedSpans, names: dict[tuple[int, int], str]) -> list[ThreadTime]:
    """All threads: main processes first, main threads first, then by time."""
    threads, thread = _threads(spans.process, spans.tid)
    seconds = np.bincount(thread, spans.seconds, len(threads)).tolist()
    return _in_order(
        _thread_time(spans.processes, names, *key, time_s) for key, time_s in zip(threads, seconds, strict=True)
    )


def summed(threads: Iterable[ThreadTime]) -> list[ThreadTime]:
    """Each thread once, with all its time."""
    found: dict[tuple[int, int], ThreadTime] = {}
    for thread in threads:
        before = found.get((thread.pid, thread.tid))
        found[thread.pid, thread.tid] = thread._replace(seconds=thread.seconds + before.seconds) if before else thread
    return _in_order(found.values())


def _in_order(threads: Iterable[ThreadTime]) -> list[ThreadTime]:
    return sorted(
        threads, key=lambda thread: (thread.role != "main", thread.rank, thread.tid != thread.pid, -thread.seconds)
    )


def label(thread: ThreadTime) -> str:
    """`rank 0 MainThread`, `worker 4127 MainThread`."""
    place = f"rank {thread.rank}" if thread.role == "main" else f"worker {thread.pid}"
    return f"{place} {thread.name}"


def _threads(process: Ints, tid: Ints) -> tuple[list[tuple[int, int]], Ints]:
    """The threads as (process, tid), and which one each span belongs to. Sorts runs of equal neighbours, not spans."""
    if not len(tid):
        return [], np.zeros(0, np.int64)
    heads = np.flatnonzero(np.r_[True, (process[1:] != process[:-1]) | (tid[1:] != tid[:-1])])
    tids, place = np.unique(tid[heads], return_inverse=True)
    keys, thread = compact(process[heads] * len(tids) + place, (int(process.max()) + 1) * len(tids))
    pairs = zip((keys // len(tids)).tolist(), tids[keys % len(tids)].tolist(), strict=True)
    return list(pairs), np.repeat(thread, np.diff(np.r_[heads, len(tid)]))


def _thread_time(
    processes: list[Process], names: dict[tuple[int, int], str], process: int, tid: int, seconds: float
) -> ThreadTime:
    _, rank, pid, role = processes[process]
    return ThreadTime(pid, tid, names.get((pid, tid), str(tid)), rank, role, seconds)


# A service's work as one: what all threads of a process do, and its children, without what waits for the next request.
#
# A request passes from thread to thread, and each of them waits most of the time. What counts is the time that they are at work, or held
# up in it: by a lock, a sleep, a program or a server that they ask. It is laid on the process's main thread, where all questions look.

HOLD_UP = ("lock", "time", "network", "child process")  # waits in the middle of a request
ON_CPU = 0.5  # share of a core, of a span: with less a loop waits for work, and reads and writes what it waits for
SERVERS = re.compile(  # whose loops are in C, or wait in calls into C
    r"/(asyncio|uvloop|uvicorn|gunicorn|hypercorn|granian|tornado|twisted|trio|anyio|gevent|eventlet|waitress|grpc|aiohttp|multiprocessing)/|/(threading|selectors|socketserver|socket|http/server)\.py$"
)
IDLE = Frame("waits for requests", "", 0)
STARTS = ("_bootstrap", "_bootstrap_inner", "run")  # of a thread
SLICE_S = 1.0  # no rest is longer, so that each lies in the stretch that it is counted in


def work_of(spans: TrustedSpans, line_of: LineOf = no_source) -> TrustedSpans:
    """What stands for each process: its main thread, joined at its waits; of a service all of its work."""
    return served(spans, line_of) if spans.serves else join(spans, line_of)


def served(spans: TrustedSpans, line_of: LineOf = no_source) -> TrustedSpans:
    """Spans overlap, since threads work at the same time."""
    work, loop, pause = _kinds(spans, waits_of_stacks(spans, line_of))
    kept = np.zeros(0, bool)
    if len(work):
        rests = (loop[spans.stack] & ~(spans.running > ON_CPU)) | (pause[spans.stack] & (spans.running <= ON_CPU))
        kept = work[spans.stack] & ~rests
    mains = {rank: i for i, (_, rank, _, role) in reversed(list(enumerate(spans.processes))) if role == "main"}
    main = np.array([mains.get(rank, i) for i, (_, rank, _, _) in enumerate(spans.processes)], np.int64)
    found = spans.take(kept)
    process = main[found.process] if len(main) else found.process
    return found._replace(process=process, tid=found.pids[process] if len(main) else found.tid)


def laid_out(
    spans: TrustedSpans, recorded: Sequence[Interval], rank: int | None = None, line_of: LineOf = no_source
) -> TrustedSpans:
    """All work of one rank as one thread's, by default of the lowest."""
    work = served(spans, line_of)
    lowest = min((its for _, its, _, role in spans.processes if role == "main"), default=0)
    mine = [role == "main" and its == (lowest if rank is None else rank) for _, its, _, role in spans.processes]
    return one_at_a_time(work.take(work.of(mine)), union(recorded))


def one_at_a_time(work: TrustedSpans, recorded: Sequence[Interval]) -> TrustedSpans:
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


def _nothing(work: TrustedSpans, count: int) -> TrustedSpans:
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


def _kinds(spans: TrustedSpans, waits: Sequence[StackWait | None]) -> tuple[Bools, Bools, Bools]:
    """Of each stack: whether a request may be in it; whether it is a server's loop, and whether it is a thread's outermost function, which
    wait for work where they have no core."""
    own = are_own(spans.frames, "")
    of_server = [bool(SERVERS.search(frame.file)) for frame in spans.frames]
    work, loop, pause = [], [], []
    for stack, wait in zip(spans.stacks, waits, strict=True):
        outermost = _is_outermost(spans.frames, stack)
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


def main_threads(spans: TrustedSpans, rank: int) -> TrustedSpans:
    """The spans of one rank's main thread."""
    return spans.take(spans.main & spans.of([role == "main" and its == rank for _, its, _, role in spans.processes]))
