"""Read many TFRecords at a time that hold one number each: those of one tag differ in time, step and that number only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..jsonl import BACKWARD_STEPS
from ..values import MAX_STEP
from . import summary
from .protobuf import Malformed

LEAST_BYTES = 22  # of a record that may hold a number
MOST_BYTES = 512  # behind the step of one
FEW_ROWS = 8  # are faster looked at one by one
MAX_TEMPLATES = 20_000
MULTIPLIERS = np.frombuffer(hashlib.shake_128(b"odd").digest(MOST_BYTES), np.uint64) | np.uint64(
    1
)  # numpy.random takes 2 MB

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Tag:
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


class Template(NamedTuple):
    """What records of one tag have in common."""

    tag: Tag
    type: str  # of numpy


class Heads(NamedTuple):
    """Of N records."""

    time_s: NDArray[np.float64]
    step: Ints
    body: Ints  # where what follows the step begins; 0 in a record that does not begin with them


@dataclass
class Sorting:
    """Records by all that stands behind their step but for their number: alike ones have the same key."""

    keys: Ints  # -1 where a record is to be looked at by itself
    bodies: list[bytes] = field(default_factory=list)  # by key, with zeros in place of the number
    places: list[tuple[int, int]] = field(
        default_factory=list
    )  # by key: where behind the step the number begins and ends
    templates: list[Template | None] = field(default_factory=list)  # by key

    def is_known(self, row: int) -> bool:
        key = self.keys[row]
        return bool(key >= 0 and self.templates[key])

    def known(self) -> NDArray[np.bool_]:
        """Whether each record has a template."""
        found: NDArray[np.bool_] = np.array([bool(template) for template in self.templates] + [False])[self.keys]
        return found

    def tags(self) -> list[Tag]:
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


class Templates:
    """Those of one file so far."""

    def __init__(self) -> None:
        self._places: dict[
            int, tuple[int, int]
        ] = {}  # by the count of bytes behind the step: where the number begins and ends
        self._known: dict[bytes, Template] = {}

    def sort(self, data: bytes, starts: Ints, lengths: Ints, bodies: Ints) -> Sorting:
        found = Sorting(np.full(len(starts), -1, np.int64))
        sizes = starts + lengths - bodies
        rows = np.flatnonzero((bodies > 0) & (sizes <= MOST_BYTES))
        rows = rows[np.argsort(sizes[rows], kind="stable")]
        for same in np.split(rows, np.flatnonzero(np.diff(sizes[rows])) + 1) if len(rows) else []:
            size, first = int(sizes[same[0]]), int(same[0])
            place = self._place(data, int(starts[first]), int(bodies[first]), size)
            if place:
                self._sort(np.frombuffer(data, np.uint8), bodies[same], same, size, place, found)
        return found

    def learn(self, sorting: Sorting, row: int, template: Template, place: tuple[int, int]) -> None:
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
                spot = summary.spot(data[start : body + size])
            except Malformed:
                spot = None
            if spot is None:
                return None
            self._places[size] = spot.start - (body - start), spot.start - (body - start) + np.dtype(spot.type).itemsize
        return self._places[size]

    def _sort(
        self, data: NDArray[np.uint8], at: Ints, rows: Ints, size: int, place: tuple[int, int], found: Sorting
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

    def _key(self, body: bytes, place: tuple[int, int], found: Sorting) -> int:
        found.bodies.append(body)
        found.places.append(place)
        found.templates.append(self._known.get(body))
        return len(found.bodies) - 1


class Numbers:
    """The numbers of some records, in columns."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._tags: list[Tag] = []
        self._times: list[float] = []
        self._steps: list[int] = []
        self._values: list[float] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, tag: Tag, time_s: float, step: int, value: float) -> None:
        self._rows.append(row)
        self._tags.append(tag)
        self._times.append(time_s)
        self._steps.append(step)
        self._values.append(value)

    @property
    def newest_tag(self) -> Tag:
        return self._tags[-1]

    def with_known(self, data: bytes, heads: Heads, sorting: Sorting, until: int) -> NumberColumns:
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
    tags: list[Tag]

    def segments(self) -> list[int]:
        """Each tag goes on by its steps."""
        found = np.zeros(len(self.row), np.int64)
        order = np.argsort(self.tag, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(self.tag[order])) + 1) if len(order) else []:
            found[same] = self.tags[self.tag[same[0]]].advance_all(self.step[same])
        segments: list[int] = found.tolist()
        return segments


def heads(data: bytes, starts: Ints, lengths: Ints) -> Heads:
    bytes_ = np.frombuffer(data, np.uint8)
    found = Heads(np.zeros(len(starts)), np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64))
    rows = np.flatnonzero(lengths >= LEAST_BYTES)
    rows = rows[bytes_[starts[rows]] == 0x09]
    begin = bytes_[
        starts[rows, None] + np.arange(1, LEAST_BYTES - 2)
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
