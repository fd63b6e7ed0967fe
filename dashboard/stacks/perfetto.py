"""A window of a run as a trace in Chrome's JSON format, for ui.perfetto.dev, chrome://tracing and `deepseek-dashboard open`.

Stacks are slices of their threads, named as PyTorch's profiler names functions of Python; counters of GPUs and the host are counter tracks;
steps are annotations `ProfilerStep#12`; events are instants, or spans where they lasted.
The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from analysis.stacks.spans import Interval
from analysis.units import Units
from collectors.records import Event, Frame
from collectors.store.store import Buckets, Series, StackColumns, TooMuch, check

Entry: TypeAlias = dict[str, Any]

MAX_SLICES = 300_000  # 200 bytes each
MAX_COUNTS = 200_000  # points of all counters
MAX_BUCKETS = 5_000  # of a counter
MACHINE = 1 << 23  # ids beyond those of processes: the host and its cards, and ranks whose process is not known
STEPS = 0  # the thread of a process that holds its steps; no real thread has this id
CHECK_EVERY = 10_000  # spans


class Counter(NamedTuple):
    series: Series
    buckets: Buckets


class PerfettoWindow(NamedTuple):
    """What is known of a window. `steps` by rank."""

    run: str
    window: Interval
    stacks: StackColumns
    counters: Sequence[Counter]
    steps: Mapping[int, Units]
    unit: str
    events: Sequence[Event]


def is_counter(series: Series, run: str) -> bool:
    """Of a GPU or the host, and of no other run."""
    return series.name.startswith(("gpu/", "host/")) and dict(series.labels).get("run", run) == run


def buckets_for(counters: int) -> int:
    """In how many buckets so many counters are to be read."""
    return max(1, min(MAX_BUCKETS, MAX_COUNTS // max(1, counters)))


def to_perfetto(found: PerfettoWindow) -> dict[str, Any]:
    """Times are microseconds since the window's begin, which `baseTimeNanoseconds` names. Raises TooMuch."""
    mains = {rank: pid for _, rank, pid, role in found.stacks.processes if role == "main"}
    pids = {
        rank: mains.get(rank, MACHINE + 1 + rank) for rank in {*mains, *found.steps, *(e.rank for e in found.events)}
    }
    clock = _Clock(found.window)
    slices = [*_slices(found.stacks, clock)][::-1]  # an outer one ends after those in it
    slices += [step for rank, units in found.steps.items() for step in _steps(units, pids[rank], found.unit, clock)]
    slices.sort(key=lambda entry: (entry["ts"], -entry["dur"]))  # of two that begin together the outer one first
    entries = [
        *_names(found, pids),
        *slices,
        *(entry for counter in found.counters for entry in _counts(counter, clock)),
        *(
            entry
            for number, event in enumerate(found.events)
            for entry in _event(event, number, pids[event.rank], clock)
        ),
    ]
    return {
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": clock.base_ns,
        "otherData": {"run": found.run, "writer": "DeepSeek Dashboard", "sampling_hz": found.stacks.hz},
        "traceEvents": entries,
    }


class _Clock:
    def __init__(self, window: Interval) -> None:
        self.base_ns = round(window[0] * 1e6) * 1000
        self.end_us = window[1] * 1e6 - self.base_ns / 1e3

    def us(self, time_s: float) -> float:
        """To the nanosecond, within the window."""
        return round(min(max(time_s * 1e6 - self.base_ns / 1e3, 0.0), self.end_us), 3)


def _names(found: PerfettoWindow, pids: Mapping[int, int]) -> Iterator[Entry]:
    known = {pid for *_, pid, _ in found.stacks.processes}
    for _, rank, pid, role in found.stacks.processes:
        yield _meta("process_name", pid, 0, name=f"{found.run} rank {rank}" + ("" if role == "main" else f" {role}"))
        yield _meta("process_sort_index", pid, 0, sort_index=rank)
    for rank, pid in pids.items():
        if pid not in known:
            yield _meta("process_name", pid, 0, name=f"{found.run} rank {rank}")
        if rank in found.steps:
            yield _meta("thread_name", pid, STEPS, name=f"{found.unit}s")
            yield _meta("thread_sort_index", pid, STEPS, sort_index=-1)
    for (pid, tid), name in found.stacks.threads.items():
        yield _meta("thread_name", pid, tid, name=name)
    if found.counters:
        yield _meta("process_name", MACHINE, 0, name="GPUs and host")


