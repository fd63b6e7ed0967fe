"""Read what the native sampler tells: lines of JSON become windows of spans, and what became of each target.

The format stands in native/stream.h. Whatever the bytes are, the only error is StreamError, and memory is bounded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import orjson

from ..records import Frame, StackSample

VERSION = 1
LONGEST_LINE = 65536  # bytes
MOST_NUMBERS = 1 << 20  # texts, frames or stacks; the sampler starts anew at 65,536
MOST_SPANS = 1 << 20  # that wait for the end of their windows
MOST_THREADS = 1 << 16
LATEST_NS = 1 << 62
EMPTY = 0  # number of the stack without a frame
HELD_GIL, CUT = 1, 2


class Attached(NamedTuple):
    target: int
    version: str  # of its Python, e.g. "3.11.7"
    took_us: int  # to find its runtime


class Refused(NamedTuple):
    target: int
    reason: str  # permission, python, version, free-threaded, crowd
    detail: str


class Gone(NamedTuple):
    target: int


class Window(NamedTuple):
    """What was seen of a target from one moment to another, CLOCK_MONOTONIC; the next window begins where it ends."""

    target: int
    start_ns: int
    end_ns: int
    samples: int
    errors: int
    hz: float
    threads: dict[int, str]  # names, by id, of those that have a span
    spans: list[StackSample]


Message: TypeAlias = Attached | Refused | Gone | Window


class StreamError(Exception):
    """What came is not what the sampler tells; the text is one sentence."""


class StreamReader:
    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._messages: list[Message] = []
        self._texts: dict[int, str] = {}
        self._frames: dict[int, Frame] = {}
        self._callers: dict[int, tuple[int, Frame]] = {}  # by stack: its caller's stack, and its last frame
        self._stacks: dict[int, tuple[Frame, ...]] = {}  # those that were asked for
        self._threads: dict[int, dict[int, str]] = defaultdict(dict)  # by target
        self._spans: dict[int, list[StackSample]] = defaultdict(list)  # by target
        self._waiting = 0  # spans in all

    def feed(self, data: bytes) -> list[Message]:
        """What became complete with these bytes. A window of 500 spans takes about 1.5 ms. Raises StreamError, after which this is done."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise StreamError("a line of the native sampler has no end")
        for line in lines:
            self._read(line)
        messages, self._messages = self._messages, []
        return messages

    def _read(self, line: bytes) -> None:
        try:
            kind, *values = orjson.loads(line)
            types, read = KINDS[kind]
        except (ValueError, TypeError, KeyError) as error:  # no JSON, no list, no such kind
            raise StreamError(f"not a line of the native sampler: {line[:80]!r}") from error
        if tuple(map(type, values)) != types or (kind != "native") != self._begun:
            raise StreamError(f"not a line of the native sampler here: {line[:80]!r}")
        try:
            read(self, *values)
        except KeyError as error:
            raise StreamError(f"the native sampler tells of a number that it did not explain: {line[:80]!r}") from error

    def _native(self, version: int) -> None:
        if version != VERSION:
            raise StreamError(f"the native sampler is of another version ({version}, not {VERSION}); build it again: make setup")
        self._begun = True

    def _attached(self, target: int, version: str, took_us: int) -> None:
        self._messages.append(Attached(target, version, took_us))

    def _refused(self, target: int, reason: str, detail: str) -> None:
        self._messages.append(Refused(target, reason, detail))

    def _gone(self, target: int) -> None:
        self._waiting -= len(self._spans.pop(target, ()))
        self._threads.pop(target, None)
        self._messages.append(Gone(target))

    def _text(self, number: int, text: str) -> None:
        _bound(self._texts, MOST_NUMBERS)
        self._texts[number] = text

    def _frame(self, number: int, file: int, function: int, line: int) -> None:
        _bound(self._frames, MOST_NUMBERS)
        if line < 0 or line >= LATEST_NS:
            raise StreamError(f"the native sampler tells of line {line}")
        self._frames[number] = Frame(self._texts[function], self._texts[file], line)

    def _stack(self, number: int, caller: int, frame: int) -> None:
        _bound(self._callers, MOST_NUMBERS)
        if number <= caller or (caller != EMPTY and caller not in self._callers):  # so a walk over callers ends
            raise StreamError(f"the native sampler tells of stack {number} called by {caller}")
        self._callers[number] = (caller, self._frames[frame])

    def _thread(self, target: int, tid: int, name: int) -> None:
        threads = self._threads[target]
        _bound(threads, MOST_THREADS)
        threads[tid] = self._texts[name]

    def _span(self, target: int, tid: int, start_ns: int, duration_ns: int, stack: int, flags: int, cpu_ns: int) -> None:
        possible = 0 <= start_ns < LATEST_NS and 0 < duration_ns < LATEST_NS and cpu_ns < LATEST_NS and 0 <= tid < LATEST_NS
        if not possible or self._waiting >= MOST_SPANS:
            raise StreamError(f"the native sampler tells of too many spans, or of one that cannot be: {start_ns} {duration_ns}")
        cpu = None if cpu_ns < 0 else cpu_ns
        gil, whole = bool(flags & HELD_GIL), not flags & CUT
        self._spans[target].append(StackSample(start_ns, duration_ns, tid, self._frames_of(stack), gil, cpu, whole))
        self._waiting += 1

    def _frames_of(self, stack: int) -> tuple[Frame, ...]:
        known = self._stacks.get(stack)
        if known is None:
            frames, caller = [], stack
            while caller != EMPTY:
                caller, frame = self._callers[caller]
                frames.append(frame)
            known = self._stacks[stack] = tuple(reversed(frames))
        return known

    def _window(self, target: int, start_ns: int, end_ns: int, samples: int, errors: int, hz: float) -> None:
        if not 0 <= start_ns <= end_ns < LATEST_NS or min(samples, errors) < 0 or max(samples, errors) >= LATEST_NS:
            raise StreamError(f"the native sampler tells of a window that cannot be: {start_ns} {end_ns}")
        spans = self._spans.pop(target, [])
        self._waiting -= len(spans)
        self._messages.append(Window(target, start_ns, end_ns, samples, errors, hz, self._threads.pop(target, {}), spans))

    def _reset(self) -> None:
        self._texts, self._frames, self._callers, self._stacks = {}, {}, {}, {}
        self._spans.clear()
        self._threads.clear()
        self._waiting = 0


def _bound(known: dict[int, Any], most: int) -> None:
    if len(known) >= most:
        raise StreamError("the native sampler explains too many numbers")


KINDS: dict[str, tuple[tuple[type, ...], Callable[..., None]]] = {
    "native": ((int,), StreamReader._native),
    "attached": ((int, str, int), StreamReader._attached),
    "refused": ((int, str, str), StreamReader._refused),
    "gone": ((int,), StreamReader._gone),
    "n": ((int, str), StreamReader._text),
    "f": ((int, int, int, int), StreamReader._frame),
    "k": ((int, int, int), StreamReader._stack),
    "t": ((int, int, int), StreamReader._thread),
    "s": ((int, int, int, int, int, int, int), StreamReader._span),
    "w": ((int, int, int, int, int, float), StreamReader._window),
    "reset": ((), StreamReader._reset),
}
