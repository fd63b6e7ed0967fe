"""Join stacks at waits: while a thread waits for others, what they did then hangs below its wait.

The time waited is shared out equally among those that were at work at that moment, so that a tree has one denominator, the
main thread's wall time, from its root to the slow line in a worker. Where no worker was at work the wait stays as it is.
Joins go over several hops: a thread of the main process that waits for workers passes on what these do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame

from .spans import TrustedSpans, compact, overlaps
from .trust import LineOf, no_source
from .waits import BACKWARD, Joined, StackWait, WaitFunction, entered, holds_lock, lock_names, wait_at, wait_of, waiting

IN_WORKERS = Frame("in the workers", "", 0)
IN_THREADS = Frame("in other threads", "", 0)
IN_PINNING = Frame("in the pin-memory thread", "", 0)
IN_BACKWARD = Frame("in the backward threads", "", 0)
LEAD_IN = ("run", "/multiprocessing/process.py")  # what stands above it in a worker is how the worker was started
PINNING = "torch/utils/data/_utils/pin_memory.py"
STARTED_BY_PYTHON = "/threading.py"  # in the root frame of a thread; those of autograd's own threads have another
PROCESSES: tuple[Joined, ...] = ("workers", "child")  # a program that is Python has stacks as workers do
OTHERS: tuple[Joined, ...] = (*PROCESSES, "threads", "lock", "ranks")
MOMENT_S = 1e-7  # what is shorter is rounding
LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python\d")


def in_rank(rank: int) -> Frame:
    return Frame(f"in rank {rank}", "", 0)


def rank_of_head(frame: Frame) -> int | None:
    """`Frame("in rank 2", "", 0)` -> 2"""
    word, _, number = frame.name.rpartition(" ")
    return int(number) if word == "in rank" and not frame.file else None


def is_head(frame: Frame) -> bool:
    """Whether the frame stands for a join, not for a function."""
    return not frame.file and frame.name.startswith("in ")


def join(spans: TrustedSpans, line_of: LineOf = no_source) -> TrustedSpans:
    """The same time of the same main threads, with their waits for others replaced by what those did."""
    joining = _JoinContext(spans, waits_of_stacks(spans, line_of))
    for hop in _hops(line_of):
        joining = hop.of(joining)
    return joining.spans


def waits_of_stacks(
    spans: TrustedSpans, line_of: LineOf = no_source, of: Iterable[int] | None = None
) -> list[StackWait | None]:
    """What each stack waits for, or each of these; None where its last frame is at work, and of others."""
    rows: dict[int, WaitFunction | None] = {}  # of a frame

    def row_of(frame: int) -> WaitFunction | None:
        if frame not in rows:
            row = wait_of(spans.frames[frame])
            rows[frame] = None if row is BACKWARD and spans.computes_backward else row
        return rows[frame]

    locks = Locks(spans.frames, line_of)
    by_line: dict[int, WaitFunction | None] = {}
    found: list[StackWait | None] = [None] * len(spans.stacks)
    for i in range(len(found)) if of is None else of:
        stack = spans.stacks[i]
        if not stack:
            continue
        leaf = stack[-1]
        if row_of(leaf):
            found[i] = waiting([row_of(frame) for frame in stack])
            continue
        if leaf not in by_line:
            text = line_of(spans.frames[leaf].file, spans.frames[leaf].line)
            by_line[leaf] = wait_at(text, locks.entered(text))
        if at_line := by_line[leaf]:
            found[i] = StackWait(at_line, len(stack) - 1)
    return found


class Locks:
    """Which names are locks in the user's source files, read when a `with` statement first asks."""

    def __init__(self, frames: Iterable[Frame], line_of: LineOf) -> None:
        self._frames, self._line_of = frames, line_of
        self._known: set[str] | None = None

    @property
    def names(self) -> set[str]:
        if self._known is None:
            files = {frame.file for frame in self._frames if frame.file and not LIBRARY.search(frame.file)}
            self._known = lock_names(sorted(files), self._line_of)
        return self._known

    def entered(self, text: str) -> Collection[str]:
        """Those names for a line that enters a variable, none for any other."""
        return self.names if entered(text) else ()


def at_work(spans: TrustedSpans, line_of: LineOf = no_source) -> TrustedSpans:
    """Without waits and sleep."""
    return spans.take(~is_waiting(spans, line_of))


def is_waiting(spans: TrustedSpans, line_of: LineOf = no_source) -> Bools:
    """Which spans wait. A part of the spans has few of their stacks: only those are looked at."""
    used = np.flatnonzero(np.bincount(spans.stack, minlength=len(spans.stacks)))
    waits: Bools = np.array([wait is not None for wait in waits_of_stacks(spans, line_of, used.tolist())], bool)
    return waits[spans.stack] if len(waits) else np.zeros(0, bool)


