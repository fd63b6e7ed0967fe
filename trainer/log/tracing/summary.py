"""What PyTorch's profiler recorded, added up: which line of Python launched which kernels, how often and for how long.

The profiler's own trace is 1.2 MB for three steps of the smallest model, and names functions, not lines. Its tree of events has the line of
each call. On a GPU a row is a kernel, found by the operator that launched it; on a CPU an operator, without those that it called. What
autograd runs backward stands with the line that ran forward.
"""

from __future__ import annotations

import os
import sys
from time import sleep
from typing import Any, NamedTuple

from ..readable import text
from .busy import BusyInterval, busy_of, kind_of

MOST_EVENTS = 2_000_000
MOST_ROWS, MOST_STACKS, MOST_DEPTH = 3_000, 3_000, 64  # the rows that took longest; a stack's innermost frames
MOST_TEXT = 300  # characters of a name, a file
SLICE, PAUSE_S = 25, 0.0005  # events between two pauses: the training thread may be waiting for the GIL
FORWARD, BACKWARD, ANNOTATION = 0, 1, 7  # scopes of operators: FUNCTION, BACKWARD_FUNCTION, USER_SCOPE
NO_WORK = ("gpu_user_annotation", "user_annotation", "cuda_sync", "overhead")  # kinds of activity
NS = 1e-9


class TracedFrame(NamedTuple):
    file: str
    line: int
    name: str


Stack = tuple[TracedFrame, ...]  # from the root to the leaf


class KernelKey(NamedTuple):
    stack: Stack
    name: str
    kind: str
    backward: bool


class _Operator(NamedTuple):
    stack: Stack
    backward: int | None  # the sequence number, of what autograd runs


NO_OPERATOR = _Operator((), None)


