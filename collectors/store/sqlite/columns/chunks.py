"""Rows become chunks: at most 1,088 points of one series, with their summary beside them, and one axis for all that share it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import codec, extremes, groups
from .damage import decoded
from .groups import NO_STEP, Group

ROWS = 1088  # of a chunk: two of arbitrary float64 fill a page of the file, or five of what RunLog writes
LEAST_ROWS = (
    ROWS // 2
)  # a series with this many is cut where its stream's longest is, so that they share one axis from there on

_INSERT_CHUNK = f"INSERT INTO chunk VALUES (NULL, {', '.join('?' * 17)}, 0)"
_WIDEN = """UPDATE series SET points = points + ?1,
  first_time_s = CASE WHEN ?2 >= first_time_s THEN first_time_s ELSE coalesce(?2, first_time_s) END,
  last_time_s = CASE WHEN ?3 <= last_time_s THEN last_time_s ELSE coalesce(?3, last_time_s) END,
  first_step = CASE WHEN ?4 >= first_step THEN first_step ELSE coalesce(?4, first_step) END,
  last_step = CASE WHEN ?5 <= last_step THEN last_step ELSE coalesce(?5, last_step) END,
  newest_time_s = ?6, newest_step = ?7, newest_value = ?8,
  least = CASE WHEN ?9 >= least THEN least ELSE coalesce(?9, least) END,
  least_step = CASE WHEN ?9 >= least OR ?9 IS NULL THEN least_step ELSE ?10 END,
  most = CASE WHEN ?11 <= most THEN most ELSE coalesce(?11, most) END,
  most_step = CASE WHEN ?11 <= most OR ?11 IS NULL THEN most_step ELSE ?12 END
  WHERE id = ?13"""


class TimeSpan(NamedTuple):
    """Where some rows lie on both axes; None where they have none."""

    first_time_s: float | None
    last_time_s: float | None
    first_step: int | None
    last_step: int | None

    @classmethod
    def of(cls, time_s: NDArray[np.float64], step: NDArray[np.int64]) -> TimeSpan:
        times, steps = time_s[~np.isnan(time_s)], step[step != NO_STEP]
        return cls(
            float(times.min()) if len(times) else None,
            float(times.max()) if len(times) else None,
            int(steps.min()) if len(steps) else None,
            int(steps.max()) if len(steps) else None,
        )


class _Sealed(NamedTuple):
    """Chunks that share their rows: the coded axis, then for each series its chunk row from `rows` on, and the coded values."""

    axis: bytes
    chunks: list[tuple[int, tuple[Any, ...], bytes]]
    rows: int


def pack(db: sqlite3.Connection, stream: int, parts: Sequence[Group], upto_seq: int) -> None:
    """Move rows out of head: they stand together in one pack, and the catalogue counts them."""
    _insert_pack(db, stream, parts)
    note_packed(db, stream, parts, upto_seq)


def note_packed(db: sqlite3.Connection, stream: int, parts: Iterable[Group], upto_seq: int) -> None:
    db.execute("UPDATE stream SET packed_seq = ? WHERE id = ?", (upto_seq, stream))
    for part in parts:
        newest = (number(part.time_s[-1]), whole(part.step[-1]))
        head = (len(part.arrival), *TimeSpan.of(part.time_s, part.step), *newest)
        values = part.values[:, -1].tolist()
        rows = zip(part.ids.tolist(), values, extremes.extremes_of(part), strict=True)
        db.executemany(_WIDEN, [(*head, value, *ends, series) for series, value, ends in rows])


def plan(parts: Sequence[Group], everything: bool = False) -> tuple[list[_Sealed], list[Group]]:
    """What can be sealed of a stream's rows, and what remains; `parts` is a partition."""
    longest = max(parts, key=lambda part: len(part.arrival))
    cuts = longest.arrival[ROWS - 1 :: ROWS]
    sealed, rest = [], []
    for part in parts:
        bounds = _bounds(part, cuts, everything)
        sealed += [_seal(part.rows(start, stop)) for start, stop in itertools.pairwise(bounds)]
        if bounds[-1] < len(part.arrival):
            rest.append(part.rows(bounds[-1], None))
    return sealed, rest


