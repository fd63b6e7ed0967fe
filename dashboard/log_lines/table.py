"""All lines of some runs as columns of 17 bytes a line (19 with more than 65,535 sources), by time and then by arrival; no texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectors.store.lines import LineColumns
from collectors.store.question import TooMuch

MOST_SPAN = 2**32 - 1  # between the first and the last number
_TYPES: tuple[type[Any], ...] = (np.uint32, np.float64, np.uint8, np.uint16, np.uint16)
LINE_BYTES = sum(np.dtype(kind).itemsize for kind in _TYPES)
MOST_SOURCES = 65_535  # that fit into two bytes
SPARE = 1.25  # room for what comes


class LineSource(NamedTuple):
    """Which process wrote a line, where; `rank` is -1 where it is not known."""

    run: str
    file: str
    rank: int


class LineTable:
    """Not to be asked while it is extended."""

    def __init__(self, base: int, room: int) -> None:
        """`base`: no line has a smaller number. `room`: about so many lines will come."""
        self.base = base
        self.rows = 0
        self.version = 0  # rises with each change
        self.sources: list[LineSource] = []
        self._places: dict[LineSource, int] = {}
        self._columns: list[NDArray[Any]] = [np.empty(max(room, 1), kind) for kind in _TYPES]

    @property
    def bytes(self) -> int:
        return sum(column.nbytes for column in self._columns)

    @property
    def number(self) -> NDArray[np.uint32]:
        """Less `base`."""
        return self._columns[0][: self.rows]

    @property
    def time_s(self) -> NDArray[np.float64]:
        return self._columns[1][: self.rows]

    @property
    def level(self) -> NDArray[np.uint8]:
        """0 to 255; beyond that the nearest of them."""
        return self._columns[2][: self.rows]

    @property
    def source(self) -> NDArray[np.uint16 | np.uint32]:
        """Index into `sources`."""
        return self._columns[3][: self.rows]

    @property
    def template(self) -> NDArray[np.uint16]:
        return self._columns[4][: self.rows]

    def add(self, block: LineColumns) -> None:
        """Lines in any order; `sort` must follow. Raises TooMuch."""
        count = len(block.number)
        if count and int(block.number.max()) - self.base > MOST_SPAN:
            raise TooMuch("these lines lie too far apart in the store; ask for fewer runs")
        self._grow(self.rows + count)
        added = slice(self.rows, self.rows + count)
        self._columns[0][added] = block.number - self.base
        self._columns[1][added] = block.time_s
        self._columns[2][added] = np.clip(block.level, 0, 255)
        sources = self._sources_of(block)
        if len(self.sources) > MOST_SOURCES and self._columns[3].dtype == np.uint16:
            self._columns[3] = self._columns[3].astype(np.uint32)
        self._columns[3][added] = sources
        self._columns[4][added] = np.clip(block.template, 0, 65_535)
        self.rows += count
        self.version += 1

    def sort(self, sorted_rows: int) -> None:
        """The first so many rows are in order already: only those are moved that lie behind the earliest of the others."""
        if sorted_rows >= self.rows:
            return
        earliest = self.time_s[sorted_rows:].min()
        first = int(np.searchsorted(self.time_s[:sorted_rows], earliest, "left"))
        time_s, number = self.time_s[first:], self.number[first:]
        if not _is_sorted(time_s, number):
            order = np.lexsort((number, time_s))
            for column in self._columns:
                column[first : self.rows] = column[first : self.rows][order]

    def row_of(self, number: int) -> int | None:
        """Where the line with this number stands."""
        if not 0 <= number - self.base <= MOST_SPAN:
            return None
        found = np.flatnonzero(self.number == np.uint32(number - self.base))
        return int(found[0]) if len(found) else None

    def _grow(self, rows: int) -> None:
        if rows > len(self._columns[0]):
            room = int(rows * SPARE) + 1000
            for at, column in enumerate(self._columns):  # one after the other: the old one goes before the next is made
                grown = np.empty(room, column.dtype)
                grown[: self.rows] = column[: self.rows]
                self._columns[at] = grown

    def _sources_of(self, block: LineColumns) -> NDArray[np.uint32]:
        pairs, inverse = np.unique(block.file * (1 << 32) + block.rank, return_inverse=True)
        places = []
        for pair in pairs.tolist():
            file, rank = divmod(pair + 1, 1 << 32)  # the rank -1 must not borrow from the file
            source = LineSource(block.run, block.files[file], rank - 1)
            if source not in self._places:
                self._places[source] = len(self.sources)
                self.sources.append(source)
            places.append(self._places[source])
        return np.array(places, np.uint32)[inverse]


def _is_sorted(time_s: NDArray[np.float64], number: NDArray[np.uint32]) -> bool:
    later = time_s[1:] > time_s[:-1]
    return bool(np.all(later | ((time_s[1:] == time_s[:-1]) & (number[1:] > number[:-1]))))