def _meta(what: str, pid: int, tid: int, **args: Any) -> Entry:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}


def _slices(stacks: StackColumns, clock: _Clock) -> Iterator[Entry]:
    """A slice for each function from the first to the last of the samples that follow each other and stand in it."""
    pids = np.array([process.pid for process in stacks.processes], np.int64)[stacks.process]
    order = np.lexsort([stacks.time_s, stacks.tid, pids])
    together_us = 0.5e6 / stacks.hz if stacks.hz else 0.0  # a shorter gap is none
    opened: list[tuple[Frame, float]] = []
    thread, until_us, written = (-1, -1), 0.0, 0
    for number, i in enumerate(order.tolist()):
        if number % CHECK_EVERY == 0:
            check()
        own = int(pids[i]), int(stacks.tid[i])
        start_s = float(stacks.time_s[i])
        start_us, end_us = clock.us(start_s), clock.us(start_s + float(stacks.duration_s[i]))
        frames = [stacks.frames[frame] for frame in stacks.stacks[stacks.stack[i]]]
        if own == thread and start_us - until_us <= together_us:
            start_us = until_us
        else:
            yield from _closed(opened, 0, until_us, thread)
        same = 0
        while same < min(len(opened), len(frames)) and opened[same][0][:2] == frames[same][:2]:
            same += 1
        written += len(frames) - same
        if written > MAX_SLICES:
            raise TooMuch(f"the window holds more than {MAX_SLICES:,} calls of functions; choose a shorter one")
        yield from _closed(opened, same, start_us, thread)
        opened += [(frame, start_us) for frame in frames[same:]]
        thread, until_us = own, max(end_us, start_us)
    yield from _closed(opened, 0, until_us, thread)


def _closed(opened: list[tuple[Frame, float]], down_to: int, at_us: float, thread: tuple[int, int]) -> Iterator[Entry]:
    """Leaves the others open."""
    while len(opened) > down_to:
        frame, start_us = opened.pop()
        name = f"{frame.file}({frame.line}): {frame.name}" if frame.file else frame.name
        yield _slice("python_function", name, start_us, at_us, *thread)


def _steps(units: Units, pid: int, unit: str, clock: _Clock) -> Iterator[Entry]:
    name = "ProfilerStep#" if unit == "step" else f"{unit} "
    for start_s, end_s, count, number in np.stack(
        [units.start_s, units.end_s, units.units, units.number], axis=1
    ).tolist():
        if np.isfinite(number) and clock.us(end_s) > clock.us(start_s):
            entry = _slice("user_annotation", f"{name}{number:.0f}", clock.us(start_s), clock.us(end_s), pid, STEPS)
            yield entry if count == 1 else {**entry, "args": {f"{unit}s": count}}


def _slice(category: str, name: str, start_us: float, end_us: float, pid: int, tid: int) -> Entry:
    duration_us = round(end_us - start_us, 3)
    return {"ph": "X", "cat": category, "name": name, "pid": pid, "tid": tid, "ts": start_us, "dur": duration_us}


def _counts(counter: Counter, clock: _Clock) -> Iterator[Entry]:
    labels = " ".join(f"{name} {value}" for name, value in counter.series.labels if name != "run")
    name = f"{counter.series.name} {labels}".strip()
    for time_s, value in zip(counter.buckets.t.tolist(), counter.buckets.mean.tolist(), strict=True):
        if np.isfinite(value):
            yield {"ph": "C", "name": name, "pid": MACHINE, "tid": 0, "ts": clock.us(time_s), "args": {"value": value}}


def _event(event: Event, number: int, pid: int, clock: _Clock) -> Iterator[Entry]:
    """An event is logged when it is over."""
    said = {"text": event.text, **({} if event.step is None else {"step": event.step})}
    entry = {"cat": "event", "name": event.kind, "pid": pid, "tid": STEPS, "args": said}
    if not event.seconds:
        yield {**entry, "ph": "i", "s": "p", "ts": clock.us(event.time_s)}
        return
    yield {**entry, "ph": "b", "id": number, "ts": clock.us(event.time_s - event.seconds)}
    yield {**entry, "ph": "e", "id": number, "ts": clock.us(event.time_s)}
