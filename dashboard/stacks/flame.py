"""Stack samples as flame graphs: read minute by minute, folded, joined at waits, prefetched."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from analysis.history import History
from analysis.stacks.fold import FlameTree, WindowStacks, gather
from analysis.stacks.frames import FrameKind, kinds_of
from analysis.stacks.spans import Interval, TrustedSpans, compact, overlaps
from analysis.stacks.threads import ThreadSelection, ThreadTime, laid_out, summed, threads_of, work_of
from analysis.stacks.tree import WeightedStacks
from analysis.stacks.trust import LineOf, no_source, trusted_spans
from analysis.stacks.wait_joins import join
from collectors.arrays import Floats, Ints
from collectors.records import Frame, Public, Searched
from collectors.store.store import StackColumns, Store, TooMuch, check, holding

# Folded minutes of runs, remembered: a window of hours is then the sum of what is known, and its two edges.
#
# What was recorded does not change once all of it has arrived. Three hours of a trainer with four workers take about a second to
# read and to join, and a tenth of that to add up.

MINUTE_S = 60.0
MIN_MINUTES = 4  # a window with fewer whole minutes is read as it is
SETTLED_S = 60.0  # before the end of the profile: nothing comes late any more
MAX_MINUTES = 1000  # remembered, of all runs
MAX_ASKED = 720  # minutes
MAX_STACKS, MAX_FRAMES = 300_000, 3_000_000  # different ones, and frames on them: 8 bytes each
MAX_ENTRIES = 2_000_000  # of all remembered minutes: 24 bytes each
READ_AT_ONCE = 60  # minutes
SPANS_AT_ONCE = 300_000
AHEAD_AT_ONCE = 3  # minutes: a request meanwhile waits for so many
AHEAD = 180  # minutes before the end of the profile


class _MinuteKey(NamedTuple):
    run: str
    joined: bool
    minute: int  # Unix time / 60


class MinuteStacks(NamedTuple):
    rank: Ints  # one entry a pair of rank and stack
    stack: Ints  # number in the table
    seconds: Floats
    threads: list[ThreadTime]
    samples: float
    hz: float
    computes_backward: bool


class MinuteCache:
    """May be asked from many threads."""

    def __init__(self, store: Store, line_of: Callable[[str], LineOf]) -> None:
        """`line_of` gives the lines of a run's files."""
        self._store, self._line_of = store, line_of
        self._lock = threading.Lock()
        self._known: OrderedDict[_MinuteKey, MinuteStacks] = OrderedDict()
        self._table = _Table()
        self._entries = 0  # of all known minutes
        self._working = 0  # questions that add up

    def gather(self, run: str, window: Interval, lanes: ThreadSelection) -> WindowStacks:
        """The same as `folding.gather` of the window's stacks."""
        whole = self._whole(run, window, lanes)
        if len(whole) < MIN_MINUTES:
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
        if self._table.stacks > MAX_STACKS / 2 or self._entries > MAX_ENTRIES / 2:
            return 0  # the rest is for what is asked
        missing = [minute for minute in range(first, settled) if _MinuteKey(run, True, minute) not in self._known]
        chosen = [minute for minute in missing if minute > missing[-1] - AHEAD_AT_ONCE]
        with self._work():
            self._remembered(run, True, chosen)
        return len(chosen)

    def _whole(self, run: str, window: Interval, lanes: ThreadSelection) -> range:
        """The minutes that lie in the window and in the settled profile; none for a choice of threads that is not kept."""
        if lanes.by_thread or lanes.pid is not None:
            return range(0)
        history = self._history(run)
        from_s = max(window[0], history.profiled_from() or 0.0)
        until_s = min(window[1], (history.profiled_until() or 0.0) - SETTLED_S)
        whole = range(math.ceil(from_s / MINUTE_S), int(until_s / MINUTE_S))
        if len(whole) > MAX_ASKED:
            raise TooMuch(
                f"the window holds {len(whole) / 60:.0f} hours of stacks; choose one of at most {MAX_ASKED // 60}"
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
        if self._table.stacks > MAX_STACKS or self._table.on_stacks > MAX_FRAMES:
            self._table = _Table()
            self._known.clear()
            self._entries = 0
        while len(self._known) > MAX_MINUTES or self._entries > MAX_ENTRIES:
            self._entries -= len(self._known.popitem(last=False)[1].stack)

    def _remembered(self, run: str, joined: bool, whole: Sequence[int]) -> list[MinuteStacks]:
        """A portion at a time, so that another question waits for one portion only."""
        keys = [_MinuteKey(run, joined, minute) for minute in whole]
        for some in self._portions([key for key in keys if key not in self._known]):
            check()
            with holding(self._lock):
                if self._table.on_stacks > 2 * MAX_FRAMES or self._entries > 2 * MAX_ENTRIES:
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
        sizes: dict[int, int] = {}
        hull = missing[0].minute * MINUTE_S, (missing[-1].minute + 1) * MINUTE_S
        for start_s, end_s, count in self._history(missing[0].run).stack_counts(hull):
            minute = int((start_s + end_s) / 2 / MINUTE_S)
            sizes[minute] = sizes.get(minute, 0) + count
        portions: list[list[_MinuteKey]] = []
        size = 0
        for key in missing:
            size += sizes.get(key.minute, 0)
            follows = portions and key.minute == portions[-1][-1].minute + 1 and len(portions[-1]) < READ_AT_ONCE
            if follows and size <= SPANS_AT_ONCE:
                portions[-1].append(key)
            else:
                portions.append([key])
                size = sizes.get(key.minute, 0)
        return portions

    def _read(self, run: str, joined: bool, ranges: list[Interval]) -> list[MinuteStacks]:
        columns = self._history(run).stacks((ranges[0][0], ranges[-1][1]))
        line_of = self._line_of(run)
        spans = trusted_spans(columns, line_of)
        mains = work_of(spans, line_of) if joined else spans
        mains = mains.take(mains.main & mains.of([role == "main" for *_, role in mains.processes]))
        numbers = self._table.numbers(mains)
        samples_a_second = columns.samples / max(float(spans.seconds.sum()), 1e-9)
        parts = zip(mains.each_within(ranges), spans.each_within(ranges), strict=True)
        return [_minute(of_mains, of_all, columns, numbers, samples_a_second) for of_mains, of_all in parts]


def _minute(
    mains: TrustedSpans, all_threads: TrustedSpans, columns: StackColumns, numbers: Ints, samples_a_second: float
) -> MinuteStacks:
    ranks = np.array([rank for _, rank, _, _ in mains.processes], np.int64)[mains.process]
    keys, key = np.unique(ranks * (1 << 32) + numbers[mains.stack], return_inverse=True)
    return MinuteStacks(
        rank=keys >> 32,
        stack=keys & ((1 << 32) - 1),
        seconds=np.bincount(key, mains.seconds, len(keys)).astype(np.float64),
        threads=threads_of(all_threads, columns.threads),
        samples=samples_a_second * float(all_threads.seconds.sum()),
        hz=columns.hz,
        computes_backward=all_threads.computes_backward,
    )


def _gathered(minutes: list[MinuteStacks], lanes: ThreadSelection, table: _Table, title: str) -> WindowStacks:
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
    weighed = WeightedStacks(
        frames=[*frames, *(Frame(f"rank {number}", "", 0) for number in heads)],
        stacks=[(head, *row) if several else row for (row, _), head in found],
        trusted=np.array([trusted + several for (_, trusted), _ in found], np.int64),
        seconds=np.bincount(key, seconds[wanted], len(keys)).astype(np.float64),
    )
    samples, hz = sum(minute.samples for minute in minutes), max(minute.hz for minute in minutes)
    computes = any(minute.computes_backward for minute in minutes)
    return WindowStacks(weighed, title if threads else lanes.title(None), threads, samples, hz, computes)


class _Table:
    """Numbers for stacks, the same for all minutes."""

    def __init__(self) -> None:
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[tuple[int, ...], int], int] = {}  # with how far it is trusted
        self.on_stacks = 0  # frames

    @property
    def stacks(self) -> int:
        return len(self._stacks)

    def numbers(self, spans: TrustedSpans) -> Ints:
        """Of each of the spans' stacks that is in use; 0 of the others."""
        frames = [self._frames.setdefault(frame, len(self._frames)) for frame in spans.frames]
        numbers = np.zeros(len(spans.stacks), np.int64)
        for i in np.unique(spans.stack).tolist():
            key = (tuple(frames[frame] for frame in spans.stacks[i]), int(spans.trusted[i]))
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


