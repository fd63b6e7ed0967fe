"""The same table in DuckDB, where it is installed; it is no requirement of ours."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .row_table import Floats

THREADS = 1  # as the store and SQLite have


def installed() -> bool:
    return importlib.util.find_spec("duckdb") is not None


class DuckTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: Any = importlib.import_module("duckdb").connect(str(path), config={"threads": THREADS})
        self._db.execute("CREATE TABLE point (series BIGINT, time_s DOUBLE, value DOUBLE)")

    def append_columns(self, series: int, times: Floats, values: Floats) -> None:
        self._db.register("fresh", {"series": np.full(len(times), series), "time_s": times, "value": values})
        self._db.execute("INSERT INTO point SELECT series, time_s, value FROM fresh")
        self._db.unregister("fresh")

    def buckets(self, ids: Sequence[int], buckets: int) -> None:
        for one in ids:
            lo, hi = self._db.execute("SELECT min(time_s), max(time_s) FROM point WHERE series = ?", [one]).fetchone()
            wanted = "min(time_s), max(time_s), min(value), max(value), avg(value), count(*)"
            by = f"floor((time_s - {lo}) * {buckets} / {hi - lo})"
            self._db.execute(f"SELECT {wanted} FROM point WHERE series = ? GROUP BY {by}", [one]).fetchall()

    def last(self, ids: Sequence[int]) -> None:
        """All at once: a question for each costs it a look at the whole table."""
        found = "SELECT series, max(time_s), arg_max(value, time_s) FROM point WHERE series IN (SELECT unnest(?)) GROUP BY series"
        self._db.execute(found, [list(ids)]).fetchall()

    def bytes(self) -> int:
        self._db.execute("CHECKPOINT")
        return self._path.stat().st_size
