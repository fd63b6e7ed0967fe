"""Which threads of a window are folded, and below which node each of them stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ...records import Frame
from ...store.protocol import Process
from .traces import Bools, Ints, Traces, compact
from .trie import Weighed

View: TypeAlias = Literal["main", "joined", "threads"]

NO_FRAME = Frame("", "", 0)


class ThreadTime(NamedTuple):
    """One thread of the window, and for how long it was seen."""

    pid: int
    tid: int
    name: str
    rank: int
    role: str  # of its process: "main" or "worker"
    seconds: float


class Lanes(NamedTuple):
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

    def chosen(self, traces: Traces, names: dict[tuple[int, int], str]) -> Bools:
        """Which spans are of these threads; `names` by (pid, tid)."""
        chosen = traces.of([self._wants(*process) for process in traces.processes])
        if self.thread is not None:
            tids = [tid for (_, tid), name in names.items() if self.thread in (name, str(tid))]
            return chosen & np.isin(traces.tid, tids)
        return chosen if self.view == "threads" else chosen & traces.main

    def weigh(self, traces: Traces, names: dict[tuple[int, int], str]) -> Weighed:
        """Their stacks, each with its seconds, below a node for each thread or, where there are several, for each rank."""
        chosen = traces.take(self.chosen(traces, names))
        heads, head = self._heads(chosen, names)
        stacks = max(1, len(traces.stacks))
        seconds = np.bincount(head * stacks + chosen.stack, chosen.seconds).astype(np.float64)
        seen = np.flatnonzero(seconds)
        first = len(traces.frames)
        below = [(first + i,) if frame else () for i, frame in enumerate(heads)]
        rows = [below[key // stacks] + traces.stacks[key % stacks] for key in seen.tolist()]
        above = np.array([len(head) for head in below] or [0])
        return Weighed(
            frames=[*traces.frames, *(frame or NO_FRAME for frame in heads)],
            stacks=rows,
            trusted=traces.trusted[seen % stacks] + above[seen // stacks] if len(seen) else np.zeros(0, np.int64),
            seconds=seconds[seen],
        )

    def _wants(self, _run: str, rank: int, pid: int, role: str) -> bool:
        if self.rank not in (None, rank) or self.pid not in (None, pid):
            return False
        return role == "main" or self.by_thread or self.pid is not None

    def _heads(self, chosen: Traces, names: dict[tuple[int, int], str]) -> tuple[list[Frame | None], Ints]:
        """The nodes, None where a thread needs none of its own, and which of them each span stands below."""
        if not self.by_thread:
            ranks = [rank for _, rank, _, _ in chosen.processes]
            several = len(set(ranks)) > 1
            return [Frame(f"rank {rank}", "", 0) if several else None for rank in ranks], chosen.process
        threads, thread = _threads(chosen.process, chosen.tid)
        times = [_thread_time(chosen.processes, names, *key, 0.0) for key in threads]
        return [Frame(label(time), "", 0) for time in times], thread


def threads_of(traces: Traces, names: dict[tuple[int, int], str]) -> list[ThreadTime]:
    """All threads: main processes first, main threads first, then by time."""
    threads, thread = _threads(traces.process, traces.tid)
    seconds = np.bincount(thread, traces.seconds, len(threads)).tolist()
    return _in_order(
        _thread_time(traces.processes, names, *key, time_s) for key, time_s in zip(threads, seconds, strict=True)
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
