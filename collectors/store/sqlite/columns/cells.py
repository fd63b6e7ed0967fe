"""Thinned points: cells of 10 s of a chunk, each with the sum, least, greatest and last value of its points and their number.

The row of the chunk stays as it was. Its axis holds when the first and the last point of each cell came, and how many there are;
its data holds the columns of one series.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...buckets import Summaries
from . import codec
from .codec import CodecError

CELL_S = 10.0
LEAST_SAVED = 2  # points of a cell on average: else nothing is gained


class CellEdges(NamedTuple):
    """Of the rows of an axis."""

    starts: NDArray[np.int64]  # place of each cell's first row
    rows: NDArray[np.int64]
    axis: bytes


def edges(time_s: NDArray[np.float64]) -> CellEdges | None:
    """Cells of these times, which are finite, in order of arrival; None where points are as far apart as cells."""
    cell = np.floor(time_s / CELL_S)
    starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
    if len(starts) * LEAST_SAVED > len(time_s):
        return None
    rows = np.diff(np.append(starts, len(time_s)))
    axis = codec.encode([np.minimum.reduceat(time_s, starts), np.maximum.reduceat(time_s, starts), rows])
    return CellEdges(starts, rows, axis)


def encode(values: NDArray[np.float64], found: CellEdges, *, counter: bool) -> bytes:
    """A counter has no mean: its sum is that of its last value, so that this is what stands for a cell."""
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    counts = np.add.reduceat(finite, found.starts, dtype=np.int64)
    least, most = np.fmin.reduceat(known, found.starts), np.fmax.reduceat(known, found.starts)
    last = values[found.starts + found.rows - 1]
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(np.where(finite, values, 0.0), found.starts)
        if counter:
            total = np.where(np.isfinite(last), last * counts, total)
    return codec.encode([total, last, least, most, found.rows - counts])


def read(axis: bytes, data: bytes, segment: int) -> Summaries:
    """Raises CodecError."""
    (low, high, rows), (total, last, least, most, non_finite) = _columns(axis, 3), _columns(data, 5)
    if not len(low) == len(high) == len(rows) == len(total) == len(last):
        raise CodecError("its cells are not those of its axis")
    none, one = np.full(len(low), np.nan), np.full(len(low), segment, np.int64)
    floats = [column.view(np.float64) for column in (low, high, total, last, least, most)]
    return Summaries(
        floats[0],
        floats[1],
        none,
        one,
        rows.view(np.int64),
        non_finite.view(np.int64),
        floats[4],
        floats[5],
        floats[2],
        floats[3],
    )


def _columns(blob: bytes, count: int) -> list[NDArray[np.float64] | NDArray[np.int64]]:
    found = codec.decode(blob)
    if len(found) != count:
        raise CodecError(f"it has {len(found)} columns in place of {count}")
    return found
