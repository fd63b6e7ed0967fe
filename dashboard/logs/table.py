"""Log lines of some runs as columns of 17 bytes a line, by time, with filters and counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectors.store.store import LineColumns, TooMuch

MAX_SPAN = 2**32 - 1  # between the first and the last number
_TYPES: tuple[type[Any], ...] = (np.uint32, np.float64, np.uint8, np.uint16, np.uint16)
LINE_BYTES = sum(np.dtype(kind).itemsize for kind in _TYPES)
MAX_SOURCES = 65_535  # that fit into two bytes
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
        if count and int(block.number.max()) - self.base > MAX_SPAN:
            raise TooMuch("these lines lie too far apart in the store; ask for fewer runs")
        self._grow(self.rows + count)
        added = slice(self.rows, self.rows + count)
        self._columns[0][added] = block.number - self.base
        self._columns[1][added] = block.time_s
        self._columns[2][added] = np.clip(block.level, 0, 255)
        sources = self._sources_of(block)
        if len(self.sources) > MAX_SOURCES and self._columns[3].dtype == np.uint16:
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
        if not 0 <= number - self.base <= MAX_SPAN:
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


# Which lines of a table are wanted: filters on its columns, with exact counts, and any stretch of what is left.

CHUNK = 65_536  # rows that are counted together


class LineFilter(NamedTuple):
    """Empty collections filter nothing."""

    from_s: float | None = None
    to_s: float | None = None  # inclusive
    level: int = 0  # at least
    files: Collection[str] = ()
    ranks: Collection[int] = ()
    shown: Collection[int] = ()  # templates: only these,
    hidden: Collection[int] = ()  # and not these


class FilteredRows:
    """Rows of a table that a filter leaves, in the table's order."""

    def __init__(self, start: int, stop: int, mask: NDArray[np.bool_] | None) -> None:
        """Of the rows from `start` to before `stop` those whose mask is set, or all."""
        self.start, self.stop, self.mask = start, stop, mask
        self._before = None if mask is None else _before(mask)

    @property
    def total(self) -> int:
        return self.stop - self.start if self._before is None else int(self._before[-1])

    def rows(self, offset: int, limit: int) -> NDArray[np.int64]:
        """The rows of this stretch."""
        offset, end = max(0, offset), min(offset + limit, self.total)
        if end <= offset:
            return np.zeros(0, np.int64)
        if self.mask is None or self._before is None:
            return np.arange(self.start + offset, self.start + end)
        first = int(np.searchsorted(self._before, offset, "right")) - 1
        last = int(np.searchsorted(self._before, end, "left"))
        found = np.flatnonzero(self.mask[first * CHUNK : last * CHUNK]) + first * CHUNK + self.start
        return found[offset - int(self._before[first]) : end - int(self._before[first])]

    def evenly(self, most: int) -> NDArray[np.int64]:
        """So many of them at the most, from the first one on."""
        if self.total <= most:
            return self.rows(0, self.total)
        offsets = np.linspace(0, self.total - 1, most).astype(np.int64)
        if self.mask is None or self._before is None:
            return self.start + offsets
        chunks = np.searchsorted(self._before, offsets, "right") - 1
        found = [
            np.flatnonzero(self.mask[chunk * CHUNK : (chunk + 1) * CHUNK])[
                offsets[chunks == chunk] - self._before[chunk]
            ]
            + chunk * CHUNK
            for chunk in np.unique(chunks).tolist()
        ]
        return self.start + np.concatenate(found)

    def offset_of(self, row: int) -> int:
        """How many of them stand before a row of the table."""
        at = min(max(row, self.start), self.stop) - self.start
        if self.mask is None or self._before is None:
            return at
        chunk = at // CHUNK
        return int(self._before[chunk]) + int(np.count_nonzero(self.mask[chunk * CHUNK : at]))

    def part(self, start: int, stop: int) -> NDArray[np.bool_] | slice:
        """Which of the table's rows from `start` to before `stop` are chosen; both lie inside."""
        return slice(None) if self.mask is None else self.mask[start - self.start : stop - self.start]


