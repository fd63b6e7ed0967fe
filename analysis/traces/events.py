"""Events of a trace in Chrome's format, as PyTorch's profiler writes it on NVIDIA and AMD cards, in columns.

    with gzip.open("rank0.pt.trace.json.gz") as file:
        trace = read_trace(file)

A file is read in blocks: 100 MB of JSON take about 1.5 s and 150 MB of memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Whole: TypeAlias = npt.NDArray[np.int64]
Ids: TypeAlias = npt.NDArray[np.int32]

BLOCK_BYTES = 8 << 20
MAX_EVENT_BYTES = 64 << 20  # between two places where a block can be cut
MAX_BYTES = 8 << 30  # of a file, unpacked
MAX_EVENTS = 3_500_000  # with a duration, 73 bytes each, 256 MB in all: 1 GB of JSON has about 2.5 million
MAX_SEEN = 3 * MAX_EVENTS  # of any kind
MAX_TEXT = 2_000  # characters of a name
MAX_TEXTS = 1 << 18  # of a trace, that differ
MAX_CHARACTERS = 32 << 20  # of these together; traces with stacks have a tenth of that
MAX_OPEN = 100_000  # events that began and did not end yet
MAX_US = 1e18
NONE = -1
COLUMNS = [
    "i1",
    "i4",
    "f8",
    "f8",
    "i4",
    "i4",
    "i4",
    "i4",
    "i8",
    "i8",
    "i4",
    "i4",
    "i4",
    "i8",
]  # of a `Trace`, in its order
START = 2  # the place of one


class TraceError(Exception):
    """It is no trace that can be read; the text says what is wrong, as the end of a sentence."""


class TraceKind(IntEnum):
    OTHER = 0
    OPERATOR = 1  # of PyTorch, on the host
    RUNTIME = 2  # a call of the CUDA or HIP runtime, or of the driver
    PYTHON = 3  # a function of Python or a module, on the host
    ANNOTATION = 4  # of the host: `ProfilerStep#3`, `record_function`
    KERNEL = 5
    COPY = 6
    FILL = 7  # a memset
    SYNC = 8  # of the card with an event or a stream
    ON_DEVICE = 9  # an annotation, where its kernels ran


ON_CARD = (TraceKind.KERNEL, TraceKind.COPY, TraceKind.FILL)
KINDS = {
    "cpu_op": TraceKind.OPERATOR,
    "operator": TraceKind.OPERATOR,
    "cuda_runtime": TraceKind.RUNTIME,
    "hip_runtime": TraceKind.RUNTIME,
    "xpu_runtime": TraceKind.RUNTIME,
    "privateuse1_runtime": TraceKind.RUNTIME,
    "cuda_driver": TraceKind.RUNTIME,
    "runtime": TraceKind.RUNTIME,
    "python_function": TraceKind.PYTHON,
    "user_annotation": TraceKind.ANNOTATION,
    "kernel": TraceKind.KERNEL,
    "gpu_memcpy": TraceKind.COPY,
    "memcpy": TraceKind.COPY,
    "gpu_memset": TraceKind.FILL,
    "memset": TraceKind.FILL,
    "cuda_sync": TraceKind.SYNC,
    "gpu_user_annotation": TraceKind.ON_DEVICE,
}


class Collectives(NamedTuple):
    """Which collective some rows are of, as `torch.distributed` notes it at its operators, and the profiler at their kernels."""

    row: Whole  # of the trace, in no order
    name: Whole  # id of its text, such as `allreduce`; -1 where it is not noted, as below
    group: Whole  # id of the text of the process group's name and ranks
    sequence: Whole  # of the collective in its group


class Trace(NamedTuple):
    """Events that have a duration, in the order of their start, of those that begin together the longest first; a row each. Ids are places in `texts`; -1 is none.

    Times are microseconds since `base_us`, which is on the trace's own clock.
    """

    kind: npt.NDArray[np.int8]
    name: Ids
    start_us: Floats
    duration_us: Floats
    process: Ids  # id of its text
    thread: Ids
    device: Ids
    stream: Ids
    correlation: Whole  # of a call of the runtime and of what it started on the card
    external: Whole  # of an operator, and of what it called
    stack: Ids
    module: Ids
    graph: Ids  # the CUDA graph that a kernel is of
    sequence: Whole  # of an operator: the same forward and in its backward
    texts: list[str]
    base_us: float
    about: dict[str, Any]  # what the file says beside its events
    names: dict[tuple[int, int], str]  # of processes and threads, by the ids of both; a process has no thread (-1)
    left_out: int  # events without a time, or with one that is no number
    is_cut: bool  # the file ends in an event
    collectives: Collectives

    @property
    def end_us(self) -> Floats:
        return self.start_us + self.duration_us

    def rows(self, *kinds: TraceKind) -> Whole:
        return np.flatnonzero(np.isin(self.kind, kinds))

    def text(self, id_: int) -> str:
        return self.texts[id_] if id_ >= 0 else ""


class _Details(msgspec.Struct, gc=False):
    stream: Any = None
    device: Any = None
    correlation: Any = None
    external: Any = msgspec.field(default=None, name="External id")
    old_external: Any = msgspec.field(default=None, name="external id")
    stack: Any = msgspec.field(default=None, name="Call stack")
    module: Any = msgspec.field(default=None, name="Module Hierarchy")
    graph: Any = msgspec.field(default=None, name="graph id")
    sequence: Any = msgspec.field(default=None, name="Sequence number")
    old_sequence: Any = msgspec.field(default=None, name="Sequence Number")
    collective: Any = msgspec.field(default=None, name="Collective name")
    group: Any = msgspec.field(default=None, name="Process Group Name")
    ranks: Any = msgspec.field(default=None, name="Process Group Ranks")
    number: Any = msgspec.field(default=None, name="Seq")
    name: Any = None  # of a thread or process


class _Event(msgspec.Struct, gc=False):
    ph: Any = None
    name: Any = None
    cat: Any = None
    ts: Any = None
    dur: Any = None
    pid: Any = None
    tid: Any = None
    args: _Details | None = None


_events_of = msgspec.json.Decoder(list[_Event])
_CUT = re.compile(rb"\}\s{0,64},\s{0,64}\{")
_BEGIN = re.compile(rb'"traceEvents"\s*:\s*\[')
_NOTHING = _Details()
NESTED = "has values that are nested too deeply for an event of a profiler"


def read_trace(file: BinaryIO) -> Trace:
    """Raises TraceError, and what reading the file raises."""
    columns = _Columns()
    data = file.read(BLOCK_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin := _BEGIN.search(data):
        columns.note(data[: begin.start()].rstrip(b", \t\r\n") + b"}")
        data = data[begin.end() :]
    elif data[:1] == b"[":
        data = data[1:]
    else:
        raise TraceError('has no "traceEvents", so it is no trace of PyTorch\'s profiler')
    size = len(data)
    while more := file.read(BLOCK_BYTES):
        if (size := size + len(more)) > MAX_BYTES:
            raise TraceError(f"is larger than {MAX_BYTES >> 30} GB unpacked: have fewer steps traced")
        cut = _last_cut(data)
        events = None if cut is None else _decoded(b"[" + data[: cut.start() + 1] + b"]")
        if (
            cut is None or events is None
        ):  # a string holds what looks like the end of an event, or one is longer than a block
            if len(data) > MAX_EVENT_BYTES:
                raise TraceError(f"is no JSON, or has an event of more than {MAX_EVENT_BYTES >> 20} MB")
            data += more
            continue
        columns.take(events)
        data = data[cut.end() - 1 :] + more
    columns.end(data)
    return columns.trace()


def _last_cut(data: bytes) -> re.Match[bytes] | None:
    at = len(data)
    while (at := data.rfind(b"}", 0, at)) >= 0:
        if found := _CUT.match(data, at):
            return found
    return None


def _decoded(text: bytes) -> list[_Event] | None:
    """None where it is no list of JSON. Line breaks in names and NaN, which are no JSON, are taken."""
    events = _strict(text)
    if events is not None:
        return events
    try:
        return _plain(json.loads(text.decode("utf-8", "replace"), strict=False))
    except RecursionError:
        raise TraceError(NESTED) from None
    except ValueError:
        return None


def _strict(text: bytes) -> list[_Event] | None:
    try:
        return _events_of.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    except RecursionError:
        raise TraceError(NESTED) from None


def _plain(found: Any) -> list[_Event]:
    events = [
        {**one, "args": one["args"] if isinstance(one.get("args"), dict) else None}
        for one in found
        if isinstance(one, dict)
    ]
    try:
        return msgspec.convert(events, list[_Event])
    except RecursionError:
        raise TraceError(NESTED) from None


class _Texts(dict[str, int]):
    """The id of each text, which a new one gets; -1 for those beyond MAX_TEXTS. Raises TraceError."""

    characters = 0

    def __missing__(self, text: str) -> int:
        if len(text) > MAX_TEXT:
            return self[text[:MAX_TEXT]]
        if len(self) >= MAX_TEXTS:
            return NONE
        self.characters += len(text)
        if self.characters > MAX_CHARACTERS:
            raise TraceError(
                f"has names of more than {MAX_CHARACTERS >> 20} million characters: have fewer steps traced"
            )
        self[text] = found = len(self)
        return found


class _Columns:
    def __init__(self) -> None:
        self._texts = _Texts()
        self._columns = [
            (bytearray(), np.dtype(kind)) for kind in COLUMNS
        ]  # they grow where they are: parts leave holes
        self._open: dict[tuple[str, str], list[_Event]] = {}  # by process and thread
        self._opened = 0  # of all of them
        self._about: dict[str, Any] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._left_out, self._is_cut = 0, False
        self._seen = 0  # events of any kind
        self._taken, self._collectives = 0, bytearray()  # of four whole numbers: see `Collectives`

    def note(self, text: bytes) -> None:
        """What stands beside the events."""
        try:
            found = json.loads(text.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict):
            self._about |= found

    def end(self, data: bytes) -> None:
        """The last events, and what stands behind them; a file that is cut off ends with its last whole event."""
        cut = _last_cut(data)
        events = None if cut is None else _strict(b"[" + data[: cut.start() + 1] + b"]")
        if cut is not None and events is not None:
            self.take(events)
            data = data[cut.end() - 1 :]
        text = "[" + data.decode("utf-8", "replace")
        try:
            found, at = json.JSONDecoder(strict=False).raw_decode(text)
        except RecursionError:
            raise TraceError(NESTED) from None
        except ValueError:
            self._is_cut = True
            cut = _last_cut(data)
            if cut is not None:
                self.take(_decoded(b"[" + data[: cut.start() + 1] + b"]") or [])
            return
        self.take(_plain(found))
        behind = text[at:].strip().lstrip(",")
        if behind.startswith('"'):
            self.note(b"{" + behind.encode())

    def take(self, events: list[_Event]) -> None:
        self._seen += len(events)
        if self._seen > MAX_SEEN:
            raise TraceError(f"has more than {MAX_SEEN:,} events: have fewer steps traced")
        whole = [one for one in events if one.ph == "X"]
        for one in events:
            if one.ph in ("B", "E"):
                whole += self._closed(one)
            elif (
                one.ph == "M"
                and one.name in ("process_name", "thread_name")
                and one.args
                and isinstance(one.args.name, str)
            ):
                thread = NONE if one.name == "process_name" else self._id(str(one.tid))
                self._names[self._id(str(one.pid)), thread] = one.args.name[:MAX_TEXT]
        start, duration = _numbers([one.ts for one in whole]), _numbers([one.dur for one in whole])
        is_good = (np.abs(start) < MAX_US) & (duration >= 0) & (duration < MAX_US)
        if not is_good.all():
            self._left_out += int((~is_good).sum())
            whole = [one for one, good in zip(whole, is_good, strict=True) if good]
            start, duration = start[is_good], duration[is_good]
        if not whole:
            return
        if self._taken + len(whole) > MAX_EVENTS:
            raise TraceError(f"has more than {MAX_EVENTS:,} events: have fewer steps traced")
        details = [one.args or _NOTHING for one in whole]
        ids = self._id
        columns: tuple[npt.NDArray[Any], ...] = (
            np.array([_kind(one) for one in whole], np.int8),
            _ids([one.name for one in whole], ids),
            start,
            duration,
            _ids([one.pid for one in whole], self._id_of_number),
            _ids([one.tid for one in whole], self._id_of_number),
            _small([one.device for one in details]),
            _small([one.stream for one in details]),
            _whole([one.correlation for one in details]),
            _whole([one.external if one.old_external is None else one.old_external for one in details]),
            np.array([ids(one.stack) if one.stack else NONE for one in details], np.int32),
            np.array([ids(one.module) if one.module else NONE for one in details], np.int32),
            _small([one.graph for one in details]),
            _whole([one.sequence if one.old_sequence is None else one.old_sequence for one in details]),
        )
        for (column, kind), part in zip(self._columns, columns, strict=True):
            column += part.astype(kind, copy=False).tobytes()
        noted = [(place, one) for place, one in enumerate(details) if one.collective is not None]
        if noted:
            numbers = _whole([one.number for _, one in noted])
            names, groups = [ids(one.collective) for _, one in noted], [ids(_group(one)) for _, one in noted]
            places = np.array([place for place, _ in noted]) + self._taken
            self._collectives += np.stack([places, names, groups, numbers], axis=1).astype(np.int64).tobytes()
        self._taken += len(whole)

    def _id(self, text: Any) -> int:
        return self._texts[text] if isinstance(text, str) else NONE

    def _id_of_number(self, value: Any) -> int:
        return self._texts[str(value)]

    def _closed(self, one: _Event) -> list[_Event]:
        """What this event ends; one that only begins is open until another of its thread ends."""
        thread = str(one.pid)[:MAX_TEXT], str(one.tid)[:MAX_TEXT]
        if one.ph == "B":
            self._opened += 1
            if self._opened > MAX_OPEN:
                raise TraceError(f"has more than {MAX_OPEN:,} events that begin and do not end: have it written again")
            self._open.setdefault(thread, []).append(one)
            return []
        opened = self._open.get(thread)
        if not opened:
            self._left_out += 1
            return []
        begun = opened.pop()
        self._opened -= 1
        if not opened:
            del self._open[thread]
        if isinstance(one.ts, int | float) and isinstance(begun.ts, int | float):
            begun.dur = one.ts - begun.ts
        return [begun]

    def trace(self) -> Trace:
        starts = np.frombuffer(*self._columns[START])
        if not len(starts):
            raise TraceError("has no event with a duration")
        order = np.lexsort(
            [-np.frombuffer(*self._columns[START + 1]), starts]
        )  # of two that begin together the outer one first
        columns: list[Any] = []
        while self._columns:  # one after the other: a column at a time is there twice
            columns.insert(0, np.frombuffer(*self._columns.pop())[order])
        base_us = float(columns[START][0])
        columns[START] -= base_us
        left_out = self._left_out + self._opened
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        noted = np.frombuffer(self._collectives, np.int64).reshape(-1, 4)
        collectives = Collectives(places[noted[:, 0]], noted[:, 1], noted[:, 2], noted[:, 3])
        beside = [list(self._texts), base_us, self._about, self._names, left_out, self._is_cut, collectives]
        return Trace._make([*columns, *beside])


def _kind(one: _Event) -> int:
    try:
        return KINDS[one.cat]
    except (KeyError, TypeError):
        return KINDS.get(one.cat.lower(), TraceKind.OTHER) if isinstance(one.cat, str) else TraceKind.OTHER


def _group(one: _Details) -> str | None:
    """Groups of other ranks may have the same name."""
    return f"{one.group} {one.ranks}" if isinstance(one.group, str) and isinstance(one.ranks, str) else None


def _ids(values: list[Any], id_of: Callable[[Any], int]) -> Ids:
    """Few values differ."""
    try:
        known = {value: id_of(value) for value in dict.fromkeys(values)}
        return np.array([known[value] for value in values], np.int32)
    except TypeError:  # a list, which no dictionary has
        return np.array([id_of(value) for value in values], np.int32)


def _numbers(values: list[Any]) -> Floats:
    """NaN for what is no number."""
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array(
            [float(value) if isinstance(value, int | float) and abs(value) < MAX_US else np.nan for value in values]
        )


def _whole(values: list[Any], below: int = 1 << 62) -> Whole:
    return np.array(
        [
            NONE if value is None else value if type(value) is int and -1 <= value < below else _whole_of(value, below)
            for value in values
        ],
        np.int64,
    )


def _small(values: list[Any]) -> Ids:
    return _whole(values, 1 << 31).astype(np.int32)


def _whole_of(value: Any, below: int) -> int:
    """`"7"`, `"0x0"`; -1 for what is no number."""
    if not isinstance(value, str):
        return NONE
    try:
        found = int(value[:40], 0)
    except ValueError:
        return NONE
    return found if 0 <= found < below else NONE
