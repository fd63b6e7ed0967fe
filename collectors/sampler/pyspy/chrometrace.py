"""Read what `py-spy record -f chrometrace` writes: begin and end events become spans of constant stack.

py-spy writes an event only where a stack changes, and closes whatever is open when it stops: a thread that ended in
between seems to stand in its last stack until then. `thread_id` is Python's (`threading.get_ident()`), not the kernel's.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, TypeAlias

import orjson

from ...records import Frame

Stack: TypeAlias = tuple[Frame, ...]


class Stay(NamedTuple):
    """A thread stood in one stack. Times are microseconds since the recorder started."""

    start_us: int
    end_us: int
    stack: Stack  # from the root to the leaf


class Trace(NamedTuple):
    threads: dict[int, list[Stay]]  # by thread id, in order of time
    first_us: int  # of the first sample; both 0 where there is none
    last_us: int


def parse(raw: bytes) -> Trace:
    """Raises orjson.JSONDecodeError where the file is cut short. 2 MB, which is 10 s of a busy process, take about 50 ms.

    `[{"ph":"B","name":"busy","args":{"filename":"t.py","line":4},"tid":7,"ts":10,...}, {"ph":"E",...,"ts":30}]` ->
    `Trace({7: [Span(10, 30, (Frame("busy", "t.py", 4),))]}, 10, 30)`
    """
    events: list[dict[str, Any]] = orjson.loads(raw)
    readers: dict[int, _Thread] = {}
    frames: dict[tuple[str, str, int], Frame] = {}
    for event in events:
        tid = event["tid"]
        thread = readers.get(tid) or readers.setdefault(tid, _Thread())
        if event["ph"] == "B":
            args = event["args"]
            key = (event["name"], args["filename"], args.get("line") or 0)
            thread.begin(event["ts"], frames.get(key) or frames.setdefault(key, Frame(*key)))
        else:
            thread.end(event["ts"])
    times = [event["ts"] for event in (events[:1] + events[-1:])]
    return Trace({tid: thread.spans for tid, thread in readers.items()}, min(times, default=0), max(times, default=0))


def usual_root(spans: list[Stay]) -> tuple[str, str] | None:
    """The function (name, file) at the root of most of a thread's time: a stack with another root was read inconsistently."""
    time_us: Counter[tuple[str, str]] = Counter()
    for span in spans:
        time_us[span.stack[0][:2]] += span.end_us - span.start_us
    return time_us.most_common(1)[0][0] if time_us else None


class _Thread:
    """The open frames of one thread; a span is written when time passes over them."""

    def __init__(self) -> None:
        self.spans: list[Stay] = []
        self._open: list[Frame] = []
        self._since_us = 0

    def begin(self, now_us: int, frame: Frame) -> None:
        self._pass(now_us)
        self._open.append(frame)

    def end(self, now_us: int) -> None:
        self._pass(now_us)
        if self._open:  # without a begin in a file whose head is missing
            self._open.pop()

    def _pass(self, now_us: int) -> None:
        if self._open and now_us > self._since_us:
            self.spans.append(Stay(self._since_us, now_us, tuple(self._open)))
        self._since_us = now_us
