"""Read many TFRecords at a time that hold one number each: those of one tag differ in time, step and that number only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .jsonl import BACKWARD_STEPS
from .tfrecord import Cut
from .values import MAX_STEP

LEAST_BYTES = 22  # of a record that may hold a number
MAX_TEMPLATES = 20_000


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


class Template(NamedTuple):
    """What records of one tag have in common; their number stands so many bytes behind their step."""

    tag: Tag
    place: int
    type: str


class Templates:
    """By all bytes behind the step but those of the number."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[int, int]] = {}  # by the count of bytes behind the step: where the number may begin, and end
        self._known: dict[bytes, Template] = {}

    def find(self, data: bytes, body: int, end: int) -> Template | None:
        place = self._places.get(end - body)
        return place and self._known.get(data[body : body + place[0]] + data[body + place[1] : end])

    def learn(self, data: bytes, body: int, end: int, tag: Tag, start: int, type_: str) -> None:
        if len(self._known) >= MAX_TEMPLATES:
            self._known.clear()
        place = start - body, start - body + np.dtype(type_).itemsize
        self._places[end - body] = place
        self._known[data[body : body + place[0]] + data[body + place[1] : end]] = Template(tag, place[0], type_)


class Numbers:
    """Records whose template is known: columns."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.names: list[tuple[str, ...]] = []
        self.steps: list[int] = []
        self.segments: list[int] = []
        self._places: dict[str, tuple[list[int], list[int]]] = {}  # by type: which of these, and where its number begins

    def add(self, template: Template, row: int, body: int, step: int) -> None:
        tag, place, type_ = template
        which, places = self._places.get(type_) or self._places.setdefault(type_, ([], []))
        which.append(len(self.rows))
        places.append(body + place)
        self.rows.append(row)
        self.names.append(tag.names)
        self.steps.append(step)
        self.segments.append(tag.advance(step))

    def values(self, data: bytes) -> NDArray[np.float64]:
        found = np.empty(len(self.rows))
        for type_, (which, places) in self._places.items():
            size = np.dtype(type_).itemsize
            raw = np.frombuffer(data, np.uint8)[np.array(places)[:, None] + np.arange(size)]
            found[which] = raw.view(type_).ravel()
        return found


def heads(data: bytes, cut: Cut) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Time and step of each record, and where what follows them begins: 0 in a record that does not begin with them."""
    bytes_, starts = np.frombuffer(data, np.uint8), np.array(cut.starts, np.int64)
    times, steps, bodies = np.zeros(len(starts)), np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    rows = np.flatnonzero(np.array(cut.lengths, np.int64) >= LEAST_BYTES)
    rows = rows[bytes_[starts[rows]] == 0x09]
    begin = bytes_[starts[rows, None] + np.arange(1, LEAST_BYTES - 2)]  # 8 bytes of time, the key of the step, 10 bytes of it
    stepped = begin[:, 8] == 0x10
    digits = begin[:, 9:]
    count = np.argmin(digits >= 128, axis=1) + 1  # of 7 bits
    shifts = np.minimum(7 * np.arange(10), 56)
    used = np.arange(10) < count[:, None]
    step = np.sum(np.where(used, (digits & 127).astype(np.int64) << shifts, 0), axis=1)
    plain = ~stepped | ((digits[np.arange(len(rows)), count - 1] < 128) & (count < 9) & (step <= MAX_STEP))
    times[rows] = np.ascontiguousarray(begin[:, :8]).view("<f8").ravel()
    steps[rows] = np.where(stepped, step, 0)
    bodies[rows] = np.where(plain, starts[rows] + np.where(stepped, 10 + count, 9), 0)
    return times, steps, bodies
