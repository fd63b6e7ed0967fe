"""Read the native sampler's output: lines of JSON become windows of spans and the fate of each target.

The format is described in native/stream.h. For any bytes the only error is StreamError, and memory is bounded. An impossible line
affects the target that it names: it counts as an error of that target's window, and after MOST_FAULTS of them the target is
refused and the rest of its lines is ignored. Only a stream that is mostly garbage is given up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import orjson

from ..records import Frame, StackSample

VERSION = 1
LONGEST_LINE = 65536  # bytes
MOST_NUMBERS = 1 << 20  # texts, frames or stacks; the sampler restarts numbering at 65,536
MOST_SPANS = 1 << 20  # that wait for the end of their windows
MOST_THREADS = 1 << 16
MOST_TARGETS = 1 << 12  # whose faults are counted; the sampler takes 1,024
MOST_FAULTS = 100  # impossible lines of one target
MOST_GARBAGE = 1000  # impossible lines that name no target
LATEST_NS = 1 << 62
EMPTY = 0  # number of the stack without a frame
HELD_GIL, CUT = 1, 2


class Fate(NamedTuple):
    """What became of a target."""

    target: int
    is_now: Literal["attached", "refused", "gone"]
    reason: str = (
        ""  # of a refusal: permission, python, version, free-threaded, crowd; stream: its lines are impossible
    )
    detail: str = ""  # of the reason; of an attached one the version of its Python, e.g. "3.11.7"


class SampleWindow(NamedTuple):
    """The spans of a target between two moments, CLOCK_MONOTONIC; the next window begins where it ends."""

    target: int
    start_ns: int
    end_ns: int
    samples: int
    errors: int
    hz: float
    threads: dict[int, str]  # names, by id, of those that have a span
    spans: list[StackSample]


class StreamError(Exception):
    """This is not the sampler's output; the text is one sentence."""


class _Faulty(Exception):
    """An impossible line; the text is one sentence."""