class PrefetchTarget(Protocol):
    def fold_ahead(self, run: str) -> int:
        """Fold a little that is not folded yet; how much it was."""


class Prefetcher:
    """One prefetch thread, started by the first request and restarted if it failed; `close` ends it."""

    def __init__(self, *folds: PrefetchTarget) -> None:
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


# Threads in time order: what stood at each depth, at the grain of a picture's pixels.
#
# Of what is narrower than a pixel the widest is shown: at each depth the function that took most of the pixel, below what was
# shown above it.

MAX_CELLS = 8_000_000  # pixels of all rows, 4 bytes each
MAX_BARS = 200_000  # of an answer: 60 bytes each


class Bars(NamedTuple):
    """Columns, by depth, then by time."""

    start: list[float]  # Unix seconds
    end: list[float]
    depth: list[int]
    frame: list[int]  # index into the chart's frames
    kind: list[FrameKind]


class Lane(NamedTuple):
    """A `ThreadTime` as it is drawn."""

    pid: int
    tid: int
    name: Searched
    rank: int
    role: Public
    seconds: float
    depth: int  # how many rows it takes
    spans: Bars


@dataclass(frozen=True)
class Chart:
    window: Interval
    frames: list[Frame]
    lanes: list[Lane]
    left_out: int = 0  # threads that are not drawn, since the chart would be too large


