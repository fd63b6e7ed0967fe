"""Which line of Python started what runs on a card: by the stacks of operators, or by the functions of Python around a call."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from .device import launches_of, matched
from .events import NONE, Trace, TraceKind, Whole

FRAME = re.compile(r"(?P<file>.{1,1000}?)\((?P<line>\d{1,9})\): (?P<function>.{1,1000})", re.DOTALL)
INNER = (TraceKind.PYTHON,)


class TraceFrame(NamedTuple):
    """`line` is 0 for what is no Python: a built-in, a module's name."""

    function: str
    file: str
    line: int


class HostStacks(NamedTuple):
    """`of_row` is a place in `stacks` for each row that was asked, -1 where the trace does not say; the outermost frame comes first."""

    of_row: Whole
    stacks: list[tuple[TraceFrame, ...]]


def stacks_of(trace: Trace, rows: Whole) -> HostStacks:
    """Of these rows of the card. What a backward started has the stack of its forward operator, as the profiler numbers both."""
    launches = launches_of(trace, rows)
    stacks: dict[tuple[TraceFrame, ...], int] = {}
    found = np.full(len(rows), NONE, np.int64)
    if trace.rows(TraceKind.PYTHON).size:
        found = _by_functions(trace, launches, stacks)
    operators = _operators(trace, rows, launches)
    texts = _stack_texts(trace, operators)
    for text in np.unique(texts[(found < 0) & (texts >= 0)]):
        frames = tuple(map(frame_of, reversed(trace.text(int(text)).split(";"))))
        found[(found < 0) & (texts == text)] = stacks.setdefault(frames, len(stacks))
    return HostStacks(found, list(stacks))


def frame_of(text: str) -> TraceFrame:
    """`train.py(42): step` -> `("step", "train.py", 42)`"""
    found = FRAME.fullmatch(text.strip())
    return (
        TraceFrame(found["function"], found["file"], int(found["line"])) if found else TraceFrame(text.strip(), "", 0)
    )


def _operators(trace: Trace, rows: Whole, launches: Whole) -> Whole:
    """The operator that each of these rows is of; -1 where none is known."""
    external = np.where(launches >= 0, trace.external[launches], trace.external[rows])
    operators = trace.rows(TraceKind.OPERATOR)
    operators = operators[trace.external[operators] >= 0]
    return matched(external, trace.external[operators], operators)


def _stack_texts(trace: Trace, operators: Whole) -> Whole:
    texts = np.where(operators >= 0, trace.stack[operators], NONE)
    forward = np.flatnonzero((trace.stack >= 0) & (trace.sequence >= 0) & (trace.kind == TraceKind.OPERATOR))
    sequence = np.where(operators >= 0, trace.sequence[operators], NONE)
    sequence = np.where(sequence >= 0, sequence, _sequence_around(trace, operators))
    by_forward = matched(sequence, trace.sequence[forward], forward)
    return np.where((texts < 0) & (by_forward >= 0), trace.stack[by_forward], texts)


def _sequence_around(trace: Trace, operators: Whole) -> Whole:
    """The number of the innermost operator with one around each: `evaluate_function` of a backward, around what it calls."""
    numbered = np.flatnonzero((trace.sequence >= 0) & (trace.kind == TraceKind.OPERATOR))
    return np.where((around := enclosing(trace, numbered, operators)) >= 0, trace.sequence[around], NONE)


def enclosing(trace: Trace, outer: Whole, rows: Whole) -> Whole:
    """The innermost of `outer` around each of these rows, on its thread; -1 for none, and for a row that is -1."""
    found = np.full(len(rows), NONE, np.int64)
    known = np.unique(rows[rows >= 0])
    kept = {}
    for thread in np.unique(trace.thread[known]):
        around = outer[trace.thread[outer] == thread]
        inside = known[trace.thread[known] == thread]
        open_: list[int] = []
        at = 0
        starts, ends = trace.start_us[around].tolist(), trace.end_us[around].tolist()
        places = around.tolist()
        for row, start in zip(inside.tolist(), trace.start_us[inside].tolist(), strict=True):
            while at < len(places) and starts[at] <= start:
                while open_ and ends[open_[-1]] <= starts[at]:
                    open_.pop()
                open_.append(at)
                at += 1
            while open_ and ends[open_[-1]] <= start:
                open_.pop()
            kept[row] = places[open_[-1]] if open_ else NONE
    places_of = rows >= 0
    found[places_of] = [kept[row] for row in rows[places_of].tolist()]
    return found


def _by_functions(trace: Trace, launches: Whole, stacks: dict[tuple[TraceFrame, ...], int]) -> Whole:
    """By the functions of Python that were open on the thread of a call when it began."""
    functions = trace.rows(TraceKind.PYTHON)
    known = np.unique(launches[launches >= 0])
    kept: dict[int, int] = {}
    frames: dict[int, TraceFrame] = {}
    for thread in np.unique(trace.thread[known]):
        around = functions[trace.thread[functions] == thread]
        inside = known[trace.thread[known] == thread]
        starts, ends, names = (
            trace.start_us[around].tolist(),
            trace.end_us[around].tolist(),
            trace.name[around].tolist(),
        )
        open_: list[int] = []
        at = 0
        for row, start in zip(inside.tolist(), trace.start_us[inside].tolist(), strict=True):
            while at < len(names) and starts[at] <= start:
                while open_ and ends[open_[-1]] <= starts[at]:
                    open_.pop()
                open_.append(at)
                at += 1
            while open_ and ends[open_[-1]] <= start:
                open_.pop()
            if open_:
                stack = tuple(
                    frames.get(name) or frames.setdefault(name, frame_of(trace.text(name)))
                    for name in (names[one] for one in open_)
                )
                kept[row] = stacks.setdefault(stack, len(stacks))
    return np.array([kept.get(row, NONE) for row in launches.tolist()], np.int64)