def chosen(table: LineTable, asked: LineFilter, hits: NDArray[np.bool_] | None = None) -> FilteredRows:
    """`hits`: only rows where this is set, one entry per row of the table."""
    start = 0 if asked.from_s is None else int(np.searchsorted(table.time_s, asked.from_s, "left"))
    stop = table.rows if asked.to_s is None else int(np.searchsorted(table.time_s, asked.to_s, "right"))
    stop = max(start, stop)
    inside = slice(start, stop)
    masks: list[NDArray[np.bool_]] = []
    if asked.level > 0:
        masks.append(table.level[inside] >= min(asked.level, 255))
    if asked.files or asked.ranks:
        masks.append(_of_sources(table.sources, asked)[table.source[inside]])
    if asked.shown or asked.hidden:
        masks.append(_of_templates(asked)[table.template[inside]])
    if hits is not None:
        masks.append(hits[inside])
    if not masks:
        return FilteredRows(start, stop, None)
    mask = masks[0]
    for more in masks[1:]:
        mask = mask & more
    return FilteredRows(start, stop, mask)


def _of_sources(sources: list[LineSource], asked: LineFilter) -> NDArray[np.bool_]:
    wanted = [
        (not asked.files or source.file in asked.files) and (not asked.ranks or source.rank in asked.ranks)
        for source in sources
    ]
    return np.array(wanted, np.bool_)


def _of_templates(asked: LineFilter) -> NDArray[np.bool_]:
    wanted = np.full(1 << 16, not asked.shown, np.bool_)
    for numbers, value in ((asked.shown, True), (asked.hidden, False)):
        wanted[[number for number in numbers if 0 <= number < len(wanted)]] = value
    return wanted