class Strip(NamedTuple):
    """A part of the picture: from one pixel up to another one."""

    first: int
    end: int


def chart(
    columns: StackColumns,
    window: Interval,
    width: int,
    lanes: ThreadSelection,
    *,
    own_folder: str = "",
    line_of: LineOf = no_source,
) -> Chart:
    """A lane for each main thread, or for each thread where these are asked for; `width` in pixels."""
    drawing = Drawing(window, width, lanes, line_of)
    drawing.add(columns, Strip(0, width))
    return drawing.chart(own_folder)


ALL_THREADS = "All threads"  # of a service, one at a time


class Drawing:
    """A chart that is drawn strip by strip, so that no more than a strip's stacks need be at hand."""

    def __init__(self, window: Interval, width: int, lanes: ThreadSelection, line_of: LineOf = no_source) -> None:
        self._window, self._width, self._lanes, self._line_of = window, width, lanes, line_of
        self._numbers: dict[tuple[str, str], int] = {}  # of functions
        self._frames: list[Frame] = []  # one for each
        self._rows: dict[
            tuple[int, int], list[Ints]
        ] = {}  # by pid and tid: at each depth the function in each pixel, -1 for none
        self._threads: list[ThreadTime] = []
        self._left_out: set[tuple[int, int]] = set()
        self._computes_backward = False

    def window_of(self, strip: Strip) -> Interval:
        edges = np.linspace(*self._window, self._width + 1)
        return float(edges[strip.first]), float(edges[strip.end])

    def add(self, columns: StackColumns, strip: Strip) -> None:
        """`columns` are those of `window_of(strip)`."""
        spans = trusted_spans(columns, self._line_of)
        self._computes_backward |= spans.computes_backward
        threads = threads_of(spans, columns.threads)
        if spans.serves and not self._lanes.by_thread:
            spans = laid_out(spans, columns.covered, self._lanes.rank, self._line_of)
            threads = [thread._replace(name=ALL_THREADS) for thread in threads if thread.tid == thread.pid]
        elif self._lanes.joined:
            spans = join(spans, self._line_of)
        spans = spans.take(self._lanes.chosen(spans, columns.threads))
        function = self._functions(spans)
        places = {pid: i for i, (_, _, pid, _) in enumerate(spans.processes)}
        for thread in threads:
            mine = spans.take((spans.process == places[thread.pid]) & (spans.tid == thread.tid))
            if len(mine.stack):
                self._threads.append(thread)
                found = _rows(
                    mine, self.window_of(strip), strip.end - strip.first, function, max(1, len(self._numbers))
                )
                self._keep((thread.pid, thread.tid), found, strip)

    def chart(self, own_folder: str = "") -> Chart:
        kinds = kinds_of(self._frames, own_folder, self._computes_backward)
        drawn, bars = [], 0
        for thread in summed(self._threads):
            rows = self._rows.get((thread.pid, thread.tid))
            lane = (
                Lane(*thread, len(rows), _bars(rows, self._window, self._width, kinds))
                if rows and bars < MAX_BARS
                else None
            )
            if lane is None:
                self._left_out.add((thread.pid, thread.tid))
            else:
                drawn.append(lane)
                bars += len(lane.spans.start)
        return Chart(self._window, self._frames, drawn, len(self._left_out))

    def _functions(self, spans: TrustedSpans) -> Ints:
        """The number of each frame's function."""
        for frame in spans.frames:
            if frame[:2] not in self._numbers:
                self._numbers[frame[:2]] = len(self._numbers)
                self._frames.append(frame)
        return np.array([self._numbers[frame[:2]] for frame in spans.frames], np.int64)

    def _keep(self, thread: tuple[int, int], found: Iterator[Ints], strip: Strip) -> None:
        if thread in self._left_out:
            return
        rows = self._rows.setdefault(thread, [])
        for depth, row in enumerate(found):
            if depth == len(rows):
                if sum(map(len, self._rows.values())) * self._width >= MAX_CELLS:
                    self._left_out.add(thread)
                    del self._rows[thread]
                    return
                rows.append(np.full(self._width, -1, np.int32))
            rows[depth][strip.first : strip.end] = row


