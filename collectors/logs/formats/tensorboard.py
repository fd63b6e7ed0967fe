"""Reads TensorBoard's event files: scalars, histograms as quantiles, text, hyperparameters and media."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...records import HEAD_CRC_BYTES, Labels, LogLine, Points, Record, RunInfo, Sample, SampleKind
from . import Arrival, Tally
from .jsonl import BACKWARD_STEPS, MAX_NEW_SHAPES
from .protobuf import EIGHT_BYTES, FOUR_BYTES, LENGTH, VARINT, DecodeError, extents, fields, signed, spans, text, varint
from .tfrecord import HEAD, RecordBatch, RecordSplitter, intact
from .values import MAX_NAME_CHARS, MAX_STEP, MAX_TEXT_CHARS, MAX_TIME_S, FieldBudget, escape_control

# Read what a TensorBoard record holds: an `Event` of protocol buffers with the values of a `Summary`. Unknown fields are passed over.

TIME, STEP, SUMMARY = (1, EIGHT_BYTES), (2, VARINT), (5, LENGTH)  # of an `Event`
MAX_NUMBERS = 1 << 20  # of one tensor
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


class HistogramBuckets(NamedTuple):
    """A histogram: three columns of equal length."""

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    count: NDArray[np.float64]  # type: ignore[assignment]


class ScalarLocation(NamedTuple):
    """Where a record that holds one number has it."""

    start: int
    type: str  # of numpy


def event(data: bytes) -> LoggedValues:
    """Raises DecodeError."""
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
    """Raises DecodeError."""
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
    """Raises DecodeError. Of a tensor that says only its last numbers once, all of them."""
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


def histogram(data: bytes) -> HistogramBuckets:
    """Of a `HistogramProto`; the outer edges are its least and greatest value. Raises DecodeError."""
    found = {number: value for number, value in fields(data) if isinstance(value, bytes) and number in (1, 2)}
    columns: dict[int, list[NDArray[np.float64]]] = {6: [], 7: []}
    for number, value in fields(data):
        if number in columns and isinstance(value, bytes):
            columns[number].append(_words(value, "<f8"))
    limits, counts = (np.concatenate(parts) if parts else np.empty(0) for parts in columns.values())
    if len(limits) != len(counts):
        raise DecodeError
    least, greatest = (_words(found.get(number, b""), "<f8")[:1] for number in (1, 2))
    edges = np.concatenate([least if len(least) else [0.0], limits[:-1], greatest if len(greatest) else [0.0]])
    return HistogramBuckets(edges[:-1], edges[1:], counts) if len(counts) else HistogramBuckets(limits, limits, counts)


def quantiles(buckets: HistogramBuckets, shares: tuple[float, ...]) -> list[float] | None:
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
    """Those of a session's start in an `HParamsPluginData`; None if it holds something else. Raises DecodeError."""
    starts = [value for number, value in fields(data) if number == 3 and isinstance(value, bytes)]
    entries = [value for start in starts for number, value in fields(start) if number == 1 and isinstance(value, bytes)]
    found: dict[str, Any] = {}
    for entry in entries:
        pair = {number: value for number, value in fields(entry) if isinstance(value, bytes)}
        found[text(pair.get(1, b""))] = _plain(pair.get(2, b""))
    return found if starts else None


def spot_of(data: bytes) -> ScalarLocation | None:
    """Of a record whose only value is one number, which begins with its time. None for any other. Raises DecodeError."""
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
        return ScalarLocation(parts[2][1], "<f4") if parts[2][0] == FOUR_BYTES else None
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
    if size > MAX_NUMBERS:
        raise DecodeError
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


def _spot_in_tensor(data: bytes, at: int, end: int) -> ScalarLocation | None:
    parts = {number: (kind, start, stop) for number, kind, start, stop in spans(data, at, end)}
    type_ = TYPES.get(varint(data, parts[1][1])[0]) if 1 in parts and parts[1][0] == VARINT else None
    held = [number for number in parts if number not in (1, 2, 3)]
    if type_ is None or len(held) != 1 or held[0] not in (4, 5, 6):
        return None
    kind, start, stop = parts[held[0]]
    stored = WORDS.get(held[0], type_)
    if kind == VARINT or stop - start != np.dtype(stored).itemsize:
        return None
    return ScalarLocation(start, stored)


