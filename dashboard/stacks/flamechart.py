"""Threads in time order: what stood at each depth, at the grain of a picture's pixels.

Of what is narrower than a pixel the widest is shown: at each depth the function that took most of the pixel, below what was
shown above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.stacks.frames import FrameKind, kinds_of
from analysis.stacks.joining import join
from analysis.stacks.threads import Lanes, ThreadTime, laid_out, summed, threads_of
from analysis.stacks.traces import Ints, Range, Traces, compact, overlaps
from analysis.stacks.trust import LineOf, no_source, traces_of
from collectors.records import Frame
from collectors.store.store import StackColumns

MOST_CELLS = 8_000_000  # pixels of all rows, 4 bytes each
MOST_BARS = 200_000  # of an answer: 60 bytes each


class Bars(NamedTuple):
    """Columns, by depth, then by time."""

    start: list[float]  # Unix seconds
    end: list[float]
    depth: list[int]
    frame: list[int]  # index into the chart's frames
    kind: list[FrameKind]


@dataclass(frozen=True)
class Lane:
    thread: ThreadTime
    depth: int  # how many rows it takes
    bars: Bars


@dataclass(frozen=True)
class Chart:
    window: Range
    frames: list[Frame]
    lanes: list[Lane]
    left_out: int = 0  # threads that are not drawn, since the chart would be too large


class Strip(NamedTuple):
    """A part of the picture: from one pixel up to another one."""

    first: int
    end: int


def chart(
    columns: StackColumns, window: Range, width: int, lanes: Lanes, *, own_folder: str = "", line_of: LineOf = no_source
) -> Chart:
    """A lane for each main thread, or for each thread where these are asked for; `width` in pixels."""
    drawing = Drawing(window, width, lanes, line_of)
    drawing.add(columns, Strip(0, width))
    return drawing.chart(own_folder)


ALL_THREADS = "All threads"  # of a service, one at a time


class Drawing:
    """A chart that is drawn strip by strip, so that no more than a strip's stacks need be at hand."""

    def __init__(self, window: Range, width: int, lanes: Lanes, line_of: LineOf = no_source) -> None:
        self._window, self._width, self._lanes, self._line_of = window, width, lanes, line_of
        self._numbers: dict[tuple[str, str], int] = {}  # of functions
        self._frames: list[Frame] = []  # one for each
        self._rows: dict[
            tuple[int, int], list[Ints]
        ] = {}  # by pid and tid: at each depth the function in each pixel, -1 for none
        self._threads: list[ThreadTime] = []
        self._left_out: set[tuple[int, int]] = set()
        self._computes_backward = False

    def window_of(self, strip: Strip) -> Range:
        edges = np.linspace(*self._window, self._width + 1)
        return float(edges[strip.first]), float(edges[strip.end])

    def add(self, columns: StackColumns, strip: Strip) -> None:
        """`columns` are those of `window_of(strip)`."""
        traces = traces_of(columns, self._line_of)
        self._computes_backward |= traces.computes_backward
        threads = threads_of(traces, columns.threads)
        if traces.serves and not self._lanes.by_thread:
            traces = laid_out(traces, columns.covered, self._lanes.rank, self._line_of)
            threads = [thread._replace(name=ALL_THREADS) for thread in threads if thread.tid == thread.pid]
        elif self._lanes.joined:
            traces = join(traces, self._line_of)
        traces = traces.take(self._lanes.chosen(traces, columns.threads))
        function = self._functions(traces)
        places = {pid: i for i, (_, _, pid, _) in enumerate(traces.processes)}
        for thread in threads:
            mine = traces.take((traces.process == places[thread.pid]) & (traces.tid == thread.tid))
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
                Lane(thread, len(rows), _bars(rows, self._window, self._width, kinds))
                if rows and bars < MOST_BARS
                else None
            )
            if lane is None:
                self._left_out.add((thread.pid, thread.tid))
            else:
                drawn.append(lane)
                bars += len(lane.bars.start)
        return Chart(self._window, self._frames, drawn, len(self._left_out))

    def _functions(self, traces: Traces) -> Ints:
        """The number of each frame's function."""
        for frame in traces.frames:
            if frame[:2] not in self._numbers:
                self._numbers[frame[:2]] = len(self._numbers)
                self._frames.append(frame)
        return np.array([self._numbers[frame[:2]] for frame in traces.frames], np.int64)

    def _keep(self, thread: tuple[int, int], found: Iterator[Ints], strip: Strip) -> None:
        if thread in self._left_out:
            return
        rows = self._rows.setdefault(thread, [])
        for depth, row in enumerate(found):
            if depth == len(rows):
                if sum(map(len, self._rows.values())) * self._width >= MOST_CELLS:
                    self._left_out.add(thread)
                    del self._rows[thread]
                    return
                rows.append(np.full(self._width, -1, np.int32))
            rows[depth][strip.first : strip.end] = row


def _rows(traces: Traces, window: Range, width: int, function: Ints, functions: int) -> Iterator[Ints]:
    """Depth by depth, the function that is shown in each pixel; -1 for none."""
    pixel, stack, seconds = _by_pixel(traces, window, width)
    lengths = np.array([len(frames) for frames in traces.stacks], np.int64)
    starts = np.cumsum(lengths) - lengths
    flat = function[np.fromiter((frame for frames in traces.stacks for frame in frames), np.int64, int(lengths.sum()))]
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


def _by_pixel(traces: Traces, window: Range, width: int) -> tuple[Ints, Ints, np.ndarray]:
    """The seconds of each stack in each pixel: (pixel, stack, seconds)."""
    edges = np.linspace(*window, width + 1)
    span, pixel = overlaps(traces.start_s, traces.end_s, edges[:-1], edges[1:])
    seconds = np.minimum(traces.end_s[span], edges[pixel + 1]) - np.maximum(traces.start_s[span], edges[pixel])
    stacks = max(1, len(traces.stacks))
    keys, key = compact(pixel * stacks + traces.stack[span], width * stacks)
    return keys // stacks, keys % stacks, np.bincount(key, seconds * traces.weight[span])


def _bars(rows: list[Ints], window: Range, width: int, kinds: list[FrameKind]) -> Bars:
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