def _rows(spans: TrustedSpans, window: Interval, width: int, function: Ints, functions: int) -> Iterator[Ints]:
    """Depth by depth, the function that is shown in each pixel; -1 for none."""
    pixel, stack, seconds = _by_pixel(spans, window, width)
    lengths = np.array([len(frames) for frames in spans.stacks], np.int64)
    starts = np.cumsum(lengths) - lengths
    flat = function[np.fromiter((frame for frames in spans.stacks for frame in frames), np.int64, int(lengths.sum()))]
    depth = 0
    while len(pixel):
        longer = lengths[stack] > depth
        here = np.where(
            longer, flat[np.minimum(starts[stack] + depth, len(flat) - 1)], functions
        )  # `functions` stands for the end
        keys, key = compact(pixel * (functions + 1) + here, width * (functions + 1))
        sums = np.bincount(key, seconds)
        owner = keys // (functions + 1)
        order = np.lexsort((sums, owner))
        widest = order[np.r_[owner[order][1:] != owner[order][:-1], True]]
        shown = np.full(width, -1)
        shown[owner[widest]] = np.where(keys[widest] % (functions + 1) == functions, -1, keys[widest] % (functions + 1))
        if (shown < 0).all():
            return
        yield shown
        kept = shown[pixel] == here
        pixel, stack, seconds = pixel[kept], stack[kept], seconds[kept]
        depth += 1


def _by_pixel(spans: TrustedSpans, window: Interval, width: int) -> tuple[Ints, Ints, np.ndarray]:
    """The seconds of each stack in each pixel: (pixel, stack, seconds)."""
    edges = np.linspace(*window, width + 1)
    span, pixel = overlaps(spans.start_s, spans.end_s, edges[:-1], edges[1:])
    seconds = np.minimum(spans.end_s[span], edges[pixel + 1]) - np.maximum(spans.start_s[span], edges[pixel])
    stacks = max(1, len(spans.stacks))
    keys, key = compact(pixel * stacks + spans.stack[span], width * stacks)
    return keys // stacks, keys % stacks, np.bincount(key, seconds * spans.weight[span])


def _bars(rows: list[Ints], window: Interval, width: int, kinds: list[FrameKind]) -> Bars:
    """Neighbouring pixels with the same functions down to a depth are one bar."""
    scale_s = (window[1] - window[0]) / width
    bars = Bars([], [], [], [], [])
    breaks = np.zeros(width + 1, bool)
    breaks[[0, -1]] = True
    for depth, row in enumerate(rows):
        breaks[1:-1] |= row[1:] != row[:-1]
        edges = np.flatnonzero(breaks)
        begins, ends = edges[:-1], edges[1:]
        there = row[begins] >= 0
        frames = row[begins[there]].tolist()
        bars.start.extend((window[0] + begins[there] * scale_s).tolist())
        bars.end.extend((window[0] + ends[there] * scale_s).tolist())
        bars.depth.extend([depth] * len(frames))
        bars.frame.extend(frames)
        bars.kind.extend(kinds[frame] for frame in frames)
    return bars


# Flame trees as folded text and as speedscope's file format.

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def to_folded(tree: FlameTree) -> str:
    """`main;forward (model.py:7);matmul (model.py:9) 1250000` a line, in microseconds of self time: what flamegraph.pl reads."""
    names = [re.sub(r"[;\n]", ":", _label(frame)) for frame in tree.frames]
    lines = [f"{';'.join(names[frame] for frame in stack)} {us}" for stack, us in _stacks(tree) if us]
    return "\n".join([*lines, ""])


def to_speedscope(tree: FlameTree, name: str = "profile") -> dict[str, Any]:
    """A sampled profile, a sample for each node that has self time."""
    stacks = [(stack, us / 1e6) for stack, us in _stacks(tree) if us]
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
    return {"$schema": SCHEMA, "name": name, "shared": {"frames": frames}, "profiles": [profile]}


def _stacks(tree: FlameTree) -> Iterator[tuple[list[int], int]]:
    """Each node as its path of frames from the root, with its self time in microseconds."""
    paths: list[list[int]] = []
    for frame, parent, self_s in zip(tree.frame.tolist(), tree.parent.tolist(), tree.self_s.tolist(), strict=True):
        paths.append([*paths[parent], frame] if parent >= 0 else [frame])
        yield paths[-1], round(self_s * 1e6)


def _label(frame: Frame) -> str:
    return f"{frame.name} ({frame.file}:{frame.line})" if frame.file else frame.name