class _JoinContext(NamedTuple):
    spans: TrustedSpans
    waits: list[StackWait | None]  # of each stack; where something was joined, of that

    def waiting_for(self, kinds: tuple[Joined, ...]) -> Bools:
        wanted: Bools = np.array([wait is not None and wait.wait.joined in kinds for wait in self.waits], bool)
        return wanted[self.spans.stack] if len(wanted) else np.zeros(0, bool)


class _Group(NamedTuple):
    """Who waits, and who may explain it, as marks on the spans."""

    waiters: Bools
    others: Bools
    heads: list[Frame]  # what stands above the stacks of each process where they are joined


class _Hop(NamedTuple):
    kinds: tuple[Joined, ...]
    groups: Callable[[TrustedSpans], Iterator[_Group]]
    idle: tuple[Joined, ...] = OTHERS  # who waits for these explains nothing

    def of(self, joining: _JoinContext) -> _JoinContext:
        if not any(wait is not None and wait.wait.joined in self.kinds for wait in joining.waits):
            return joining
        wanted, at_work = joining.waiting_for(self.kinds), ~joining.waiting_for(self.idle)
        pieces = [
            _share_out(joining.spans, waits, busy, group.heads)
            for group in self.groups(joining.spans)
            for busy in [np.flatnonzero(group.others & at_work)]
            if len(busy)
            for waits in _by_thread(joining.spans, np.flatnonzero(group.waiters & wanted))
        ]
        return _rebuilt(joining, pieces) if pieces else joining


def _inside_workers(spans: TrustedSpans) -> Iterator[_Group]:
    for process in _processes(spans, "worker"):
        here, main = spans.process == process, spans.main
        yield _Group(here & main, here & ~main, _heads(spans, IN_THREADS))


def _other_threads_for_workers(spans: TrustedSpans) -> Iterator[_Group]:
    others = ~spans.main & ~_standing_in(spans, PINNING)
    for process in _processes(spans, "main"):
        yield _Group((spans.process == process) & others, _workers(spans, process), _heads(spans, IN_WORKERS))


def _main_for_pinning(spans: TrustedSpans) -> Iterator[_Group]:
    pinning = ~spans.main & _standing_in(spans, PINNING)
    for process in _processes(spans, "main"):
        here = spans.process == process
        yield _Group(here & spans.main, here & pinning, _heads(spans, IN_PINNING))


def _main_for_workers(spans: TrustedSpans) -> Iterator[_Group]:
    for process in _processes(spans, "main"):
        yield _Group((spans.process == process) & spans.main, _workers(spans, process), _heads(spans, IN_WORKERS))


def _main_for_threads(spans: TrustedSpans) -> Iterator[_Group]:
    for process in _processes(spans, "main"):
        here, main = spans.process == process, spans.main
        yield _Group(here & main, here & ~main, _heads(spans, IN_THREADS))


def _main_for_holders(line_of: LineOf) -> Callable[[TrustedSpans], Iterator[_Group]]:
    def groups(spans: TrustedSpans) -> Iterator[_Group]:
        for group in _main_for_threads(spans):
            stacks = np.unique(spans.stack[group.others]).tolist()
            frames = {frame for stack in stacks for frame in spans.stacks[stack]}
            names = Locks(spans.frames, line_of).names if frames else ()
            holding = {i for i in frames if holds_lock(spans.frames[i], line_of, names)}
            holders = [stack for stack in stacks if not holding.isdisjoint(spans.stacks[stack])]
            yield group._replace(others=group.others & np.isin(spans.stack, holders))

    return groups


def _main_for_backward(spans: TrustedSpans) -> Iterator[_Group]:
    roots = [bool(stack) and not spans.frames[stack[0]].file.endswith(STARTED_BY_PYTHON) for stack in spans.stacks]
    foreign = np.array(roots, bool)[spans.stack]
    for process in _processes(spans, "main"):
        here, main = spans.process == process, spans.main
        yield _Group(here & main, here & ~main & foreign, _heads(spans, IN_BACKWARD))


def _main_for_ranks(spans: TrustedSpans) -> Iterator[_Group]:
    ranks, main = [rank for _, rank, _, _ in spans.processes], spans.main
    for process in _processes(spans, "main"):
        others = [role == "main" and rank != ranks[process] for _, rank, _, role in spans.processes]
        yield _Group((spans.process == process) & main, main & spans.of(others), [in_rank(rank) for rank in ranks])


