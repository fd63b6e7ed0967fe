"""Find the part of a series that lies in a window: pages and chunks that may stand for their points, else the points."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import chunks, pages
from .buckets import Points, Units
from .groups import NO_STEP
from .head import decoded
from .protocol import Axis

SPAN: dict[Axis, str] = {"time": "first_time_s, last_time_s", "step": "first_step, last_step"}
_OVERLAP: dict[Axis, str] = {
    "time": "last_time_s >= :lo AND first_time_s <= :hi",
    "step": "last_step >= :lo AND first_step <= :hi",
}
_SUMMARY = "end_step, segment, rows, non_finite, least, most, total, last"  # with the span before them, the fields of Units


class Window(NamedTuple):
    """What is asked of a series. A summary may stand for its points if it lies inside and is at most `widest` wide."""

    axis: Axis
    lo: float
    hi: float
    widest: float

    def points(
        self, time_s: NDArray[np.float64], step: NDArray[np.int64], segment: NDArray[np.int64], value: NDArray[np.float64]
    ) -> Points:
        """Those with a place in the window."""
        steps = step.astype(np.float64)
        if NO_STEP in step[:: max(1, len(step) - 1)] or (step == NO_STEP).any():
            steps[step == NO_STEP] = np.nan
        place = time_s if self.axis == "time" else steps
        points = Points(place, steps, segment, value)
        inside = (place >= self.lo) & (place <= self.hi)  # false for NaN
        return points if inside.all() else Points._make(column[inside] for column in points)


class Found(NamedTuple):
    points: list[Points]
    units: list[Units]

    def rows(self) -> int:
        return sum(len(part.place) for part in self.points) + sum(int(part.rows.sum()) for part in self.units)


class Search:
    """Looks through one file, within the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._axes: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]] | None] = {}

    def find(self, series: int, paged: int, window: Window) -> Found:
        """What is in pages and chunks; `paged` points of the series stand in pages."""
        found = Found([], [])
        for start, stop in [*self._pages(series, window, found), (paged, None)]:
            self._chunks(series, window, found, start, stop)
        return found

    def _pages(self, series: int, window: Window, found: Found) -> list[tuple[int, int]]:
        """A page stands for its points as one unit, or by its smaller units; the others are returned as ranges of places."""
        wanted = f"{SPAN[window.axis]}, {_SUMMARY}, id, start, coarse_units, fine_units"
        rows = self._select("page", wanted, series, window, 0, None)
        if not rows:
            return []
        units, inside, width = _table(rows, window)
        single = inside & (width <= window.widest) & np.array([row[3] is not None for row in rows])
        _take(found, units, single)
        apart = []
        for i in np.flatnonzero(~single).tolist():
            page, start, coarse, fine = rows[i][-4:]
            enough = width[i] / window.widest if inside[i] and window.widest > 0 else math.inf  # units
            level = "coarse" if enough <= coarse else "fine" if enough <= fine else None
            if not (level and self._units(page, level, window, found)):
                apart.append((start, start + rows[i][4]))
        return apart

    def _units(self, page: int, level: str, window: Window, found: Found) -> bool:
        (data,) = self._db.execute(f"SELECT {level} FROM page WHERE id = ?", (page,)).fetchone()
        decode = pages.decode_coarse if level == "coarse" else pages.decode_fine
        columns = decoded("page", page, decode, data)
        if columns is not None:
            found.units.append(columns.units(window.axis))
        return columns is not None

    def _chunks(self, series: int, window: Window, found: Found, start: int, stop: int | None) -> None:
        """A chunk stands for its points, or is opened."""
        rows = self._select("chunk", f"{SPAN[window.axis]}, {_SUMMARY}, id, axis, data", series, window, start, stop)
        if not rows:
            return
        units, inside, width = _table(rows, window)
        single = inside & (width <= window.widest)
        _take(found, units, single)
        for i in np.flatnonzero(~single).tolist():
            points = self._open(rows[i], window)
            if points is not None:
                found.points.append(points)

    def _open(self, row: tuple[Any, ...], window: Window) -> Points | None:
        segment, (chunk, axis, data) = row[3], row[-3:]
        if axis not in self._axes:
            (coded,) = self._db.execute("SELECT data FROM axis WHERE id = ?", (axis,)).fetchone()
            self._axes[axis] = decoded("axis", axis, chunks.read_axis, coded)
        place, value = self._axes[axis], decoded("chunk", chunk, chunks.read_values, data)
        if place is None or value is None:
            return None
        return window.points(*place, np.full(len(value), segment), value)

    def _select(self, table: str, wanted: str, series: int, window: Window, start: int, stop: int | None) -> list[tuple[Any, ...]]:
        until = "" if stop is None else "AND start < :stop"
        where = f"series = :series AND start >= :start {until} AND {_OVERLAP[window.axis]}"
        about = {"series": series, "start": start, "stop": stop, "lo": window.lo, "hi": window.hi}
        return self._db.execute(f"SELECT {wanted} FROM {table} WHERE {where} ORDER BY start", about).fetchall()


def _table(rows: Sequence[tuple[Any, ...]], window: Window) -> tuple[Units, NDArray[np.bool_], NDArray[np.float64]]:
    """Rows as units; which of them lie inside the window; how wide they are."""
    low, high, step, segment, count, non_finite, *values = np.array([row[:10] for row in rows], np.float64).T  # None becomes NaN
    known = np.where(np.isnan(segment), 0, segment).astype(np.int64)
    units = Units(low, high, step, known, count.astype(np.int64), non_finite.astype(np.int64), *values)
    return units, (low >= window.lo) & (high <= window.hi), high - low


def _take(found: Found, units: Units, which: NDArray[np.bool_]) -> None:
    if which.any():
        found.units.append(Units._make(column[which] for column in units))