# Where the images, audio, texts and histograms of a value lie in its bytes: they are referred to, never copied.
#
# Value: 4 image {4: encoded}   5 histogram   6 audio {4: encoded}   8 tensor {8: strings}

IMAGE, HISTOGRAM, AUDIO, TENSOR = 4, 5, 6, 8  # fields of a value
ENCODED, STRINGS = 4, 8  # fields of an image or audio; of a tensor
MAX_OF_ONE = 16  # images or audio clips of one value
OF_HISTOGRAM = "application/x-tensorboard-histogram"  # a `HistogramProto`
OF_TENSOR = (
    "application/x-tensorboard-tensor"  # a `TensorProto` of strings, or of left and right edge and count of each bucket
)
SIGNS: tuple[tuple[bytes, SampleKind, str], ...] = (
    (b"\x89PNG\r\n", "image", "image/png"),
    (b"\xff\xd8\xff", "image", "image/jpeg"),
    (b"GIF8", "image", "image/gif"),
    (b"OggS", "audio", "audio/ogg"),
    (b"fLaC", "audio", "audio/flac"),
    (b"ID3", "audio", "audio/mpeg"),
    (b"\xff\xfb", "audio", "audio/mpeg"),
    (b"\xff\xf3", "audio", "audio/mpeg"),
)


class Payload(NamedTuple):
    kind: SampleKind
    media: str  # "" where it is not known
    start: int  # in the value
    length: int
    head_crc: int


def payloads(value: bytes, plugin: str) -> list[Payload]:
    """Of one `Summary.Value`; what begins behind its known bytes is left out. Raises DecodeError."""
    found: list[Payload] = []
    for number, start, size in extents(value, 0, len(value)):
        if number in (IMAGE, AUDIO):
            inner = [
                (at, long) for part, at, long in extents(value, start, _end(value, start, size)) if part == ENCODED
            ]
            found += _encoded(value, inner[-1:], "image" if number == IMAGE else "audio")
        elif number == HISTOGRAM:
            found += _payload(value, start, size, "histogram", OF_HISTOGRAM)
        elif number == TENSOR:
            found += _of_tensor(value, start, size, plugin)
    return found


def sign_of(head: bytes) -> tuple[SampleKind, str] | None:
    """What the first bytes say: `b"GIF89a" -> ("image", "image/gif")`"""
    if head[:4] == b"RIFF":
        return {b"WAVE": ("audio", "audio/wav"), b"WEBP": ("image", "image/webp")}.get(head[8:12])  # type: ignore[return-value]
    return next(((kind, media) for sign, kind, media in SIGNS if head.startswith(sign)), None)


def _of_tensor(value: bytes, start: int, size: int, plugin: str) -> Iterator[Payload]:
    strings = [(at, long) for part, at, long in extents(value, start, _end(value, start, size)) if part == STRINGS]
    if plugin == "histograms":
        yield from _payload(value, start, size, "histogram", OF_TENSOR)
    elif plugin == "text":
        one = strings[0] if len(strings) == 1 else (start, size)
        yield from _payload(value, *one, "text", "text/plain" if len(strings) == 1 else OF_TENSOR)
    elif plugin == "audio":
        yield from _encoded(value, strings[::2], "audio")  # each is followed by its label
    elif plugin in ("", "images") and all(value[at : at + min(long, 10)].isdigit() for at, long in strings[:2]):
        yield from _encoded(value, strings[2:], "image")  # behind width and height
    elif not plugin:  # its name is cut off behind what is in it
        yield from _encoded(value, [place for place in strings if sign_of(value[place[0] : place[0] + 16])], "file")


def _encoded(value: bytes, places: list[tuple[int, int]], kind: SampleKind) -> Iterator[Payload]:
    for start, size in places[:MAX_OF_ONE]:
        known = sign_of(value[start : start + 16])
        yield from _payload(value, start, size, *(known or (kind, "")))