class Summary:
    """Adds up one tree of events; see `summary_of`."""

    def __init__(self, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._seconds: dict[KernelKey, float] = {}
        self._counts: dict[KernelKey, int] = {}
        self._operators: dict[int, _Operator] = {}  # by correlation id
        self._forward: dict[int, Stack] = {}  # the stack that ran forward, by sequence number
        self._backward: list[tuple[_Operator, str, float]] = []  # of a CPU
        self._intervals: list[BusyInterval] = []
        self.events = 0

    def add_tree(self, roots: Any) -> None:
        """Depth first, without recursion: a stack may be deeper than Python's own. Raises ValueError for too many events."""
        waiting: list[tuple[Any, Stack, int | None]] = [(event, (), None) for event in reversed(list(roots))]
        while waiting:
            event, stack, backward = waiting.pop()
            self._pause()
            tag, fields = event.typed
            children = event.children
            if tag.name == "PyCall":
                waiting += self._below_python(event, fields, children, stack, backward)
                continue
            if tag.name == "TorchOp":
                backward = self._add_operator(event, fields, children, stack, backward)
            waiting += [(child, stack, backward) for child in reversed(children)]

    def add_kernels(self, events: Any) -> None:
        """The GPU's own activities: each belongs to the operator by whose id it is linked."""
        for event in events:
            self._pause()
            if not _is_work(event):
                continue
            name, start_ns, duration_ns = event.name(), event.start_ns(), event.duration_ns()
            linked = event.linked_correlation_id()
            launched = self._operators.get(linked, NO_OPERATOR) if linked > 0 else NO_OPERATOR
            key = KernelKey(self._forward_of(launched), name[:MOST_TEXT], kind_of(name), launched.backward is not None)
            self._add(key, duration_ns * NS)
            self._intervals.append(BusyInterval(start_ns, start_ns + duration_ns, kind_of(name)))

    def result(self) -> dict[str, Any]:
        """At most 3,000 rows."""
        for found, name, seconds in self._backward:
            self._add(KernelKey(self._forward_of(found), name, kind_of(name, gpu=False), True), seconds)
        order = sorted(self._seconds, key=lambda key: -self._seconds[key])
        stacks: dict[Stack, int] = {}
        rows = []
        for key in order[:MOST_ROWS]:
            if key.stack in stacks or len(stacks) < MOST_STACKS:
                stack = stacks.setdefault(key.stack, len(stacks))
                rows.append(
                    [
                        stack,
                        text(key.name),
                        key.kind,
                        round(self._seconds[key], 9),
                        self._counts[key],
                        int(key.backward),
                    ]
                )
        left = order[MOST_ROWS:]
        frames: dict[TracedFrame, int] = {}
        places = _Files()
        numbered = [[frames.setdefault(frame, len(frames)) for frame in stack] for stack in stacks]
        return {
            "frames": [[text(places.absolute(frame.file)), frame.line, text(frame.name)] for frame in frames],
            "stacks": numbered,
            "kernels": rows,
            "left_out": [len(left), round(sum(self._seconds[key] for key in left), 9)],
            "busy": busy_of(self._intervals) if self._on_gpu else {},
            "events": self.events,
        }

    def _below_python(
        self, event: Any, fields: Any, children: list[Any], stack: Stack, backward: int | None
    ) -> list[Any]:
        """The function's frame has, for each thing below it, the line that it stood on: the call's, else that of the call before."""
        site = fields.callsite
        line = site.line_number
        below = []
        for child in children:
            tag, called = child.typed
            if tag.name in ("PyCall", "PyCCall"):
                line = called.caller.line_number
            frame = TracedFrame(site.file_name[:MOST_TEXT], line, site.function_name[:MOST_TEXT])
            below.append((child, (*stack, frame)[-MOST_DEPTH:], backward))
        below.reverse()
        return below

    def _add_operator(
        self, event: Any, fields: Any, children: list[Any], stack: Stack, backward: int | None
    ) -> int | None:
        """Sequence numbers join an operator that ran forward with what autograd runs for it; -1 is none."""
        number, scope = fields.sequence_number, int(fields.scope)
        if scope >= ANNOTATION:
            return backward  # what runs in it has rows of its own
        if scope == BACKWARD and number >= 0:
            backward = number
        elif backward is None and scope == FORWARD and number >= 0:
            self._forward.setdefault(number, stack)
        if self._on_gpu:
            self._operators[event.correlation_id] = _Operator(stack, backward)
            return backward
        own_ns = event.duration_time_ns - sum(
            child.duration_time_ns for child in children if child.typed[0].name != "Allocation"
        )
        seconds, name = max(0, own_ns) * NS, event.name[:MOST_TEXT]
        if backward is None:
            self._add(KernelKey(stack, name, kind_of(name, gpu=False), False), seconds)
        else:
            self._backward.append((_Operator(stack, backward), name, seconds))
        return backward

    def _forward_of(self, operator: _Operator) -> Stack:
        """What ran forward, of an operator that autograd runs."""
        return operator.stack if operator.backward is None else self._forward.get(operator.backward, operator.stack)

    def _add(self, key: KernelKey, seconds: float) -> None:
        self._seconds[key] = self._seconds.get(key, 0.0) + seconds
        self._counts[key] = self._counts.get(key, 0) + 1

    def _pause(self) -> None:
        self.events += 1
        if self.events > MOST_EVENTS:
            raise ValueError(f"more than {MOST_EVENTS:,} events")
        if self.events % SLICE == 0:
            sleep(PAUSE_S)


def summary_of(result: Any, on_gpu: bool) -> dict[str, Any]:
    """Of PyTorch's `kineto_results`. Whatever that raises is for the caller."""
    summary = Summary(on_gpu)
    summary.add_tree(result.experimental_event_tree())
    if on_gpu:
        summary.add_kernels(result.events())
    return summary.result()


def _is_work(event: Any) -> bool:
    """Whether the GPU did something: not a mark of the script's, nor a wait. Older versions of PyTorch say less of an event."""
    if str(event.device_type()).endswith("CPU"):
        return False
    marks, says = getattr(event, "is_user_annotation", None), getattr(event, "activity_type", None)
    return not (marks is not None and marks()) and not (says is not None and says() in NO_WORK)


class _Files:
    """PyTorch leaves out the beginning of a path that is on Python's search path: `train.py -> /home/anna/train.py`."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def absolute(self, file: str) -> str:
        if file not in self._known:
            self._known[file] = file if file.startswith(("<", "/")) else next(self._candidates(file), file)[:1000]
        return self._known[file]

    @staticmethod
    def _candidates(file: str) -> Any:
        for folder in sys.path:
            path = os.path.join(os.path.abspath(folder or "."), file)  # noqa: PTH100, PTH118
            if os.path.isfile(path):  # noqa: PTH113
                yield path
