"""Which line of Python started what runs on a card: by the stacks of operators, or by the functions of Python around a call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from collectors.records import Frame

from .device import launches_of, matched
from .events import NONE, Trace, TraceKind, Whole

FRAME = re.compile(r"(?P<file>.{1,1000}?)\((?P<line>\d{1,9})\): (?P<function>.{1,1000})", re.DOTALL)
MODULE = "nn.Module: "
# PyTorch cuts from paths what `sys.path` holds: `torch/nn/modules/linear.py`, `contextlib.py`, and the user's own `train.py`.
OF_LIBRARY = re.compile(
    r"(?:torch\w*|functorch|lightning\w*|pytorch_lightning|transformers|accelerate|deepspeed|megatron|apex|xformers|flash_attn|triton|peft"
    r"|diffusers|timm|einops|numpy)/|(?:contextlib|functools|threading|enum|typing|copy|abc|logging|runpy|multiprocessing|concurrent)(?:\.py|/)"
)
INSTALLED = "/site-packages/"
BACKWARD = re.compile(r"autograd::engine::|(?>.*Backward)\w*$", re.DOTALL)
MAX_DEPTH = 500  # functions of a stack, the innermost


class HostStacks(NamedTuple):
    """`of_row` is a place in `stacks` for each row that was asked, -1 where the trace does not say; the outermost frame comes first.
    `of_module` is a place in `modules`, paths of the modules that were called: the first is () for none."""

    of_row: Whole
    stacks: list[tuple[Frame, ...]]
    of_module: Whole
    modules: list[tuple[str, ...]]


def stacks_of(trace: Trace, rows: Whole) -> HostStacks:
    """Of these rows of the card. What a backward started has the stack of its forward operator, as the profiler numbers both."""
    launches = launches_of(trace, rows)
    return _stacks(trace, launches, _operators(trace, rows, launches))


def stacks_of_host(trace: Trace, rows: Whole) -> HostStacks:
    """The same of operators."""
    return _stacks(trace, rows, rows)


def modules_of(stack: Sequence[Frame]) -> tuple[str, ...]:
    """`("GPT_0", "Linear_3")`: the modules that were called on the stack, the outermost first."""
    return tuple(frame.name.removeprefix(MODULE) for frame in stack if frame.name.startswith(MODULE))


def _stacks(trace: Trace, calls: Whole, operators: Whole) -> HostStacks:
    stacks: dict[tuple[Frame, ...], int] = {}
    own = _own_stacks(trace, calls, operators, stacks)
    forward = _forward_of(trace, operators)
    by_forward = _own_stacks(trace, forward, forward, stacks)
    named = [(), *map(modules_of, stacks)]  # the first for the stack -1
    modules = {path: place for place, path in enumerate(dict.fromkeys(named))}
    of_stack = np.array([modules[path] for path in named], np.int64)
    of_module, in_forward = of_stack[own + 1], of_stack[by_forward + 1]
    return HostStacks(
        np.where(own >= 0, own, by_forward),
        list(stacks),
        np.where(of_module > 0, of_module, in_forward),
        list(modules),
    )


def _own_stacks(trace: Trace, calls: Whole, operators: Whole, stacks: dict[tuple[Frame, ...], int]) -> Whole:
    """By the functions of Python around each call, else by the text of its operator; -1 for neither."""
    found = np.full(len(calls), NONE, np.int64)
    if trace.rows(TraceKind.PYTHON).size:
        found = _by_functions(trace, calls, stacks)
    _by_texts(trace, np.where(operators >= 0, trace.stack[operators], NONE), found, stacks)
    return found


def caller_of(trace: Trace, rows: Whole) -> Whole:
    """The one of these operators that called each, on its thread; -1 for none."""
    around = {
        row: next((one for one in reversed(opened) if one != row), NONE) for row, opened in _opened(trace, rows, rows)
    }
    return np.array([around.get(row, NONE) for row in rows.tolist()], np.int64)


def _by_texts(trace: Trace, texts: Whole, found: Whole, stacks: dict[tuple[Frame, ...], int]) -> None:
    """Of the rows that have no stack yet, those that have a text of one."""
    for text in np.unique(texts[(found < 0) & (texts >= 0)]):
        frames = tuple(map(frame_of, reversed(trace.text(int(text)).split(";")[:MAX_DEPTH])))
        found[(found < 0) & (texts == text)] = stacks.setdefault(frames, len(stacks))


def frame_of(text: str) -> Frame:
    """`train.py(42): step` -> `("step", "train.py", 42)`; of what is no Python, such as a built-in, the file is "" and the line 0."""
    found = FRAME.fullmatch(text.strip())
    if not found:
        return Frame(text.strip(), "", 0)
    file = found["file"]
    return Frame(found["function"], f"{INSTALLED}{file}" if OF_LIBRARY.match(file) else file, int(found["line"]))


def _operators(trace: Trace, rows: Whole, launches: Whole) -> Whole:
    """The operator that each of these rows is of; -1 where none is known."""
    external = np.where(launches >= 0, trace.external[launches], trace.external[rows])
    operators = trace.rows(TraceKind.OPERATOR)
    operators = operators[trace.external[operators] >= 0]
    return matched(external, trace.external[operators], operators)


def _forward_of(trace: Trace, operators: Whole) -> Whole:
    """The operator of which each of these runs the backward, or a part of it; -1 for none. Operators that need no backward take the number
    of the next one that does, so the last with a number is the one."""
    numbered = np.flatnonzero((trace.sequence >= 0) & (trace.kind == TraceKind.OPERATOR))
    names = [id_ for id_, text in enumerate(trace.texts) if BACKWARD.match(text)]
    is_backward = np.isin(trace.name[numbered], names)
    around = enclosing(trace, numbered[is_backward], operators)
    sequence = np.where(around >= 0, trace.sequence[around], NONE)
    forward = numbered[~is_backward][::-1]
    return matched(sequence, trace.sequence[forward], forward)


def enclosing(trace: Trace, outer: Whole, rows: Whole) -> Whole:
    """The innermost of `outer` around each of these rows, on its thread; -1 for none, and for a row that is -1."""
    around = {row: opened[-1] for row, opened in _opened(trace, outer, rows) if opened}
    return np.array([around.get(row, NONE) for row in rows.tolist()], np.int64)


def _opened(trace: Trace, outer: Whole, rows: Whole) -> Iterator[tuple[int, list[int]]]:
    """Each of these rows that is one, with those of `outer` that were open on its thread when it began; the list is used again."""
    known = np.unique(rows[rows >= 0])
    around_of = _by_thread(trace, outer)
    for thread, inside in _by_thread(trace, known).items():
        around = around_of.get(thread, outer[:0])
        starts, ends, places = trace.start_us[around].tolist(), trace.end_us[around].tolist(), around.tolist()
        opened: list[int] = []
        ending: list[float] = []
        at = 0
        for row, start_us in zip(inside.tolist(), trace.start_us[inside].tolist(), strict=True):
            while at < len(places) and places[at] <= row:  # rows are in order of their start, the outer one first
                while ending and ending[-1] <= starts[at]:
                    opened.pop()
                    ending.pop()
                opened.append(places[at])
                ending.append(ends[at])
                at += 1
            while ending and ending[-1] <= start_us:
                opened.pop()
                ending.pop()
            yield row, opened


def _by_thread(trace: Trace, rows: Whole) -> dict[int, Whole]:
    """The rows of each thread, in their order."""
    threads = (trace.process[rows].astype(np.int64) << 32) + trace.thread[rows]
    order = np.argsort(threads, kind="stable")
    found, firsts = np.unique(threads[order], return_index=True)
    return dict(zip(found.tolist(), np.split(rows[order], firsts[1:]), strict=True)) if len(rows) else {}


def _by_functions(trace: Trace, launches: Whole, stacks: dict[tuple[Frame, ...], int]) -> Whole:
    """By the functions of Python that were open on the thread of a call when it began."""
    names, frames = trace.name.tolist(), dict[int, Frame]()
    kept = {}
    for row, opened in _opened(trace, trace.rows(TraceKind.PYTHON), launches):
        for name in (names[one] for one in opened[-MAX_DEPTH:]):
            if name not in frames:
                frames[name] = frame_of(trace.text(name))
        if opened:
            kept[row] = stacks.setdefault(tuple(frames[names[one]] for one in opened[-MAX_DEPTH:]), len(stacks))
    return np.array([kept.get(row, NONE) for row in launches.tolist()], np.int64)
