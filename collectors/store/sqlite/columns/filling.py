"""What an older file lacks beside its rows: the least and the greatest value of each series."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import numpy as np

from . import chunks, groups
from .damage import decoded
from .extremes import NOTHING, Extremes, extremes_of, wider
from .groups import Group


def fill(db: sqlite3.Connection) -> None:
    """Enter those of all packed rows: of each series two chunks are opened, and every pack. About 0.1 ms a series."""
    found: dict[int, Extremes] = {}
    for series, low, high in _extreme_chunks(db):
        old = found.get(series, NOTHING)
        for chunk in dict.fromkeys((low, high)):
            old = wider(old, _of_chunk(db, chunk))
        found[series] = old
    for pack, data in db.execute("SELECT id, data FROM pack ORDER BY id"):
        for series, new in _of_groups(decoded("pack", pack, groups.decode, data) or []):
            found[series] = wider(found.get(series, NOTHING), new)
    rows = [(*extremes, series) for series, extremes in found.items()]
    db.executemany("UPDATE series SET least = ?, least_step = ?, most = ?, most_step = ? WHERE id = ?", rows)


def _extreme_chunks(db: sqlite3.Connection) -> list[tuple[int, int, int]]:
    """Each series that has finite values in chunks, with the chunk of its least and that of its greatest."""
    low: dict[int, tuple[float, int]] = {}
    high: dict[int, tuple[float, int]] = {}
    for chunk, series, least, most in db.execute(
        "SELECT id, series, least, most FROM chunk WHERE least IS NOT NULL ORDER BY id"
    ):
        if series not in low or least < low[series][0]:
            low[series] = least, chunk
        if series not in high or most > high[series][0]:
            high[series] = most, chunk
    return [(series, low[series][1], high[series][1]) for series in low]


def _of_chunk(db: sqlite3.Connection, chunk: int) -> Extremes:
    """By its points, or where they are damaged by its summary."""
    row = (
        "SELECT chunk.data, axis.data, least, most FROM chunk LEFT JOIN axis ON axis.id = chunk.axis WHERE chunk.id = ?"
    )
    data, axis, least, most = db.execute(row, (chunk,)).fetchone()
    values, places = (
        decoded("chunk", chunk, chunks.read_values, data),
        decoded("axis", chunk, chunks.read_axis, axis or b""),
    )
    if values is None or places is None or len(values) != len(places[1]):
        return Extremes(least, None, most, None)
    time_s, step = places
    none = np.zeros(len(step), np.int64)
    return extremes_of(Group(np.zeros(1, np.int64), none, time_s, step, none, values[None]))[0]


def _of_groups(parts: Iterable[Group]) -> Iterable[tuple[int, Extremes]]:
    for part in parts:
        yield from zip(part.ids.tolist(), extremes_of(part), strict=True)