def _before(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many are set before each chunk, and in all."""
    whole = len(mask) // CHUNK
    counts: list[Any] = [
        np.count_nonzero(mask[: whole * CHUNK].reshape(whole, CHUNK), axis=1),
        np.count_nonzero(mask[whole * CHUNK :]),
    ]
    return np.concatenate([[0], np.cumsum(np.hstack(counts))]).astype(np.int64)


# Lines by level or by template, in buckets of time.

MAX_S = 1e15  # a window that begins earlier or ends later is drawn from or to here
LEVELS = (0, 10, 20, 30, 40, 50)


ERROR = 40  # level


class LineDensity(NamedTuple):
    """`counts[i]` are those of level LEVELS[i], one entry per bucket, as `hits`; buckets are equally wide from `from_s` to `to_s`."""

    from_s: float
    to_s: float
    counts: NDArray[np.int64]
    hits: NDArray[np.int64] | None
    errors: int  # entries: a traceback of many lines is one


class TemplateLines(NamedTuple):
    """Of the chosen lines of one template: its strokes are counts in equally wide buckets of time."""

    id: int
    run: str
    lines: int
    level: int  # the highest
    first_time_s: float
    last_time_s: float
    strokes: NDArray[np.int64]


def density(
    table: LineTable, rows: FilteredRows, window: tuple[float, float], buckets: int, hits: NDArray[np.bool_] | None
) -> LineDensity:
    counts = np.zeros((len(LEVELS), buckets), np.int64)
    marked = None if hits is None else np.zeros(buckets, np.int64)
    errors = 0
    for bucket, (start, stop) in enumerate(edges(table, rows, window, buckets)):
        part = rows.part(start, stop)
        errors += _entries(table, start, stop, part)
        classes = np.minimum(table.level[start:stop][part] // 10, len(LEVELS) - 1)
        counts[:, bucket] = np.bincount(classes, minlength=len(LEVELS))
        if hits is not None and marked is not None:
            marked[bucket] = np.count_nonzero(hits[start:stop][part])
    return LineDensity(*window, counts, marked, errors)


def _entries(table: LineTable, start: int, stop: int, part: slice | NDArray[np.bool_]) -> int:
    """Errors among these lines. What follows an error directly, as another error of its source, continues it as a traceback does; the same message again is another one."""
    is_error = table.level[start:stop] >= ERROR
    if not is_error.any():
        return 0
    source, template = table.source[start:stop], table.template[start:stop]
    continues = np.zeros(stop - start, np.bool_)
    continues[1:] = (
        is_error[1:] & is_error[:-1] & (source[1:] == source[:-1]) & (template[1:] != template[:-1])
    )  # fmt: skip
    return int(np.count_nonzero((is_error & ~continues)[part])) or int(np.any(is_error[part]))


def by_template(table: LineTable, rows: FilteredRows, window: tuple[float, float], buckets: int) -> list[TemplateLines]:
    """The most frequent first. Templates of several runs are those of each run."""
    runs = {source.run: at for at, source in enumerate(reversed(table.sources))}
    names = list(runs)
    place = {name: at for at, name in enumerate(names)}
    run_of = np.array([place[source.run] for source in table.sources] or [0], np.int64)
    strokes: dict[int, dict[int, int]] = {}
    found: dict[int, list[float]] = {}
    for bucket, (start, stop) in enumerate(edges(table, rows, window, buckets)):
        part = rows.part(start, stop)
        ids = run_of[table.source[start:stop][part]] << 16 | table.template[start:stop][part]
        for number, *summary in _summed_up(ids, table.level[start:stop][part], table.time_s[start:stop][part]):
            strokes.setdefault(number, {})[bucket] = int(summary[0])
            before = found.setdefault(number, [0, 0, math.inf, -math.inf])
            found[number] = [
                before[0] + summary[0],
                max(before[1], summary[1]),
                min(before[2], summary[2]),
                max(before[3], summary[3]),
            ]
    listed = []
    for number, (lines, level, first_s, last_s) in sorted(found.items(), key=lambda item: -item[1][0]):
        drawn = np.zeros(buckets, np.int64)
        drawn[list(strokes[number])] = list(strokes[number].values())
        listed.append(
            TemplateLines(number & 0xFFFF, names[number >> 16], int(lines), int(level), first_s, last_s, drawn)
        )
    return listed


def window_of(table: LineTable, from_s: float | None, to_s: float | None) -> tuple[float, float]:
    """Where an end is open, that of the lines."""
    lo = from_s if from_s is not None else float(table.time_s[0]) if table.rows else 0.0
    hi = to_s if to_s is not None else float(table.time_s[-1]) if table.rows else lo
    lo, hi = max(-MAX_S, min(lo, MAX_S)), max(-MAX_S, min(hi, MAX_S))
    return lo, max(lo, hi)


def edges(table: LineTable, rows: FilteredRows, window: tuple[float, float], buckets: int) -> list[tuple[int, int]]:
    """The first row of each bucket, and the first one behind it; the last bucket holds the end of the window."""
    inner = np.linspace(*window, buckets + 1)[1:-1]
    cuts = np.searchsorted(table.time_s[rows.start : rows.stop], inner, "left") + rows.start
    bounds = [rows.start, *cuts.tolist(), rows.stop]
    return list(itertools.pairwise(bounds))


def _summed_up(
    ids: NDArray[np.int64], level: NDArray[np.uint8], time_s: NDArray[np.float64]
) -> list[tuple[int, float, float, float, float]]:
    """By id: how many, the highest level, the first and the last time."""
    if not len(ids):
        return []
    order = np.argsort(ids, kind="stable")
    found, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    ends = np.append(starts[1:], len(ids)) - 1
    in_order = time_s[order]  # rises within each id, as the rows do
    columns = found, counts, np.maximum.reduceat(level[order], starts), in_order[starts], in_order[ends]
    return list(zip(*(column.tolist() for column in columns), strict=True))
