"""Find the part of a series that lies in a window: pages and chunks that may stand for their points, else the points."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from .. import question
from ..buckets import Summaries
from ..protocol import Axis, RawPoints
from ..question import TooMuch
from .columns import cells, chunks, pages
from .columns.damage import decoded
from .columns.groups import NO_STEP

SPAN: dict[Axis, str] = {"time": "first_time_s, last_time_s", "step": "first_step, last_step"}
_OVERLAP: dict[Axis, str] = {
    "time": "last_time_s >= :lo AND first_time_s <= :hi",
    "step": "last_step >= :lo AND first_step <= :hi",
}
_SUMMARY = "end_step, segment, rows, non_finite, least, most, total, last"  # with the span before them, the fields of Summaries
MOST_OPENED = 4_000_000  # points of one question that are read one by one: 50 bytes each
SEGMENT, ROWS, ID, START, UNITS = 3, 4, 10, 11, 12  # places in a selected row


class Wanted(NamedTuple):
    """A query for a series. A summary may stand for its points if it lies inside and is at most `widest` wide."""

    axis: Axis
    lo: float
    hi: float
    widest: float
    untimed: bool = False  # only points that have no time, one by one

    def points(
        self,
        time_s: NDArray[np.float64],
        step: NDArray[np.int64],
        segment: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> RawPoints:
        """Those with a place in the window."""
        steps = step.astype(np.float64)
        steps[step == NO_STEP] = np.nan
        place = time_s if self.axis == "time" else steps
        points = RawPoints(place, steps, segment, value)
        inside = (place >= self.lo) & (place <= self.hi)  # false for NaN
        if self.untimed:
            inside &= np.isnan(time_s)
        return points if inside.all() else RawPoints._make(column[inside] for column in points)


class Found(NamedTuple):
    points: list[RawPoints]
    units: list[Summaries]

    def rows(self) -> int:
        return sum(len(part.place) for part in self.points) + sum(int(part.rows.sum()) for part in self.units)


def find(db: sqlite3.Connection, paged: Mapping[int, int], windows: Mapping[int, Wanted]) -> dict[int, Found]:
    """What pages and chunks of one file hold, within the caller's transaction. `paged`: how many points of each series stand in pages."""
    search = _FileSearch(db)
    return {series: search.find(series, count, windows[series]) for series, count in paged.items()}


