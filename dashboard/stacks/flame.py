"""Stack samples as flame graphs: read minute by minute, folded, joined at waits, prefetched."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np

from analysis.history import History
from analysis.stacks.fold import Gathered, gather
from analysis.stacks.threads import Lanes, ThreadTime, summed, threads_of, work_of
from analysis.stacks.traces import Floats, Ints, Range, Traces
from analysis.stacks.tree import Weighed
from analysis.stacks.trust import LineOf, traces_of
from collectors.records import Frame
from collectors.store.store import StackColumns, Store, TooMuch, check, holding

# Folded minutes of runs, remembered: a window of hours is then the sum of what is known, and its two edges.
#
# What was recorded does not change once all of it has arrived. Three hours of a trainer with four workers take about a second to
# read and to join, and a tenth of that to add up.

MINUTE_S = 60.0
LEAST = 4  # a window with fewer whole minutes is read as it is
SETTLED_S = 60.0  # before the end of the profile: nothing comes late any more
MOST_MINUTES = 1000  # remembered, of all runs
MOST_ASKED = 720  # minutes
MOST_STACKS, MOST_FRAMES = 300_000, 3_000_000  # different ones, and frames on them: 8 bytes each
MOST_ENTRIES = 2_000_000  # of all remembered minutes: 24 bytes each
READ_AT_ONCE = 60  # minutes
SPANS_AT_ONCE = 300_000
AHEAD_AT_ONCE = 3  # minutes: a request meanwhile waits for so many
AHEAD = 180  # minutes before the end of the profile


class _MinuteKey(NamedTuple):
    run: str
    joined: bool
    minute: int  # Unix time / 60


class Minute(NamedTuple):
    rank: Ints  # one entry a pair of rank and stack
    stack: Ints  # number in the table
    seconds: Floats
    threads: list[ThreadTime]
    samples: float
    hz: float
    computes_backward: bool


class Minutes:
    """May be asked from many threads."""

    def __init__(self, store: Store, line_of: Callable[[str], LineOf]) -> None:
        """`line_of` gives the lines of a run's files."""
        self._store, self._line_of = store, line_of
        self._lock = threading.Lock()
        self._known: OrderedDict[_MinuteKey, Minute] = OrderedDict()
        self._table = _Table()
        self._entries = 0  # of all known minutes
        self._working = 0  # questions that add up

    def gather(self, run: str, window: Range, lanes: Lanes) -> Gathered:
        """The same as `folding.gather` of the window's stacks."""
        whole = self._whole(run, window, lanes)
        if len(whole) < LEAST:
            return gather(self._history(run).stacks(window), lanes, line_of=self._line_of(run))
        edges = [(window[0], whole[0] * MINUTE_S), ((whole[-1] + 1) * MINUTE_S, window[1])]
        with self._work():
            minutes = self._remembered(run, lanes.joined, whole)
            with holding(self._lock):
                rest = [
                    minute for edge in edges if edge[1] > edge[0] for minute in self._read(run, lanes.joined, [edge])
                ]
                title = lanes.title(run, self._history(run).is_service)
                return _gathered([*minutes, *rest], lanes, self._table, title)

    def fold_ahead(self, run: str) -> int:
        """Remember the newest few of the last hours' minutes that are not known yet, joined as pages ask for them; how many it were."""
        history = self._history(run)
        settled = int(((history.profiled_until() or 0.0) - SETTLED_S) / MINUTE_S)
        first = max(0, settled - AHEAD, math.ceil((history.profiled_from() or 0.0) / MINUTE_S))
        if self._table.stacks > MOST_STACKS / 2 or self._entries > MOST_ENTRIES / 2:
            return 0  # the rest is for what is asked
        missing = [minute for minute in range(first, settled) if _MinuteKey(run, True, minute) not in self._known]
        chosen = [minute for minute in missing if minute > missing[-1] - AHEAD_AT_ONCE]
        with self._work():
            self._remembered(run, True, chosen)
        return len(chosen)

    def _whole(self, run: str, window: Range, lanes: Lanes) -> range:
        """The minutes that lie in the window and in the settled profile; none for a choice of threads that is not kept."""
        if lanes.by_thread or lanes.pid is not None:
            return range(0)
        history = self._history(run)
        from_s = max(window[0], history.profiled_from() or 0.0)
        until_s = min(window[1], (history.profiled_until() or 0.0) - SETTLED_S)
        whole = range(math.ceil(from_s / MINUTE_S), int(until_s / MINUTE_S))
        if len(whole) > MOST_ASKED:
            raise TooMuch(
                f"the window holds {len(whole) / 60:.0f} hours of stacks; choose one of at most {MOST_ASKED // 60}"
            )
        return whole

    def _history(self, run: str) -> History:
        return History(self._store, run)

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Nothing is forgotten while a request adds up."""
        with holding(self._lock):
            if not self._working:
                self._forget()
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    def _forget(self) -> None:
        if self._table.stacks > MOST_STACKS or self._table.on_stacks > MOST_FRAMES:
            self._table = _Table()
            self._known.clear()
            self._entries = 0
        while len(self._known) > MOST_MINUTES or self._entries > MOST_ENTRIES:
            self._entries -= len(self._known.popitem(last=False)[1].stack)

    def _remembered(self, run: str, joined: bool, whole: Sequence[int]) -> list[Minute]:
        """A portion at a time, so that another question waits for one portion only."""
        keys = [_MinuteKey(run, joined, minute) for minute in whole]
        for some in self._portions([key for key in keys if key not in self._known]):
            check()
            with holding(self._lock):
                if self._table.on_stacks > 2 * MOST_FRAMES or self._entries > 2 * MOST_ENTRIES:
                    raise TooMuch("the window holds too many different stacks; choose a shorter one")
                ranges = [(key.minute * MINUTE_S, (key.minute + 1) * MINUTE_S) for key in some]
                for key, minute in zip(some, self._read(run, joined, ranges), strict=True):
                    self._entries += len(minute.stack) - (len(self._known[key].stack) if key in self._known else 0)
                    self._known[key] = minute
        with holding(self._lock):
            for key in keys:
                self._known.move_to_end(key)
            return [self._known[key] for key in keys]

    def _portions(self, missing: list[_MinuteKey]) -> list[list[_MinuteKey]]:
        """Neighbouring minutes of which so much was recorded that reading them at once is cheap."""
        if not missing:
            return []
        spans: dict[int, int] = {}
        hull = missing[0].minute * MINUTE_S, (missing[-1].minute + 1) * MINUTE_S
        for start_s, end_s, count in self._history(missing[0].run).stack_counts(hull):
            minute = int((start_s + end_s) / 2 / MINUTE_S)
            spans[minute] = spans.get(minute, 0) + count
        portions: list[list[_MinuteKey]] = []
        size = 0
        for key in missing:
            size += spans.get(key.minute, 0)
            follows = portions and key.minute == portions[-1][-1].minute + 1 and len(portions[-1]) < READ_AT_ONCE
            if follows and size <= SPANS_AT_ONCE:
                portions[-1].append(key)
            else:
                portions.append([key])
                size = spans.get(key.minute, 0)
        return portions

    def _read(self, run: str, joined: bool, ranges: list[Range]) -> list[Minute]:
        columns = self._history(run).stacks((ranges[0][0], ranges[-1][1]))
        line_of = self._line_of(run)
        traces = traces_of(columns, line_of)
        mains = work_of(traces, line_of) if joined else traces
        mains = mains.take(mains.main & mains.of([role == "main" for *_, role in mains.processes]))
        numbers = self._table.numbers(mains)
        samples_a_second = columns.samples / max(float(traces.seconds.sum()), 1e-9)
        parts = zip(mains.each_within(ranges), traces.each_within(ranges), strict=True)
        return [_minute(of_mains, of_all, columns, numbers, samples_a_second) for of_mains, of_all in parts]


def _minute(
    mains: Traces, all_threads: Traces, columns: StackColumns, numbers: Ints, samples_a_second: float
) -> Minute:
    ranks = np.array([rank for _, rank, _, _ in mains.processes], np.int64)[mains.process]
    keys, key = np.unique(ranks * (1 << 32) + numbers[mains.stack], return_inverse=True)
    return Minute(
        rank=keys >> 32,
        stack=keys & ((1 << 32) - 1),
        seconds=np.bincount(key, mains.seconds, len(keys)).astype(np.float64),
        threads=threads_of(all_threads, columns.threads),
        samples=samples_a_second * float(all_threads.seconds.sum()),
        hz=columns.hz,
        computes_backward=all_threads.computes_backward,
    )


def _gathered(minutes: list[Minute], lanes: Lanes, table: _Table, title: str) -> Gathered:
    rank, stack, seconds = (np.concatenate([minute[i] for minute in minutes]) for i in range(3))
    wanted = np.ones(len(rank), bool) if lanes.rank is None else rank == lanes.rank
    keys, key = np.unique(rank[wanted] * (1 << 32) + stack[wanted], return_inverse=True)
    threads = summed(thread for minute in minutes for thread in minute.threads)
    several = len({thread.rank for thread in threads}) > 1
    frames, rows = table.frames(), table.rows()
    heads = {number: len(frames) + i for i, number in enumerate(sorted({thread.rank for thread in threads}))}
    found = [
        (rows[number], heads[its])
        for its, number in zip((keys >> 32).tolist(), (keys & ((1 << 32) - 1)).tolist(), strict=True)
    ]
    weighed = Weighed(
        frames=[*frames, *(Frame(f"rank {number}", "", 0) for number in heads)],
        stacks=[(head, *row) if several else row for (row, _), head in found],
        trusted=np.array([trusted + several for (_, trusted), _ in found], np.int64),
        seconds=np.bincount(key, seconds[wanted], len(keys)).astype(np.float64),
    )
    samples, hz = sum(minute.samples for minute in minutes), max(minute.hz for minute in minutes)
    computes = any(minute.computes_backward for minute in minutes)
    return Gathered(weighed, title if threads else lanes.title(None), threads, samples, hz, computes)


class _Table:
    """Numbers for stacks, the same for all minutes."""

    def __init__(self) -> None:
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[tuple[int, ...], int], int] = {}  # with how far it is trusted
        self.on_stacks = 0  # frames

    @property
    def stacks(self) -> int:
        return len(self._stacks)

    def numbers(self, traces: Traces) -> Ints:
        """Of each of the traces' stacks that is in use; 0 of the others."""
        frames = [self._frames.setdefault(frame, len(self._frames)) for frame in traces.frames]
        numbers = np.zeros(len(traces.stacks), np.int64)
        for i in np.unique(traces.stack).tolist():
            key = (tuple(frames[frame] for frame in traces.stacks[i]), int(traces.trusted[i]))
            if key not in self._stacks:
                self.on_stacks += len(key[0])
            numbers[i] = self._stacks.setdefault(key, len(self._stacks))
        return numbers

    def frames(self) -> list[Frame]:
        return list(self._frames)

    def rows(self) -> list[tuple[tuple[int, ...], int]]:
        return list(self._stacks)


# Fold the minutes of a run on view before its hours are requested, a little at a time.

SHARE = 0.1  # of the time, so of one core, until all is folded


class Folds(Protocol):
    def fold_ahead(self, run: str) -> int:
        """Fold a little that is not folded yet; how much it was."""


class Ahead:
    """One prefetch thread, started by the first request and restarted if it failed; `close` ends it."""

    def __init__(self, *folds: Folds) -> None:
        self._folds = folds
        self._run = ""
        self._wanted, self._closed = threading.Event(), threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def want(self, run: str) -> None:
        """This run is on view; the last call wins."""
        self._run = run
        with self._starting:
            if not self._closed.is_set() and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name="fold-ahead", daemon=True)
                self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while self._wanted.wait() and not self._closed.is_set():
            self._wanted.clear()
            self._fold()

    def _fold(self) -> None:
        """Until nothing is left, or all is over."""
        while not self._closed.is_set():
            begun_s = time.perf_counter()
            if not sum(folds.fold_ahead(self._run) for folds in self._folds):
                return
            self._closed.wait((time.perf_counter() - begun_s) * (1 / SHARE - 1))
