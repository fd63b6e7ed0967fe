"""Read what a TensorBoard record holds: an `Event` of protocol buffers with the values of a `Summary`. Unknown fields are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .protobuf import EIGHT_BYTES, FOUR_BYTES, LENGTH, VARINT, Malformed, fields, signed, spans, text, varint

TIME, STEP, SUMMARY = (1, EIGHT_BYTES), (2, VARINT), (5, LENGTH)  # of an `Event`
MOST_NUMBERS = 1 << 20  # of one tensor
BFLOAT16, STRING = 14, 7
TYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
"""Of a tensor's numbers in its content, by DataType."""
WORDS = {5: "<f4", 6: "<f8"}  # numbers that stand in fields of a tensor: fixed ones,
COUNTS = {7, 10, 11, 13, 16, 17}  # and varints; 13 holds the bits of halves


class LoggedValues(NamedTuple):
    """An `Event`."""

    time_s: float  # Unix seconds; 0.0 where the writer gave none
    step: int
    version: str  # of the file, in its first record
    values: list[bytes]  # `Summary.Value`s
    starts: list[int]  # where each begins


class SummaryValue(NamedTuple):
    tag: str
    number: float | None = None
    histogram: bytes | None = None  # a `HistogramProto`
    is_media: bool = False  # an image or audio
    tensor: bytes | None = None
    plugin: str = ""
    content: bytes = b""  # the plugin's own message


class Tensor(NamedTuple):
    type: int
    shape: tuple[int, ...]
    numbers: NDArray[np.float64]  # flat
    strings: list[bytes]


class Buckets1D(NamedTuple):
    """A histogram: three columns of equal length."""

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    count: NDArray[np.float64]  # type: ignore[assignment]


class Spot(NamedTuple):
    """Where a record that holds one number has it."""

    start: int
    type: str  # of numpy


def event(data: bytes) -> LoggedValues:
    """Raises Malformed."""
    time_s, step, version = 0.0, 0, ""
    values: list[bytes] = []
    starts: list[int] = []
    for number, kind, start, stop in spans(data):
        match number, kind:
            case 1, _ if kind == EIGHT_BYTES:
                time_s = float(np.frombuffer(data[start:stop], "<f8")[0])
            case 2, _ if kind == VARINT:
                step = signed(varint(data, start)[0])
            case 3, _ if kind == LENGTH:
                version = text(data[start:stop])
            case 5, _ if kind == LENGTH:
                for inner, inner_kind, begin, end in spans(data, start, stop):
                    if inner == 1 and inner_kind == LENGTH:
                        values.append(data[begin:end])
                        starts.append(begin)
    return LoggedValues(time_s, step, version, values, starts)


def summary_value(data: bytes) -> SummaryValue:
    """Raises Malformed."""
    found: dict[str, Any] = {"tag": ""}
    for number, value in fields(data):
        match number, value:
            case 1, bytes():
                found["tag"] = text(value)
            case 2, bytes() if len(value) == 4:
                found["number"] = float(np.frombuffer(value, "<f4")[0])
            case 4 | 6, bytes():
                found["is_media"] = True
            case 5, bytes():
                found["histogram"] = value
            case 8, bytes():
                found["tensor"] = value
            case 9, bytes():
                found |= _plugin(value)
    return SummaryValue(**found)


def tensor(data: bytes) -> Tensor:
    """Raises Malformed. Of a tensor that says only its last numbers once, all of them."""
    type_, content, strings = 0, b"", []
    shape: tuple[int, ...] = ()
    typed: list[NDArray[np.float64]] = []
    for number, value in fields(data):
        match number, value:
            case 1, int():
                type_ = value
            case 2, bytes():
                shape = _shape(value)
            case 4, bytes():
                content = value
            case 8, bytes():
                strings.append(value)
            case _ if number in WORDS and isinstance(value, bytes):
                typed.append(_words(value, WORDS[number]))
            case _ if number in COUNTS:
                typed.append(_counted(value, type_))
    numbers = _contents(content, type_) if content else np.concatenate(typed) if typed else np.empty(0)
    return Tensor(type_, shape, _filled(numbers, shape), strings)


def histogram(data: bytes) -> Buckets1D:
    """Of a `HistogramProto`; the outer edges are its least and greatest value. Raises Malformed."""
    found = {number: value for number, value in fields(data) if isinstance(value, bytes) and number in (1, 2)}
    columns: dict[int, list[NDArray[np.float64]]] = {6: [], 7: []}
    for number, value in fields(data):
        if number in columns and isinstance(value, bytes):
            columns[number].append(_words(value, "<f8"))
    limits, counts = (np.concatenate(parts) if parts else np.empty(0) for parts in columns.values())
    if len(limits) != len(counts):
        raise Malformed
    least, greatest = (_words(found.get(number, b""), "<f8")[:1] for number in (1, 2))
    edges = np.concatenate([least if len(least) else [0.0], limits[:-1], greatest if len(greatest) else [0.0]])
    return Buckets1D(edges[:-1], edges[1:], counts) if len(counts) else Buckets1D(limits, limits, counts)


