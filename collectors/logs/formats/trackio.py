"""Reads Trackio's databases, one per project."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..database import columns_of
from .databases import MAX_VALUE_BYTES, DatabaseKind, LoggedConfig, LoggedItem, LoggedRow, RunRef
from .fields import moment
from .jsonl import loads
from .values import MAX_STEP, as_count

COLUMNS = {"id", "timestamp", "run_name", "step", "metrics"}
SYSTEM = "system/"  # before the names of what Trackio measures of the machine
TYPE = "_type"  # of a value that is an image, a table, a histogram


def is_trackio(db: sqlite3.Connection) -> bool:
    return columns_of(db, "metrics") >= COLUMNS


def is_same(db: sqlite3.Connection, state: Mapping[str, Any]) -> bool:
    """By the last row that was read, which may be deleted, and the highest number that was ever given to one, which never falls."""
    last: int = state.get("metrics", 0)
    check: int | None = state.get("check")
    row = db.execute("SELECT run_name, timestamp FROM metrics WHERE id = ?", (last,)).fetchone()
    if row is not None:
        return check is None or check == _checksum(row)
    return last <= max(
        (number for (number,) in db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'metrics'")), default=0
    )


def read(db: sqlite3.Connection, state: dict[str, Any]) -> Iterator[LoggedItem]:
    for _, run, cells in _rows(db, state, "configs", "config"):
        config = _object(cells["config"])
        if config:
            yield LoggedConfig(run, {name: value for name, value in config.items() if not name.startswith("_")})
    for row, run, cells in _rows(db, state, "metrics", "timestamp, step, metrics"):
        state["check"] = _checksum((run.title, cells["timestamp"]))
        yield LoggedRow(run, row, moment(str(cells["timestamp"])), _step(cells["step"]), _object(cells["metrics"]))
    for _, run, cells in _rows(db, state, "system_metrics", "timestamp, metrics"):
        values = _object(cells["metrics"])
        named = None if values is None else {f"{SYSTEM}{name}": value for name, value in values.items()}
        yield LoggedRow(run, None, moment(str(cells["timestamp"])), None, named)


def _rows(
    db: sqlite3.Connection, state: dict[str, Any], table: str, wanted: str
) -> Iterator[tuple[int, RunRef, Mapping[str, object]]]:
    """Rows of a table that are new, by their number; before Trackio 0.24 a run was known by its name only."""
    columns = columns_of(db, table)
    names = wanted.split(", ")
    if not columns >= {"id", "run_name", *names}:
        return
    id_ = "run_id" if "run_id" in columns else "run_name"
    cells = ", ".join(f"CASE WHEN length({name}) <= {MAX_VALUE_BYTES} THEN {name} END" for name in names)
    query = f"SELECT id, {id_}, run_name, {cells} FROM {table} WHERE id > ? AND typeof(id) = 'integer' ORDER BY id"
    for row, run, title, *found in db.execute(query, (state.get(table, 0),)):
        state[table] = row
        yield row, RunRef(str(run), str(title)), dict(zip(names, found, strict=True))


def _object(cell: object) -> dict[str, Any] | None:
    """None for what is no JSON object. Images, tables and histograms are left out, as text that no number is made of."""
    if not isinstance(cell, (bytes, str)):
        return None
    try:
        value = loads(cell if isinstance(cell, bytes) else cell.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return {
        name: f"a {part[TYPE]}" if isinstance(part, dict) and TYPE in part else part for name, part in value.items()
    }


def _checksum(cells: tuple[object, ...]) -> int:
    return zlib.crc32(repr(cells).encode("utf-8", "replace"))


def _step(cell: object) -> int | None:
    return as_count(cell, -MAX_STEP, MAX_STEP)


KIND = DatabaseKind("Trackio", is_trackio, is_same, read)