class _FileSearch:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._opened = 0  # rows of chunks
        self._axes: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]] | None] = {}

    def find(self, series: int, paged: int, window: Wanted) -> Found:
        question.check()
        found = Found([], [])
        for start, stop in [*self._pages(series, window, found), (paged, None)]:
            self._chunks(series, window, found, start, stop)
        return found

    def _pages(self, series: int, window: Wanted, found: Found) -> list[tuple[int, int]]:
        """A page stands for its points as one unit, or by its smaller units; the others are returned as ranges of places."""
        wanted = f"{SPAN[window.axis]}, {_SUMMARY}, id, start, coarse_units, fine_units"
        rows = self._select("page", wanted, series, window, 0, None)
        if not rows:
            return []
        units, inside, width = _table(rows, window)
        single = inside & (width <= window.widest) & np.array([row[SEGMENT] is not None for row in rows])
        _take(found, units, single)
        sizes = np.array([row[-2:] for row in rows])  # how many units, coarse and fine
        with np.errstate(over="ignore"):  # a window of almost no width needs infinitely many
            enough = (
                np.where(inside, width / window.widest, math.inf) if window.widest > 0 else np.full(len(rows), math.inf)
            )
        coarse = ~single & (enough <= sizes[:, 0])
        fine = ~single & ~coarse & (enough <= sizes[:, 1])
        opened = {rows[i][ID] for i in np.flatnonzero(~single & ~coarse & ~fine).tolist()}
        for level, which in (("coarse", coarse), ("fine", fine)):
            opened |= self._units([rows[i][ID] for i in np.flatnonzero(which).tolist()], level, window, found)
        return [(row[START], row[START] + row[ROWS]) for row in rows if row[ID] in opened]

    def _units(self, wanted: Sequence[int], level: str, window: Wanted, found: Found) -> set[int]:
        """Take the smaller units of these pages; the pages whose units are damaged."""
        blobs = dict(self._blobs("page", level, wanted))
        units, damaged = pages.units([(page, blobs[page]) for page in wanted], level, window.axis)
        found.units.extend(units)
        return damaged

    def _chunks(self, series: int, window: Wanted, found: Found, start: int, stop: int | None) -> None:
        """A chunk stands for its points, or is opened."""
        rows = self._select("chunk", f"{SPAN[window.axis]}, {_SUMMARY}, id, axis, units", series, window, start, stop)
        if not rows:
            return
        units, inside, width = _table(rows, window)
        single = inside & (width <= window.widest)
        _take(found, units, single)
        opened = [rows[i] for i in np.flatnonzero(~single).tolist()]
        self._opened += sum(row[UNITS] or row[ROWS] for row in opened)
        if self._opened > MOST_OPENED:
            raise TooMuch(
                f"the range holds more than {MOST_OPENED:,} points that must be read one by one; choose a shorter one"
            )
        data = dict(self._blobs("chunk", "data", [row[ID] for row in opened]))
        thinned = [part for row in opened if row[UNITS] and (part := self._thinned(row, data[row[ID]])) is not None]
        for part in thinned:
            _take(found, part, (part.low >= window.lo) & (part.low <= window.hi))
        points = [row for row in opened if not row[UNITS]]
        parts = [(row[SEGMENT], *read) for row in points if (read := self._open(row, data[row[ID]])) is not None]
        if parts:
            segments, *columns = zip(*parts, strict=True)
            time_s, step, value = (np.concatenate(column) for column in columns)
            segment = np.repeat(segments, [len(part[-1]) for part in parts])
            found.points.append(window.points(time_s, step, segment, value))

    def _open(
        self, row: tuple[Any, ...], data: bytes
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]] | None:
        """Its times, steps and values."""
        question.check()
        chunk, axis, _ = row[-3:]
        if axis not in self._axes:
            ((_, coded),) = self._blobs("axis", "data", [axis])
            self._axes[axis] = decoded("axis", axis, chunks.read_axis, coded)
        place, value = self._axes[axis], decoded("chunk", chunk, chunks.read_values, data)
        return None if place is None or value is None else (*place, value)

    def _thinned(self, row: tuple[Any, ...], data: bytes) -> Summaries | None:
        """Its cells, as units: of those across an edge of the window it has those that begin inside."""
        question.check()
        chunk, axis, _ = row[-3:]
        ((_, coded),) = self._blobs("axis", "data", [axis])
        return decoded("chunk", chunk, lambda blob: cells.read(coded, blob, row[SEGMENT]), data)

    def _blobs(self, table: str, column: str, ids: Sequence[int]) -> list[tuple[int, bytes]]:
        wanted = f"SELECT id, {column} FROM {table} WHERE id IN (SELECT value FROM json_each(?))"
        return self._db.execute(wanted, (orjson.dumps(ids).decode(),)).fetchall() if ids else []

    def _select(
        self, table: str, wanted: str, series: int, window: Wanted, start: int, stop: int | None
    ) -> list[tuple[Any, ...]]:
        until = "" if stop is None else "AND start < :stop"
        kind = (
            "AND first_time_s IS NULL" if window.untimed and table == "chunk" else ""
        )  # all rows of a chunk have a time, or none
        where = f"series = :series AND start >= :start {until} AND {_OVERLAP[window.axis]} {kind}"
        about = {"series": series, "start": start, "stop": stop, "lo": window.lo, "hi": window.hi}
        return self._db.execute(f"SELECT {wanted} FROM {table} WHERE {where} ORDER BY start", about).fetchall()


def _table(rows: Sequence[tuple[Any, ...]], window: Wanted) -> tuple[Summaries, NDArray[np.bool_], NDArray[np.float64]]:
    """Rows as units; which of them lie inside the window; how wide they are."""
    low, high, step, segment, count, non_finite, *values = np.array(
        [row[:10] for row in rows], np.float64
    ).T  # None becomes NaN
    known = np.where(np.isnan(segment), 0, segment).astype(np.int64)
    units = Summaries(low, high, step, known, count.astype(np.int64), non_finite.astype(np.int64), *values)
    return units, (low >= window.lo) & (high <= window.hi), high - low


def _take(found: Found, units: Summaries, which: NDArray[np.bool_]) -> None:
    if which.any():
        found.units.append(Summaries._make(column[which] for column in units))
