"""Pages: roll-ups of 64 chunks of a series for wide ranges."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..buckets import PointSummaries
from ..store import Axis
from . import chunks, codec
from .chunks import NO_STEP
from .codec import decoded

CHUNKS = 64  # of a page
COARSE, FINE = 544, 136  # points of a unit: about 9 and 2 min at 1 Hz

_RollupPoints: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]  # times, steps, values

T = TypeVar("T")

_INSERT = f"INSERT INTO page VALUES (NULL, {', '.join('?' * 19)})"
_UNPAGED = """SELECT start, segment, axis.id, axis.data, chunk.id, chunk.data, rows, first_time_s, last_time_s, first_step, last_step
  FROM chunk JOIN axis ON axis.id = chunk.axis WHERE series = ? AND start >= ? ORDER BY start LIMIT ?"""


class _Columns(NamedTuple):
    """The units of a page, on both axes; the columns of a page's blob in their order."""

    first_time_s: NDArray[np.float64]
    last_time_s: NDArray[np.float64]
    first_step: NDArray[np.int64]
    last_step: NDArray[np.int64]
    end_step: NDArray[np.int64]
    segment: NDArray[np.int64]
    rows: NDArray[np.int64]
    non_finite: NDArray[np.int64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    total: NDArray[np.float64]
    last: NDArray[np.float64]

    def on(self, axis: Axis) -> PointSummaries:
        """Those that have a place on the axis."""
        has_step = self.end_step != NO_STEP
        if axis == "time":
            low, high, has = self.first_time_s, self.last_time_s, ~np.isnan(self.first_time_s)
        else:
            low, high, has = self.first_step.astype(np.float64), self.last_step.astype(np.float64), has_step
        step = np.where(has_step, self.end_step, np.nan)
        units = PointSummaries(low, high, step, *self[5:])
        return units if has.all() else PointSummaries._make(column[has] for column in units)


_SHAPE_BYTES = 8 * (1 + len(_Columns._fields))  # of a coarse blob: how many units, and which columns vary


def due(db: sqlite3.Connection, series: int) -> bool:
    count = "SELECT count(*) FROM chunk JOIN series ON series.id = chunk.series AND start >= paged WHERE series.id = ?"
    if int(db.execute(count, (series,)).fetchone()[0]) < CHUNKS:
        return False
    thinned = "SELECT 1 FROM chunk JOIN series ON series.id = chunk.series AND start >= paged WHERE series.id = ? AND units > 0"
    return db.execute(thinned, (series,)).fetchone() is None  # a page is made of points; summaries of chunks do as well


def plan(db: sqlite3.Connection, series: int) -> tuple[object, ...]:
    """The row of the series' next page."""
    (paged,) = db.execute("SELECT paged FROM series WHERE id = ?", (series,)).fetchone()
    rows = db.execute(_UNPAGED, (series, paged, CHUNKS)).fetchall()
    parts = [(row[1], *_points(*row[2:])) for row in rows]
    coarse, fine = (_roll_up(parts, grain) for grain in (COARSE, FINE))
    units = (len(coarse.rows), len(fine.rows), encode_coarse(coarse), codec.encode(fine))
    return (series, rows[0][0], int(fine.rows.sum()), *_summary(fine), *units)


def store(db: sqlite3.Connection, row: tuple[object, ...]) -> None:
    db.execute(_INSERT, row)
    db.execute("UPDATE series SET paged = paged + ? WHERE id = ?", (row[2], row[0]))


def encode_coarse(columns: _Columns) -> bytes:
    """A mask of the columns that vary, the first value of each column, then the varying ones, their bytes shuffled within each.

    Twice the bytes of the codec and a fifth of its time: coarse units are few, and read by the hundred pages.
    """
    matrix = np.stack([column.view(np.int64) for column in columns]).astype("<i8", copy=False)
    varies = (matrix != matrix[:, :1]).any(axis=1)
    planes = matrix[varies].view(np.uint8).reshape(int(varies.sum()), matrix.shape[1], 8).transpose(0, 2, 1)
    header = np.concatenate([[len(columns.rows)], varies, matrix[:, 0]]).astype("<i8")
    return codec.seal(header.tobytes() + planes.tobytes())


def decode_fine(blob: bytes) -> _Columns:
    """Raises CodecError."""
    return _Columns._make(codec.decode(blob))


def decode_coarse(blob: bytes) -> _Columns:
    """Raises CodecError."""
    return _coarse([codec.unseal(blob)])


def _coarse(pages: Sequence[bytes]) -> _Columns:
    """Of pages with as many units, of which the same columns vary, one behind the other: to transpose hundreds together is cheap."""
    count = len(_Columns._fields)
    data = np.frombuffer(b"".join(pages), np.uint8).reshape(len(pages), -1)
    header_bytes = _SHAPE_BYTES + 8 * count
    header = np.ascontiguousarray(data[:, :header_bytes]).view("<i8").astype(np.int64, copy=False)
    units, varies = int(header[0, 0]), header[0, 1 : 1 + count] != 0
    planes = data[:, header_bytes:].reshape(len(pages), int(varies.sum()), 8, units)
    matrix = np.repeat(header[:, 1 + count :].T, units, axis=1)
    matrix[varies] = np.ascontiguousarray(planes.transpose(1, 0, 3, 2)).view("<i8").reshape(-1, len(pages) * units)
    floats = matrix.view(np.float64)
    return _Columns(floats[0], floats[1], *matrix[2:8], *floats[8:])


def units(blobs: Iterable[tuple[int, bytes]], level: str, axis: Axis) -> tuple[list[PointSummaries], set[int]]:
    """The units of these pages, "coarse" or "fine", that have a place on the axis; and the pages whose units are damaged."""
    parts, damaged = _opened_coarse(blobs) if level == "coarse" else _opened(blobs, decode_fine)
    joined = [_Columns._make(np.concatenate(column) for column in zip(*parts, strict=True))] if parts else []
    return [columns.on(axis) for columns in joined], damaged


def _opened_coarse(blobs: Iterable[tuple[int, bytes]]) -> tuple[list[_Columns], set[int]]:
    whole, damaged = _opened(blobs, codec.unseal)
    return [_coarse(list(alike)) for _, alike in itertools.groupby(whole, lambda data: data[:_SHAPE_BYTES])], damaged


def _opened(blobs: Iterable[tuple[int, bytes]], decode: Callable[[bytes], T]) -> tuple[list[T], set[int]]:
    """Those that are whole, and which pages are damaged."""
    read = {page: decoded("page", page, decode, data) for page, data in blobs}
    return [part for part in read.values() if part is not None], {page for page, part in read.items() if part is None}


def _points(axis: int, axis_data: bytes, chunk: int, data: bytes, rows: int, *span: Any) -> _RollupPoints:
    """Of a chunk; where it is damaged, NaN between its edges, so that the chunks behind it keep their places."""
    place = decoded("axis", axis, chunks.read_axis, axis_data)
    value = decoded("chunk", chunk, chunks.read_values, data)
    if place is not None and value is not None:
        return *place, value
    first_time_s, last_time_s, first_step, last_step = span
    time_s = np.full(rows, np.nan if first_time_s is None else first_time_s)
    step = np.full(rows, NO_STEP if first_step is None else first_step)
    time_s[-1] = np.nan if last_time_s is None else last_time_s
    step[-1] = NO_STEP if last_step is None else last_step
    return time_s, step, np.full(rows, np.nan)


def _roll_up(parts: list[tuple[int, *_RollupPoints]], grain: int) -> _Columns:
    """Summaries never reach across a chunk."""
    sizes = [len(values) for _, _, _, values in parts]
    begins = np.cumsum([0, *sizes[:-1]])
    starts = np.concatenate([np.arange(begin, begin + size, grain) for begin, size in zip(begins, sizes, strict=True)])
    ends = np.append(starts[1:], sum(sizes)) - 1
    time_s, step, value = (np.concatenate(column) for column in list(zip(*parts, strict=True))[1:])
    segment = np.repeat([segment for segment, *_ in parts], sizes)
    finite = np.isfinite(value)
    known = np.where(finite, value, np.nan)
    with np.errstate(over="ignore"):
        return _Columns(
            np.minimum.reduceat(time_s, starts),
            np.maximum.reduceat(time_s, starts),
            np.minimum.reduceat(step, starts),
            np.maximum.reduceat(step, starts),
            step[ends],
            segment[starts],
            ends - starts + 1,
            np.add.reduceat(~finite, starts, dtype=np.int64),
            np.fmin.reduceat(known, starts),
            np.fmax.reduceat(known, starts),
            np.add.reduceat(np.where(finite, value, 0.0), starts),
            value[ends],
        )


def _summary(columns: _Columns) -> tuple[object, ...]:
    """The page as one unit. Segment is NULL where it cannot be one: it mixes segments, or points with and without an axis."""
    span = chunks.TimeSpan.of(np.concatenate(columns[:2]), np.concatenate(columns[2:4]))
    timed, stepped = ~np.isnan(columns.first_time_s), columns.end_step != NO_STEP
    alike = all(column.min() == column.max() for column in (columns.segment, timed, stepped))
    with np.errstate(over="ignore"):
        totals = (
            int(columns.non_finite.sum()),
            float(np.fmin.reduce(columns.least)),
            float(np.fmax.reduce(columns.most)),
        )
        total = float(columns.total.sum())
    end_step = chunks.whole(columns.end_step[-1])
    segment = int(columns.segment[0]) if alike else None
    return (segment, *totals, total, None, float(columns.last[-1]), *span, end_step)