def _hops(line_of: LineOf) -> list[_Hop]:
    """In order: what a hop leaves is the next one's."""
    sleepers: tuple[Joined, ...] = (*OTHERS, "sleep")
    return [
        _Hop(("threads", "lock"), _inside_workers, idle=sleepers),
        _Hop(PROCESSES, _other_threads_for_workers),
        _Hop(PROCESSES, _main_for_pinning),
        _Hop(PROCESSES, _main_for_workers),
        _Hop(("lock",), _main_for_holders(line_of)),
        _Hop(("threads", "lock"), _main_for_threads, idle=sleepers),
        _Hop(("backward",), _main_for_backward),
        _Hop(("ranks",), _main_for_ranks),
        _Hop(("backward",), _main_for_ranks, idle=(*OTHERS, "backward")),  # gradients are exchanged there
    ]


def _processes(spans: TrustedSpans, role: str) -> Iterator[int]:
    yield from (i for i, (*_, its) in enumerate(spans.processes) if its == role)


def _heads(spans: TrustedSpans, head: Frame) -> list[Frame]:
    return [head] * len(spans.processes)


def _workers(spans: TrustedSpans, process: int) -> Bools:
    """The main threads of a process's workers: those of its rank."""
    rank = spans.processes[process][1]
    return spans.main & spans.of([role == "worker" and its == rank for _, its, _, role in spans.processes])


def _standing_in(spans: TrustedSpans, file: str) -> Bools:
    there = {i for i, frame in enumerate(spans.frames) if frame.file.endswith(file)}
    stacks = np.array([bool(there) and not there.isdisjoint(stack) for stack in spans.stacks], bool)
    standing: Bools = stacks[spans.stack] if len(stacks) else np.zeros(0, bool)
    return standing


def _by_thread(spans: TrustedSpans, chosen: Ints) -> Iterator[Ints]:
    """The chosen of each thread, in order of time."""
    ordered = chosen[np.argsort(spans.start_s[chosen], kind="stable")]
    for tid in np.unique(spans.tid[ordered]):
        yield ordered[spans.tid[ordered] == tid]


class _Pieces(NamedTuple):
    """Parts of waits: each with the stack of a worker at that time, below a head of its own; -1 where no worker was at work."""

    wait: Ints  # index of the span that waited
    other: Ints
    head: Ints  # index into heads
    heads: list[Frame]
    start_s: Floats
    end_s: Floats
    weight: Floats
    running: Floats  # of the worker, else of the waiting thread


def _share_out(spans: TrustedSpans, waits: Ints, busy: Ints, heads: list[Frame]) -> _Pieces:
    """Every overlap of one thread's waits with a worker, by weight; then the rest of the waits."""
    begin_s = float(spans.start_s[waits[0]])  # small numbers keep their microseconds
    starts, ends = spans.start_s[waits] - begin_s, spans.end_s[waits] - begin_s
    busy_starts, busy_ends = spans.start_s[busy] - begin_s, spans.end_s[busy] - begin_s
    who, which = overlaps(busy_starts, busy_ends, starts, ends)
    clock = _clock(busy_starts, busy_ends, spans.weight[busy])
    # A share only grows with time, so that the later of two moments is the one with the greater share.
    lo_share = np.maximum(np.interp(starts, clock.moments, clock.share)[which], clock.share_at_start[who])
    hi_share = np.minimum(np.interp(ends, clock.moments, clock.share)[which], clock.share_at_end[who])
    lo, hi = np.maximum(starts[which], busy_starts[who]), np.minimum(ends[which], busy_ends[who])
    share = (hi_share - lo_share) * spans.weight[busy][who] / np.maximum(hi - lo, MOMENT_S)
    left, gap = overlaps(starts, ends, clock.gap_starts, clock.gap_ends)
    return _Pieces(
        wait=waits[np.r_[which, left]],
        other=np.r_[spans.stack[busy][who], np.full(len(left), -1)],
        head=np.r_[spans.process[busy][who], np.zeros(len(left), np.int64)],
        heads=heads,
        start_s=np.r_[lo, np.maximum(starts[left], clock.gap_starts[gap])] + begin_s,
        end_s=np.r_[hi, np.minimum(ends[left], clock.gap_ends[gap])] + begin_s,
        weight=spans.weight[waits][np.r_[which, left]] * np.r_[np.maximum(share, 0.0), np.ones(len(left))],
        running=np.r_[spans.running[busy][who], spans.running[waits][left]],
    )


class _Clock(NamedTuple):
    """Sums over time, at each moment where a worker starts or stops; and the gaps without one."""

    moments: Floats
    share: Floats  # seconds that fell to one of weight 1 among those at work, had they shared out all time
    share_at_start: Floats  # the same at the start and the end of each span of work
    share_at_end: Floats
    gap_starts: Floats
    gap_ends: Floats