def store(db: sqlite3.Connection, stream: int, sealed: Iterable[_Sealed], rest: Sequence[Group]) -> set[int]:
    """Replace the stream's packs by chunks and one pack of what remains; return the series that have new chunks."""
    places: dict[int, int] = {}
    for block in sealed:
        axis = db.execute("INSERT INTO axis VALUES (NULL, ?)", (block.axis,)).lastrowid
        for series, summary, data in block.chunks:
            if series not in places:
                places[series] = db.execute("SELECT sealed FROM series WHERE id = ?", (series,)).fetchone()[0]
            db.execute(_INSERT_CHUNK, (series, places[series], block.rows, *summary, axis, data))
            places[series] += block.rows
    db.executemany("UPDATE series SET sealed = ? WHERE id = ?", [(place, series) for series, place in places.items()])
    db.execute("DELETE FROM pack WHERE stream = ?", (stream,))
    if rest:
        _insert_pack(db, stream, rest)
    return set(places)


def packed(db: sqlite3.Connection, stream: int) -> list[Group]:
    rows = db.execute("SELECT id, data FROM pack WHERE stream = ? ORDER BY id", (stream,)).fetchall()
    return [group for pack, data in rows for group in decoded("pack", pack, groups.decode, data) or []]


def read_axis(blob: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times (NaN where the rows have none) and steps (NO_STEP)."""
    time_s, step = codec.decode(blob)
    return time_s.view(np.float64), step.view(np.int64)


def read_values(blob: bytes) -> NDArray[np.float64]:
    return codec.decode(blob)[0].view(np.float64)


def number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def whole(step: int) -> int | None:
    return None if step == NO_STEP else int(step)


def _insert_pack(db: sqlite3.Connection, stream: int, parts: Sequence[Group]) -> None:
    rows = max(len(part.arrival) for part in parts)
    db.execute("INSERT INTO pack VALUES (NULL, ?, ?, ?)", (stream, rows, groups.encode(parts)))


def _bounds(part: Group, cuts: NDArray[np.int64], everything: bool) -> list[int]:
    """Where chunks begin and end: at the stream's cuts or its own, and wherever the segment or the kind of axis changes."""
    rows = len(part.arrival)
    ends = np.searchsorted(part.arrival, cuts, "right")
    if not len(ends) or ends[-1] < LEAST_ROWS * len(cuts):
        ends = np.arange(ROWS, rows + 1, ROWS)
    if everything:
        ends = np.append(ends, rows)
    if not len(ends):
        return [0]
    kind = np.stack([part.segment, np.isnan(part.time_s), part.step == NO_STEP])
    breaks = np.flatnonzero(np.any(kind[:, 1:] != kind[:, :-1], axis=0)) + 1
    edges = np.unique(np.concatenate([[0], ends, breaks[breaks < ends[-1]]])).tolist()
    wide = [at for start, stop in itertools.pairwise(edges) for at in range(start + ROWS, stop, ROWS)]
    return sorted([*edges, *wide])


def _seal(part: Group) -> _Sealed:
    span = TimeSpan.of(part.time_s, part.step)
    place = (*span, whole(part.step[-1]))
    segment = int(part.segment[0])
    finite = np.isfinite(part.values)
    known = np.where(finite, part.values, np.nan)
    with np.errstate(over="ignore"):
        summaries = zip(
            (len(part.arrival) - finite.sum(axis=1)).tolist(),
            np.fmin.reduce(known, axis=1).tolist(),
            np.fmax.reduce(known, axis=1).tolist(),
            np.where(finite, part.values, 0.0).sum(axis=1).tolist(),
            part.values[:, 0].tolist(),
            part.values[:, -1].tolist(),
            strict=True,
        )
    chunks = [
        (series, (segment, *summary, *place), codec.encode([values]))
        for series, summary, values in zip(part.ids.tolist(), summaries, part.values, strict=True)
    ]
    return _Sealed(codec.encode([part.time_s, part.step]), chunks, len(part.arrival))