class StreamReader:
    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._messages: list[Fate | SampleWindow] = []
        self._texts: dict[int, str] = {}
        self._frames: dict[int, Frame] = {}
        self._callers: dict[int, tuple[int, Frame]] = {}  # by stack: its caller's stack, and its last frame
        self._stacks: dict[int, tuple[Frame, ...]] = {}  # those that were asked for
        self._threads: dict[int, dict[int, str]] = defaultdict(dict)  # by target
        self._spans: dict[int, list[StackSample]] = defaultdict(list)  # by target
        self._waiting = 0  # spans in all
        self._faults: dict[int, int] = {}  # by target: impossible lines, since it was first named
        self._lost: dict[int, int] = {}  # the same, since its last window
        self._garbage = 0
        self._endless = False  # the current line is skipped up to its end

    def feed(self, data: bytes) -> list[Fate | SampleWindow]:
        """The windows that these bytes completed. A window of 500 spans takes about 1.5 ms. Raises StreamError, which ends the stream."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._endless:
            lines, self._endless = lines[1:], False
        for line in lines:
            self._read(line)
        if len(self._rest) > LONGEST_LINE:
            if not self._endless:
                self._count_garbage("a line of the native sampler has no end")
            self._rest, self._endless = b"", True
        messages, self._messages = self._messages, []
        return messages

    def _read(self, line: bytes) -> None:
        try:
            kind, *values = _parse(line)
            types, read = KINDS[kind]
        except (ValueError, TypeError, KeyError):  # no JSON, no list, no such kind
            self._count_garbage(f"not a line of the native sampler: {line[:80]!r}")
            return
        if not self._begun and kind != "native":
            raise StreamError(f"the native sampler does not begin with its version: {line[:80]!r}")
        target = values[0] if kind in OF_A_TARGET and values and type(values[0]) is int else None
        if target is not None and kind not in ENDS and self._faults.get(target, 0) >= MOST_FAULTS:
            return
        try:
            if tuple(map(type, values)) != types:
                raise _Faulty(f"not a line of the native sampler here: {line[:80]!r}")
            read(self, *values)
        except KeyError:
            self._count_fault(target, f"the native sampler refers to an undefined id: {line[:80]!r}")
        except _Faulty as fault:
            self._count_fault(target, str(fault))

    def _count_fault(self, target: int | None, sentence: str) -> None:
        if target is None:
            self._count_garbage(sentence)
            return
        _make_room(self._faults, target)
        _make_room(self._lost, target)
        self._faults[target] = self._faults.get(target, 0) + 1
        self._lost[target] = self._lost.get(target, 0) + 1
        if self._faults[target] == MOST_FAULTS:
            self._drop(target)
            self._messages.append(Fate(target, "refused", "stream", sentence))

    def _count_garbage(self, sentence: str) -> None:
        self._garbage += 1
        if self._garbage > MOST_GARBAGE or not self._begun:
            raise StreamError(sentence)

    def _drop(self, target: int) -> None:
        self._waiting -= len(self._spans.pop(target, ()))
        self._threads.pop(target, None)
        self._lost.pop(target, None)

    def _native(self, version: int) -> None:
        if self._begun:
            raise _Faulty("the native sampler sends its version twice")
        if version != VERSION:
            raise StreamError(
                f"the native sampler is of another version ({version}, not {VERSION}); build it again: make setup"
            )
        self._begun = True

    def _attached(self, target: int, version: str, _took_us: int) -> None:
        self._messages.append(Fate(target, "attached", detail=version))

    def _refused(self, target: int, reason: str, detail: str) -> None:
        self._messages.append(Fate(target, "refused", reason, detail))

    def _gone(self, target: int) -> None:
        self._drop(target)
        self._faults.pop(target, None)
        self._messages.append(Fate(target, "gone"))

    def _text(self, number: int, text: str) -> None:
        _bound(self._texts, MOST_NUMBERS)
        self._texts[number] = text

    def _frame(self, number: int, file: int, function: int, line: int) -> None:
        _bound(self._frames, MOST_NUMBERS)
        if line < 0 or line >= LATEST_NS:
            raise _Faulty(f"the native sampler names line {line}")
        self._frames[number] = Frame(self._texts[function], self._texts[file], line)

    def _stack(self, number: int, caller: int, frame: int) -> None:
        _bound(self._callers, MOST_NUMBERS)
        if number <= caller or (caller != EMPTY and caller not in self._callers):  # so a walk over callers ends
            raise _Faulty(f"the native sampler names stack {number} called by {caller}")
        self._callers[number] = (caller, self._frames[frame])

    def _thread(self, target: int, tid: int, name: int) -> None:
        text = self._texts[name]
        _bound(self._threads, MOST_TARGETS)
        threads = self._threads[target]
        _bound(threads, MOST_THREADS)
        threads[tid] = text

    def _span(
        self, target: int, tid: int, start_ns: int, duration_ns: int, stack: int, flags: int, cpu_ns: int
    ) -> None:
        possible = (
            0 <= start_ns < LATEST_NS and 0 < duration_ns < LATEST_NS and cpu_ns < LATEST_NS and 0 <= tid < LATEST_NS
        )
        if not possible or self._waiting >= MOST_SPANS:
            raise _Faulty(f"the native sampler sends too many spans, or an impossible one: {start_ns} {duration_ns}")
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
            raise _Faulty(f"the native sampler sends an impossible window: {start_ns} {end_ns}")
        spans = self._spans.pop(target, [])
        self._waiting -= len(spans)
        errors += self._lost.pop(target, 0)
        self._messages.append(
            SampleWindow(target, start_ns, end_ns, samples, errors, hz, self._threads.pop(target, {}), spans)
        )

    def _reset(self) -> None:
        self._texts, self._frames, self._callers, self._stacks = {}, {}, {}, {}
        self._spans.clear()
        self._threads.clear()
        self._waiting = 0


def _parse(line: bytes) -> Any:
    """Raises ValueError. Bytes that are not UTF-8, which the sampler should not write, cost a character and not the line."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return orjson.loads(line.decode("utf-8", "replace"))


def _bound(known: dict[int, Any], most: int) -> None:
    if len(known) >= most:
        raise _Faulty("the native sampler explains too many numbers")


def _make_room(counts: dict[int, int], target: int) -> None:
    """So that targets that were never followed do not fill the memory."""
    if target not in counts and len(counts) >= MOST_TARGETS:
        del counts[next(iter(counts))]


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
OF_A_TARGET = frozenset(("attached", "refused", "gone", "t", "s", "w"))  # its number comes first
ENDS = frozenset(("refused", "gone"))  # also of a target whose other lines are skipped