def _clock(starts: Floats, ends: Floats, weight: Floats) -> _Clock:
    moments = np.r_[starts, ends]
    order = np.argsort(moments, kind="stable")
    ordered = moments[order]
    working = np.cumsum(np.where(order < len(starts), 1, -1))[:-1]
    together = np.maximum(np.cumsum(np.r_[weight, -weight][order])[:-1], 1e-6)
    elapsed = np.diff(ordered)
    share = np.r_[0.0, np.cumsum(np.where(working > 0, elapsed / together, 0.0))]
    at = np.empty(len(order))
    at[order] = share
    idle = np.flatnonzero((working == 0) & (elapsed > MOMENT_S))
    return _Clock(
        ordered,
        share,
        at[: len(starts)],
        at[len(starts) :],
        np.r_[-np.inf, ordered[idle], ordered[-1]],
        np.r_[ordered[0], ordered[idle + 1], np.inf],
    )


def _rebuilt(joining: _JoinContext, parts: list[_Pieces]) -> _JoinContext:
    """The spans with some of them replaced by their pieces."""
    spans, waits = joining
    split = np.zeros(len(spans.stack), bool)
    split[np.concatenate([part.wait for part in parts])] = True
    heads = list(dict.fromkeys(head for part in parts for head in part.heads))
    places = [np.array([heads.index(head) for head in part.heads]) for part in parts]
    whole = spans.take(~split)
    cut = spans.take(np.concatenate([part.wait for part in parts]))
    other = np.concatenate([part.other for part in parts])
    head = np.concatenate([place[part.head] for place, part in zip(places, parts, strict=True)])
    above, over = compact(cut.stack, len(spans.stacks))
    below, under = compact(other + 1, len(spans.stacks) + 1)
    keys, pieces = compact((over * len(below) + under) * len(heads) + head, len(above) * len(below) * len(heads))
    triples = zip(
        above[keys // len(heads) // len(below)].tolist(),
        below[keys // len(heads) % len(below)].tolist(),
        (keys % len(heads)).tolist(),
        strict=True,
    )
    made = [_joined_stack(joining, len(spans.frames), *triple) for triple in triples]
    return _JoinContext(
        spans._replace(
            frames=[*spans.frames, *heads],
            stacks=[*spans.stacks, *(joined.stack for joined in made)],
            trusted=np.r_[spans.trusted, np.array([joined.trusted for joined in made], np.int64)],
            start_s=np.r_[whole.start_s, *(part.start_s for part in parts)],
            end_s=np.r_[whole.end_s, *(part.end_s for part in parts)],
            weight=np.r_[whole.weight, *(part.weight for part in parts)],
            process=np.r_[whole.process, cut.process],
            tid=np.r_[whole.tid, cut.tid],
            stack=np.r_[whole.stack, len(spans.stacks) + pieces],
            gil=np.r_[whole.gil, cut.gil],
            running=np.r_[whole.running, *(part.running for part in parts)],
        ),
        [*waits, *(joined.wait for joined in made)],
    )


class _JoinedStack(NamedTuple):
    stack: tuple[int, ...]
    trusted: int
    wait: StackWait | None


def _joined_stack(joining: _JoinContext, first_head: int, stack: int, other: int, head: int) -> _JoinedStack:
    """A wait down to its first frame, then the worker's frames below its own lead-in. `other` is 0 for no worker, else its index + 1."""
    spans, waits = joining
    above, wait = spans.stacks[stack], waits[stack]
    if other == 0 or wait is None:
        return _JoinedStack(above, int(spans.trusted[stack]), wait)
    below = spans.stacks[other - 1]
    lead_in = max((i + 1 for i, frame in enumerate(below) if _leads_in(spans.frames[frame])), default=0)
    trusted = int(spans.trusted[stack])
    if trusted > wait.since:
        trusted = wait.since + 2 + max(0, int(spans.trusted[other - 1]) - lead_in)
    return _JoinedStack(
        (*above[: wait.since + 1], first_head + head, *below[lead_in:]),
        trusted,
        _shifted(waits[other - 1], wait, lead_in),
    )


def _shifted(wait: StackWait | None, above: StackWait, lead_in: int) -> StackWait | None:
    """What the other waits for itself, where it stands now."""
    return wait._replace(since=wait.since - lead_in + above.since + 2) if wait else None


def _leads_in(frame: Frame) -> bool:
    return frame.name.rpartition(".")[2] == LEAD_IN[0] and frame.file.endswith(LEAD_IN[1])