def _payload(value: bytes, start: int, size: int, kind: SampleKind, media: str) -> Iterator[Payload]:
    head = value[start : start + min(size, HEAD_CRC_BYTES)]
    if size and len(head) == min(size, HEAD_CRC_BYTES):
        yield Payload(kind, media, start, size, zlib.crc32(head))


def _end(value: bytes, start: int, size: int) -> int:
    return min(start + size, len(value))


# Read many TFRecords at a time that hold one number each: those of one tag differ in time, step and that number only.

MIN_BYTES = 22  # of a record that may hold a number
MAX_BYTES = 512  # behind the step of one
FEW_ROWS = 8  # are faster looked at one by one
MAX_TEMPLATES = 20_000
MULTIPLIERS = np.frombuffer(hashlib.shake_128(b"odd").digest(MAX_BYTES), np.uint64) | np.uint64(
    1
)  # numpy.random takes 2 MB

Ints = NDArray[np.int64]


@dataclass(slots=True)
class TagState:
    """The series of one tag, as far as the file has been read."""

    names: tuple[str, ...]
    segment: int
    top: int | None = None  # the highest step of the segment

    def advance(self, step: int) -> int:
        """The segment of a value of that step."""
        if self.top is None or step > self.top:
            self.top = step
        elif step < self.top - BACKWARD_STEPS:
            self.top = step
            self.segment += 1
        return self.segment

    def advance_all(self, steps: Ints) -> Ints:
        """The segments of values of these steps, in order."""
        tops = np.maximum.accumulate(np.append(steps[0] if self.top is None else self.top, steps))
        if (steps < tops[:-1] - BACKWARD_STEPS).any():
            return np.array([self.advance(step) for step in steps.tolist()], np.int64)
        self.top = int(tops[-1])
        return np.full(len(steps), self.segment, np.int64)


class RecordTemplate(NamedTuple):
    """What records of one tag have in common."""

    tag: TagState
    type: str  # of numpy


class RecordHeads(NamedTuple):
    """Of N records."""

    time_s: NDArray[np.float64]
    step: Ints
    body: Ints  # where what follows the step begins; 0 in a record that does not begin with them


@dataclass
class RecordGroups:
    """Records by all that stands behind their step but for their number: alike ones have the same key."""

    keys: Ints  # -1 where a record is to be looked at by itself
    bodies: list[bytes] = field(default_factory=list)  # by key, with zeros in place of the number
    places: list[tuple[int, int]] = field(
        default_factory=list
    )  # by key: where behind the step the number begins and ends
    templates: list[RecordTemplate | None] = field(default_factory=list)  # by key

    def is_known(self, row: int) -> bool:
        key = self.keys[row]
        return bool(key >= 0 and self.templates[key])

    def known(self) -> NDArray[np.bool_]:
        """Whether each record has a template."""
        found: NDArray[np.bool_] = np.array([bool(template) for template in self.templates] + [False])[self.keys]
        return found

    def tags(self) -> list[TagState]:
        return [template.tag for template in self.templates if template]

    def values(self, data: bytes, keys: Ints, bodies: Ints) -> NDArray[np.float64]:
        """The numbers of records with templates."""
        found = np.empty(len(keys))
        begins = np.array([place[0] for place in self.places], np.int64)
        types = np.array([template.type if template else "" for template in self.templates], "U3")
        for type_ in set(types.tolist()) - {""}:
            which = np.flatnonzero(types[keys] == type_)
            at = bodies[which] + begins[keys[which]]
            raw = np.frombuffer(data, np.uint8)[at[:, None] + np.arange(np.dtype(type_).itemsize)]
            found[which] = raw.view(type_).ravel()
        return found


