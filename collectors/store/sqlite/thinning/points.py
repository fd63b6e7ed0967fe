"""Thin the chunks of one machine file: all that share an axis at once, in one transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import orjson

from ...limits import Thinning
from ..columns import cells, chunks
from ..columns.damage import decoded
from .spans import TimeSpans

_STREAMS = "SELECT id FROM stream"
_CHUNKS = """SELECT chunk.axis, chunk.id, series.name, chunk.units, chunk.first_time_s, chunk.last_time_s, chunk.first_step
  FROM series JOIN chunk ON chunk.series = series.id
  WHERE series.stream = ? AND chunk.last_time_s >= ? AND chunk.last_time_s < ?"""


class OldChunk(NamedTuple):
    axis: int
    id: int
    name: str
    units: int
    first_time_s: float
    last_time_s: float
    first_step: int | None


class ThinnedAxis(NamedTuple):
    """What replaces the data of some chunks. `alone`: no other chunk uses their old axis."""

    old: int
    axis: bytes
    units: int
    chunks: list[tuple[bytes, int]]  # data, and id
    alone: bool


def axes(
    db: sqlite3.Connection, after_s: float, before_s: float, kept: TimeSpans, thinning: Thinning
) -> Iterator[list[OldChunk]]:
    """The chunks of each axis whose points end in this range of time, and touch no kept window."""
    for (stream,) in db.execute(_STREAMS).fetchall():
        shared: dict[int, list[OldChunk]] = defaultdict(list)
        for row in map(OldChunk._make, db.execute(_CHUNKS, (stream, after_s, before_s)).fetchall()):
            shared[row.axis].append(row)
        for found in shared.values():
            first = found[0]
            known = first.units or first.first_step is not None or kept.touches(first.first_time_s, first.last_time_s)
            if not known and any(row.name not in thinning.whole for row in found):
                yield found


def plan(db: sqlite3.Connection, found: Sequence[OldChunk], thinning: Thinning) -> ThinnedAxis | None:
    """None where nothing is gained, or the axis is damaged."""
    wanted = {row.id: row for row in found if row.name not in thinning.whole}
    (coded,) = db.execute("SELECT data FROM axis WHERE id = ?", (found[0].axis,)).fetchone() or (b"",)
    place = decoded("axis", found[0].axis, chunks.read_axis, coded)
    if not wanted or place is None or not np.isfinite(place[0]).all():
        return None
    edges = cells.edges(place[0])
    if edges is None:
        return None
    rows = db.execute(
        "SELECT id, data FROM chunk WHERE id IN (SELECT value FROM json_each(?))", (orjson.dumps([*wanted]).decode(),)
    ).fetchall()
    thinned = []
    for chunk, data in rows:
        values = decoded("chunk", chunk, chunks.read_values, data)
        if values is not None and len(values) == len(place[0]):  # else it is damaged, and stays as it is
            thinned.append((cells.encode(values, edges, counter=wanted[chunk].name in thinning.counters), chunk))
    if not thinned:
        return None
    return ThinnedAxis(found[0].axis, edges.axis, len(edges.rows), thinned, alone=len(thinned) == len(found))


def replace(db: sqlite3.Connection, row: ThinnedAxis) -> None:
    """Within the caller's transaction."""
    axis = db.execute("INSERT INTO axis VALUES (NULL, ?)", (row.axis,)).lastrowid
    db.executemany(
        "UPDATE chunk SET axis = ?, units = ?, data = ? WHERE id = ?",
        [(axis, row.units, *about) for about in row.chunks],
    )
    if row.alone:
        db.execute("DELETE FROM axis WHERE id = ?", (row.old,))