def quantiles(buckets: Buckets1D, shares: tuple[float, ...]) -> list[float] | None:
    """Below which values so many of all lie, spread evenly within each bucket; None for a histogram of nothing."""
    count = np.where(np.isfinite(buckets.count) & (buckets.count > 0), buckets.count, 0.0)
    until = count.cumsum()
    if not len(until) or not 0 < until[-1] < np.inf:
        return None
    wanted = np.array(shares) * until[-1]
    at = np.minimum(np.searchsorted(until, wanted), int(np.flatnonzero(count)[-1]))
    with np.errstate(all="ignore"):
        within = np.clip((wanted - until[at] + count[at]) / count[at], 0.0, 1.0)
        found: list[float] = (buckets.left[at] * (1 - within) + buckets.right[at] * within).tolist()
    return found


def hyperparameters(data: bytes) -> dict[str, Any] | None:
    """Those of a session's start in an `HParamsPluginData`; None if it holds something else. Raises Malformed."""
    starts = [value for number, value in fields(data) if number == 3 and isinstance(value, bytes)]
    entries = [value for start in starts for number, value in fields(start) if number == 1 and isinstance(value, bytes)]
    found: dict[str, Any] = {}
    for entry in entries:
        pair = {number: value for number, value in fields(entry) if isinstance(value, bytes)}
        found[text(pair.get(1, b""))] = _plain(pair.get(2, b""))
    return found if starts else None


def spot(data: bytes) -> Spot | None:
    """Of a record whose only value is one number, which begins with its time. None for any other. Raises Malformed."""
    outer = list(spans(data))
    if [part[:2] for part in outer] not in ([TIME, SUMMARY], [TIME, STEP, SUMMARY]):
        return None
    inner = list(spans(data, *outer[-1][2:]))
    if [part[:2] for part in inner] != [(1, LENGTH)]:
        return None
    parts = {number: (kind, start, stop) for number, kind, start, stop in spans(data, *inner[0][2:])}
    if (2 in parts) == (8 in parts):
        return None
    if 2 in parts:
        return Spot(parts[2][1], "<f4") if parts[2][0] == FOUR_BYTES else None
    return _spot_in_tensor(data, *parts[8][1:])


def _plugin(metadata: bytes) -> dict[str, Any]:
    """Of a `SummaryMetadata`."""
    found: dict[str, Any] = {}
    for number, value in fields(metadata):
        if number == 1 and isinstance(value, bytes):
            for inner, part in fields(value):
                if inner == 1 and isinstance(part, bytes):
                    found["plugin"] = text(part)
                elif inner == 2 and isinstance(part, bytes):
                    found["content"] = part
    return found


def _shape(data: bytes) -> tuple[int, ...]:
    sizes = []
    for number, dimension in fields(data):
        if number == 2 and isinstance(dimension, bytes):
            sizes.append(
                next((signed(size) for inner, size in fields(dimension) if inner == 1 and isinstance(size, int)), 0)
            )
    return tuple(sizes)


def _contents(content: bytes, type_: int) -> NDArray[np.float64]:
    if type_ == BFLOAT16:
        return _bfloat16(np.frombuffer(content[: len(content) // 2 * 2], "<u2"))
    return _words(content, TYPES[type_]) if type_ in TYPES else np.empty(0)


def _counted(value: int | bytes, type_: int) -> NDArray[np.float64]:
    """Numbers that are written as varints: one, or many behind each other."""
    numbers = [value] if isinstance(value, int) else list(_varints(value))
    if type_ == BFLOAT16:
        return _bfloat16(np.array([number & 0xFFFF for number in numbers], "<u2"))
    if type_ == 19:
        return np.array([number & 0xFFFF for number in numbers], "<u2").view("<f2").astype(np.float64)
    return np.array([float(number if type_ == 23 else signed(number)) for number in numbers], np.float64)


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        number, at = varint(data, at)
        yield number


def _words(data: bytes, type_: str) -> NDArray[np.float64]:
    size = np.dtype(type_).itemsize
    return np.frombuffer(data[: len(data) // size * size], type_).astype(np.float64)


def _bfloat16(halves: NDArray[Any]) -> NDArray[np.float64]:
    """The upper halves of 32-bit floats."""
    return (halves.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _filled(numbers: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The last number stands for all that follow it."""
    size = 1
    for length in shape:
        size *= max(length, 0)
    if not 0 < len(numbers) < size:
        return numbers
    if size > MOST_NUMBERS:
        raise Malformed
    return np.concatenate([numbers, np.full(size - len(numbers), numbers[-1])])


def _plain(data: bytes) -> object:
    """A `google.protobuf.Value`; lists and objects are left out, as no writer of hyperparameters makes any."""
    for number, value in fields(data):
        match number, value:
            case 2, bytes() if len(value) == 8:
                return float(np.frombuffer(value, "<f8")[0])
            case 3, bytes():
                return text(value)
            case 4, int():
                return bool(value)
    return None


def _spot_in_tensor(data: bytes, at: int, end: int) -> Spot | None:
    parts = {number: (kind, start, stop) for number, kind, start, stop in spans(data, at, end)}
    type_ = TYPES.get(varint(data, parts[1][1])[0]) if 1 in parts and parts[1][0] == VARINT else None
    held = [number for number in parts if number not in (1, 2, 3)]
    if type_ is None or len(held) != 1 or held[0] not in (4, 5, 6):
        return None
    kind, start, stop = parts[held[0]]
    stored = WORDS.get(held[0], type_)
    if kind == VARINT or stop - start != np.dtype(stored).itemsize:
        return None
    return Spot(start, stored)