class RecordTemplates:
    """Those of one file so far."""

    def __init__(self) -> None:
        self._places: dict[
            int, tuple[int, int]
        ] = {}  # by the count of bytes behind the step: where the number begins and ends
        self._known: dict[bytes, RecordTemplate] = {}

    def sort(self, data: bytes, starts: Ints, lengths: Ints, bodies: Ints) -> RecordGroups:
        found = RecordGroups(np.full(len(starts), -1, np.int64))
        sizes = starts + lengths - bodies
        rows = np.flatnonzero((bodies > 0) & (sizes <= MAX_BYTES))
        rows = rows[np.argsort(sizes[rows], kind="stable")]
        for same in np.split(rows, np.flatnonzero(np.diff(sizes[rows])) + 1) if len(rows) else []:
            size, first = int(sizes[same[0]]), int(same[0])
            place = self._place(data, int(starts[first]), int(bodies[first]), size)
            if place:
                self._sort(np.frombuffer(data, np.uint8), bodies[same], same, size, place, found)
        return found

    def learn(self, sorting: RecordGroups, row: int, template: RecordTemplate, place: tuple[int, int]) -> None:
        """That the record holds a number of the tag, and where behind its step."""
        key = int(sorting.keys[row])
        if key < 0 or sorting.places[key] != place:
            return
        if len(self._known) >= MAX_TEMPLATES:
            self._known.clear()
        self._known[sorting.bodies[key]] = sorting.templates[key] = template

    def _place(self, data: bytes, start: int, body: int, size: int) -> tuple[int, int] | None:
        if size not in self._places:
            try:
                spot = spot_of(data[start : body + size])
            except DecodeError:
                spot = None
            if spot is None:
                return None
            self._places[size] = spot.start - (body - start), spot.start - (body - start) + np.dtype(spot.type).itemsize
        return self._places[size]

    def _sort(
        self, data: NDArray[np.uint8], at: Ints, rows: Ints, size: int, place: tuple[int, int], found: RecordGroups
    ) -> None:
        """Records of one size."""
        table = np.zeros((len(rows), -(-size // 8) * 8), np.uint8)
        table[:, :size] = sliding_window_view(data, size)[at]
        table[:, place[0] : place[1]] = 0
        if len(rows) < FEW_ROWS:
            firsts, which = range(len(rows)), np.arange(len(rows))
        else:
            hashes = (table.view(np.uint64) * MULTIPLIERS[: table.shape[1] // 8]).sum(axis=1)
            _, index, which = np.unique(hashes, return_index=True, return_inverse=True)
            firsts = index.tolist()
            table_of_first = table[index[which]]
            if not np.array_equal(table, table_of_first):  # two that differ have the same hash
                return
        keys = np.array([self._key(table[first, :size].tobytes(), place, found) for first in firsts], np.int64)
        found.keys[rows] = keys[which]

    def _key(self, body: bytes, place: tuple[int, int], found: RecordGroups) -> int:
        found.bodies.append(body)
        found.places.append(place)
        found.templates.append(self._known.get(body))
        return len(found.bodies) - 1


class ScalarBatch:
    """The numbers of some records, in columns."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._tags: list[TagState] = []
        self._times: list[float] = []
        self._steps: list[int] = []
        self._values: list[float] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, tag: TagState, time_s: float, step: int, value: float) -> None:
        self._rows.append(row)
        self._tags.append(tag)
        self._times.append(time_s)
        self._steps.append(step)
        self._values.append(value)

    @property
    def newest_tag(self) -> TagState:
        return self._tags[-1]

    def with_known(self, data: bytes, heads: RecordHeads, sorting: RecordGroups, until: int) -> NumberColumns:
        """Together with those of the records, up to row `until`, whose templates are known."""
        alone = np.zeros(len(heads.step), np.bool_)
        alone[self._rows] = True
        rows = np.flatnonzero(sorting.known()[:until] & ~alone[:until])
        keys = sorting.keys[rows]
        tags = list({id(tag): tag for tag in self._tags + sorting.tags()}.values())
        number_of = {id(tag): i for i, tag in enumerate(tags)}
        of_key = np.array([number_of[id(template.tag)] if template else 0 for template in sorting.templates], np.int64)
        own = np.array([number_of[id(tag)] for tag in self._tags], np.int64)
        row = np.concatenate([np.array(self._rows, np.int64), rows])
        order = np.argsort(row, kind="stable")
        return NumberColumns(
            row[order],
            np.concatenate([own, of_key[keys]])[order],
            np.concatenate([np.array(self._times), heads.time_s[rows]])[order],
            np.concatenate([np.array(self._steps, np.int64), heads.step[rows]])[order],
            np.concatenate([np.array(self._values), sorting.values(data, keys, heads.body[rows])])[order],
            tags,
        )


class NumberColumns(NamedTuple):
    """One entry a number, in the order of the file."""

    row: Ints
    tag: Ints  # index into `tags`
    time_s: NDArray[np.float64]
    step: Ints
    value: NDArray[np.float64]
    tags: list[TagState]

    def segments(self) -> list[int]:
        """Each tag goes on by its steps."""
        found = np.zeros(len(self.row), np.int64)
        order = np.argsort(self.tag, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(self.tag[order])) + 1) if len(order) else []:
            found[same] = self.tags[self.tag[same[0]]].advance_all(self.step[same])
        segments: list[int] = found.tolist()
        return segments


def heads(data: bytes, starts: Ints, lengths: Ints) -> RecordHeads:
    bytes_ = np.frombuffer(data, np.uint8)
    found = RecordHeads(np.zeros(len(starts)), np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64))
    rows = np.flatnonzero(lengths >= MIN_BYTES)
    rows = rows[bytes_[starts[rows]] == 0x09]
    begin = bytes_[
        starts[rows, None] + np.arange(1, MIN_BYTES - 2)
    ]  # 8 bytes of time, the key of the step, 10 bytes of it
    stepped = begin[:, 8] == 0x10
    digits = begin[:, 9:]
    count = np.argmin(digits >= 128, axis=1) + 1  # of 7 bits
    step = np.zeros(len(rows), np.int64)
    for i in range(int(count.max(initial=0)) if len(rows) else 0):
        step |= np.where(i < count, digits[:, i] & 127, 0).astype(np.int64) << min(7 * i, 56)
    plain = ~stepped | ((digits[np.arange(len(rows)), count - 1] < 128) & (count < 9) & (step <= MAX_STEP))
    found.time_s[rows] = np.ascontiguousarray(begin[:, :8]).view("<f8").ravel()
    found.step[rows] = np.where(stepped, step, 0)
    found.body[rows] = np.where(plain, starts[rows] + np.where(stepped, 10 + count, 9), 0)
    return found


NAME = "events.out.tfevents."  # and the time in seconds, the host, the process
FILE = re.compile(re.escape(NAME) + r"(\d{1,11})?")
PARTS = {"train", "training", "val", "valid", "validation", "eval", "test"}
SESSION = re.compile(r"\d{10}\.\d+")  # the folder that `add_hparams` makes: a time
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = ("/min", "/p05", "/p25", "/p50", "/p75", "/p95", "/max")
MAX_REMEMBERED = 500  # tags of one file, with its offset
MAX_CONFIG_BYTES = 16 << 10  # of JSON, kept of one session's hyperparameters
MAX_TEXT_LINES = 500  # of one text


def part(folder: str) -> str | None:
    """What the tags of a folder of that name begin with in the run of the folder above; None where the folder is a run itself.

    `part("train") -> "train/"`, `part("1764000000.25") -> ""`, `part("baseline") -> None`
    """
    return f"{folder}/" if folder.lower() in PARTS else "" if SESSION.fullmatch(folder) else None


class EventFile:
    """One file. `{wall_time: 1.5, step: 7, {tag: "loss", simple_value: 0.25}} -> Points(run, labels, ("loss",), (0.25,), 1.5, 7)`"""

    def __init__(
        self,
        run: str,
        labels: Labels,
        file: str,
        prefix: str,
        fault: Callable[[str], str],
        take: Callable[[dict[str, Any]], dict[str, Any] | None],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """`file` is its place in the run's folder; `fault` says why a series of that name is left out; `take` gets the hyperparameters, and answers what is known of the run, where that is new."""
        state = state or {}
        self.tally = Tally()
        self._run, self._labels, self._file, self._prefix, self._fault, self._take = (
            run,
            labels,
            file,
            prefix,
            fault,
            take,
        )
        begun = FILE.search(file)
        self._begun_s = int(begun[1] or 0) if begun else 0  # a later file is another segment
        self._is_summary = any(
            SESSION.fullmatch(folder) for folder in file.split("/")[:-1]
        )  # final values: step 0 is none
        self._at: int = state.get("at", 0)  # in the file, of the bytes to come
        self._cutter = RecordSplitter(state.get("skip", 0), state.get("lost", False))
        self._kept: dict[str, list[int | None]] = state.get("tags", {})
        self._plugins: dict[str, str] = dict(state.get("plugins", {}))  # of tags that name theirs only once
        self._config: dict[str, Any] = state.get("config", {})
        self._tags: dict[str, TagState] = {}
        self._names: dict[str, None] = dict.fromkeys(state.get("names", ()))  # of the series that it brought
        self._templates, self._numbers = RecordTemplates(), ScalarBatch()
        self._new_tags = 0

    def state(self) -> dict[str, Any]:
        tags = self._kept | {key: [tag.segment - self._begun_s, tag.top] for key, tag in self._tags.items()}
        state = {
            "at": self._at,
            "skip": self._cutter.skip,
            "lost": self._cutter.lost,
            "plugins": self._plugins,
            "config": self._config,
        }
        state["tags"] = dict(list(tags.items())[:MAX_REMEMBERED])
        state["names"] = list(self._names)[:MAX_REMEMBERED]
        return {name: value for name, value in state.items() if value}

    def parse_bytes(self, data: bytes, arrival: Arrival | None) -> tuple[list[Record], int]:
        cut = self._cutter.cut(data)
        self._new_tags = 0
        records, used = self._read(data, cut, arrival)
        if used < cut.used:
            self._cutter.rewind()
        for at in cut.damaged:
            if at < used:
                self._skip("damaged, up to the next that can be read")
        self._at += used
        if self.tally.first_skip.startswith("line "):
            self.tally.first_skip = f"record {self.tally.first_skip[5:]}"
        return records, used

    def _read(self, data: bytes, cut: RecordBatch, arrival: Arrival | None) -> tuple[list[Record], int]:
        """The records, and the place up to which they were read: not all where a batch brings many new series."""
        starts, lengths = np.array(cut.starts, np.int64), np.array(cut.lengths, np.int64)
        good = _good(data, cut, starts, lengths)
        head = heads(data, starts, lengths)
        sorting = self._templates.sort(data, starts, lengths, np.where(good, head.body, 0))
        self._numbers = ScalarBatch()
        others: list[tuple[int, list[Record]]] = []  # with their row
        before, until = self.tally.lines_read, len(starts)
        for row in np.flatnonzero(~sorting.known()).tolist():
            if sorting.is_known(row):  # since the first of its kind was read
                continue
            if self._new_tags >= MAX_NEW_SHAPES:
                until = row
                break
            self.tally.lines_read = before + row + 1
            if not good[row]:
                self._skip("damaged")
            elif found := self._record(
                data, Span(row, int(starts[row]), int(starts[row] + lengths[row])), sorting, head, arrival
            ):
                others.append((row, found))
        self.tally.lines_read = before + until
        columns = self._numbers.with_known(data, head, sorting, until)
        used = cut.used if until == len(starts) else int(starts[until]) - HEAD.size
        return _merged(self._points(columns, arrival), columns, others), used

    def _points(self, columns: NumberColumns, arrival: Arrival | None) -> list[Record]:
        time_s: list[float | None] = columns.time_s.tolist()
        if not ((columns.time_s > 0.0) & (columns.time_s < MAX_TIME_S)).all():
            time_s = [self._time(time_s, arrival) for time_s in columns.time_s.tolist()]
        step: list[int | None] = columns.step.tolist()
        if self._is_summary:
            step = [number or None for number in step]
        all_names = [tag.names for tag in columns.tags]
        names = [all_names[tag] for tag in columns.tag.tolist()]
        values = zip(columns.value.tolist(), strict=True)
        shared = repeat(self._run), repeat(self._labels)
        return list(map(Points, *shared, names, values, time_s, step, columns.segments()))

    def _record(
        self, data: bytes, span: Span, sorting: RecordGroups, head: RecordHeads, arrival: Arrival | None
    ) -> list[Record]:
        """Of any record; where it holds one number, others like it are known from now on."""
        record, place = data[span.start : span.end], span.start - HEAD.size
        try:
            logged = event(record)
            spot = spot_of(record) if sorting.keys[span.row] >= 0 else None
        except DecodeError:
            self._skip("not an event")
            return []
        if logged.version:  # the first record of a file
            self._at = -place
        if abs(logged.step) > MAX_STEP:
            self._skip("a step beyond 2^53")
            return []
        count, records = len(self._numbers), []
        for value, start in zip(logged.values, logged.starts, strict=True):
            moment = RecordTime(span.row, logged.time_s, logged.step, self._at + span.start + start)
            records += self._value(value, moment, arrival)
        if spot and len(self._numbers) == count + 1:
            at = span.start + spot.start - int(head.body[span.row])
            where = at, at + np.dtype(spot.type).itemsize
            self._templates.learn(sorting, span.row, RecordTemplate(self._numbers.newest_tag, spot.type), where)
        return records

    def _value(self, data: bytes, moment: RecordTime, arrival: Arrival | None) -> list[Record]:
        try:
            value = summary_value(data)
            value = value._replace(tag=self._prefixed(value.tag), plugin=self._plugin_of(value))
            if value.number is not None:
                return self._number(value.tag, value.number, moment)
            samples = self._samples(data, value, moment, arrival)
            return samples + self._by_kind(value, moment, arrival, has_samples=bool(samples))
        except DecodeError:
            self.tally.skip_field("a value", "cannot be read")
            return []

    def _by_kind(
        self, value: SummaryValue, moment: RecordTime, arrival: Arrival | None, *, has_samples: bool
    ) -> list[Record]:
        if value.histogram is not None:
            return self._histogram(value.tag, histogram(value.histogram), moment, arrival)
        if value.plugin == "hparams":
            return self._hyperparameters(value.content)
        if value.is_media and not has_samples:
            self.tally.skip_field(value.tag, "is an image or audio whose place is not known")
        if value.tensor is None:
            return []
        if value.plugin == "text":
            return self._text(value.tag, tensor(value.tensor).strings, moment, arrival)
        if value.plugin == "histograms":
            return self._histogram(value.tag, _triples(tensor(value.tensor).numbers), moment, arrival)
        if value.plugin in ("", "scalars"):
            numbers = tensor(value.tensor).numbers
            if len(numbers) == 1:
                return self._number(value.tag, float(numbers[0]), moment)
        if has_samples:
            return []
        self.tally.skip_field(
            value.tag, f"is of the plugin {escape_control(value.plugin[:80]) or '(none)'}, and not a number"
        )
        return []

    def _number(self, name: str, number: float, moment: RecordTime) -> list[Record]:
        """A point among the others of the batch."""
        if tag := self._tag(name, name):
            self._numbers.add(moment.row, tag, moment.time_s, moment.step, number)
        return []

    def _histogram(
        self, name: str, buckets: HistogramBuckets, moment: RecordTime, arrival: Arrival | None
    ) -> list[Record]:
        bands = quantiles(buckets, SHARES)
        if bands is None:
            return []
        tag = self._tag(f"{name}{BANDS[0]}", *(name + band for band in BANDS))
        values = (float(buckets.left[0]), *bands, float(buckets.right[-1]))
        if tag is None:
            return []
        time_s, segment = self._time(moment.time_s, arrival), tag.advance(moment.step)
        return [Points(self._run, self._labels, tag.names, values, time_s, moment.step, segment)]

    def _text(self, tag: str, strings: list[bytes], moment: RecordTime, arrival: Arrival | None) -> list[Record]:
        lines = "\n".join(text(string) for string in strings).split("\n")
        if len(lines) > MAX_TEXT_LINES:
            self.tally.skip_field(tag, f"has more than {MAX_TEXT_LINES} lines")
        head, when = f"{tag}, step {moment.step}: ", self._when(moment.time_s, arrival)
        return [
            LogLine(self._run, self._file, when, 0, escape_control(head + line.rstrip("\r"))[:MAX_TEXT_CHARS])
            for line in lines[:MAX_TEXT_LINES]
            if line.strip()
        ]

    def _samples(self, data: bytes, value: SummaryValue, moment: RecordTime, arrival: Arrival | None) -> list[Record]:
        """By reference. Further ones of a value have their number behind the tag: `images`, `images/1`."""
        found = payloads(data, value.plugin) if value.plugin != "hparams" else []
        return [
            Sample(
                self._run,
                escape_control(value.tag[:MAX_NAME_CHARS] + (f"/{number}" if number else "")),
                payload.kind,
                payload.media,
                self._time(moment.time_s, arrival),
                moment.step,
                path=self._file,
                offset=moment.offset + payload.start,
                length=payload.length,
                head_crc=payload.head_crc,
            )
            for number, payload in enumerate(found)
        ]

    def _hyperparameters(self, content: bytes) -> list[Record]:
        found = hyperparameters(content)
        if found is None:
            return []
        self._config = FieldBudget(MAX_CONFIG_BYTES, self.tally.skip_field).fields(found)
        info = self._take(self._config)
        return [RunInfo(self._run, info)] if info is not None else []

    def _tag(self, key: str, *names: str) -> TagState | None:
        """None, counted, where the run can have no such series."""
        tag = self._tags.get(key)
        if tag is None:
            for name in names:
                if fault := self._fault(name):
                    self.tally.skip_field(name, fault)
                    return None
            self._names |= dict.fromkeys(names)
            backs, top = self._kept.get(key, (0, None))
            tag = self._tags[key] = TagState(names, self._begun_s + (backs or 0), top)
            self._new_tags += 1
        return tag

    def _prefixed(self, tag: str) -> str:
        return tag if tag.startswith(self._prefix) else self._prefix + tag

    def _plugin_of(self, value: SummaryValue) -> str:
        """Writers of TensorFlow 2 may name it with the first value of a tag only."""
        if value.plugin and value.tensor is not None and len(self._plugins) < MAX_REMEMBERED:
            self._plugins[value.tag] = value.plugin
        return value.plugin or (self._plugins.get(value.tag, "") if value.tensor is not None else "")

    def _time(self, time_s: float, arrival: Arrival | None) -> float | None:
        """The time as it was logged; without one, when it came."""
        if 0.0 < time_s < MAX_TIME_S:
            return time_s
        if time_s:
            self.tally.skip_field("wall_time", "is not a time in Unix seconds")
        return arrival.until_s if arrival else None

    def _when(self, logged_s: float, arrival: Arrival | None) -> float:
        """For what must have a time: in doubt that of the file's beginning."""
        time_s = self._time(logged_s, arrival)
        return float(self._begun_s) if time_s is None else time_s

    def _skip(self, reason: str) -> None:
        self.tally.skip_line(reason)


class Span(NamedTuple):
    """The data of a record in the bytes of a batch."""

    row: int
    start: int
    end: int


class RecordTime(NamedTuple):
    """What a value of a record has of it."""

    row: int
    time_s: float  # Unix seconds, as it was logged
    step: int
    offset: int  # of the value in its file


def _good(data: bytes, cut: RecordBatch, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each record is as it was written; of long ones that is not asked."""
    good = np.ones(len(starts), np.bool_)
    asked = good.copy()
    asked[cut.long] = False
    good[asked] = intact(data, starts[asked], lengths[asked])
    return good


def _merged(points: list[Record], columns: NumberColumns, others: list[tuple[int, list[Record]]]) -> list[Record]:
    """In the order of the file."""
    records: list[Record] = []
    done = 0
    places = np.searchsorted(columns.row, [row for row, _ in others]).tolist()
    for place, (_, found) in zip(places, others, strict=True):
        records += points[done:place]
        records += found
        done = place
    return records + points[done:] if records else points


def _triples(numbers: NDArray[np.float64]) -> HistogramBuckets:
    """A histogram as TensorFlow 2 writes it: left and right edge and count of each bucket."""
    table = numbers[: len(numbers) // 3 * 3].reshape(-1, 3)
    return HistogramBuckets(table[:, 0], table[:, 1], table[:, 2])
