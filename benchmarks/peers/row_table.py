"""A plain SQLite table with one row a point, by series and time."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from collectors.records import Labels, Points

T = TypeVar("T")
Floats: TypeAlias = NDArray[np.floating[Any]]


class RowTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("CREATE TABLE point (series INTEGER, time_s REAL, step INTEGER, value REAL)")
        self._db.execute("CREATE INDEX point_place ON point (series, time_s)")

    def append(self, lines: Iterable[Points], batch: int) -> None:
        ids: dict[tuple[str | None, str, Labels], int] = {}
        for part in parts_of(lines, batch):
            rows = [
                (ids.setdefault((one.run, name, one.labels), len(ids)), one.time_s, one.step, value)
                for one in part
                for name, value in zip(one.names, one.values, strict=True)
            ]
            self._insert(rows)

    def append_columns(self, series: int, times: Floats, values: Floats) -> None:
        for at in range(0, len(times), 500_000):
            cut = slice(at, at + 500_000)
            self._insert(
                list(
                    zip(
                        itertools.repeat(series),
                        times[cut].tolist(),
                        itertools.repeat(None),
                        values[cut].tolist(),
                        strict=False,
                    )
                )
            )

    def buckets(self, ids: Sequence[int], buckets: int) -> None:
        for one in ids:
            lo, hi = self._db.execute("SELECT min(time_s), max(time_s) FROM point WHERE series = ?", (one,)).fetchone()
            wanted = "min(time_s), max(time_s), min(value), max(value), avg(value), count(*)"
            by = f"cast((time_s - {lo}) * {buckets} / {hi - lo} AS INTEGER)"
            self._db.execute(f"SELECT {wanted} FROM point WHERE series = ? GROUP BY {by}", (one,)).fetchall()

    def last(self, ids: Sequence[int]) -> None:
        for one in ids:
            self._db.execute(
                "SELECT time_s, step, value FROM point WHERE series = ? ORDER BY time_s DESC LIMIT 1", (one,)
            ).fetchone()

    def bytes(self) -> int:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._path.stat().st_size

    def _insert(self, rows: Sequence[tuple[object, ...]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO point VALUES (?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")


def parts_of(lines: Iterable[T], size: int) -> Iterator[list[T]]:
    it = iter(lines)
    while part := list(itertools.islice(it, size)):
        yield part
