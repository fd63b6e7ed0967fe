"""Read MLflow's SQLite database (`mlflow.db`): metrics by row number, params as the configuration, a run's status as its end.

`metrics(key "loss", value 0.5, timestamp 1764000000000, step 7)` -> `LoggedRow(RunOf(id, "<experiment>/<run>"), None, 1764000000.0, 7, {"loss": 0.5})`
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...database import columns_of
from ...life import FAILED, FINISHED, KILLED, RUNNING
from ..mlflow import seconds_of
from ..values import MAX_STEP, as_count
from . import DatabaseKind, LoggedConfig, LoggedItem, LoggedLife, LoggedRow, RunOf

METRICS = {"key", "value", "timestamp", "run_uuid", "step", "is_nan"}
RUNS = {"run_uuid", "name", "status", "start_time", "end_time", "lifecycle_stage", "experiment_id"}
STATUSES = {"RUNNING": RUNNING, "SCHEDULED": RUNNING, "FINISHED": FINISHED, "FAILED": FAILED, "KILLED": KILLED}
MOST_LIVE = 200  # runs that are asked for their status
FOUND = """SELECT r.name, e.name, r.status, r.start_time, r.end_time, r.lifecycle_stage
  FROM runs r LEFT JOIN experiments e ON e.experiment_id = r.experiment_id WHERE r.run_uuid = ?"""


class _RunRow(NamedTuple):
    """A run, as its row says."""

    run: RunOf
    status: str
    started_s: float | None
    ended_s: float | None


def is_mlflow(db: sqlite3.Connection) -> bool:
    return (
        columns_of(db, "metrics") >= METRICS
        and columns_of(db, "runs") >= RUNS
        and "name" in columns_of(db, "experiments")
    )


def is_same(db: sqlite3.Connection, state: Mapping[str, Any]) -> bool:
    """By when its first experiment was made."""
    return bool(state.get("created") == _created(db))


def read(db: sqlite3.Connection, state: dict[str, Any]) -> Iterator[LoggedItem]:
    state["created"] = _created(db)
    runs = _Runs(db)
    live = dict(state.get("live", {}))
    for id_, before in live.items():
        if (known := runs.get(id_)) is not None and _standing(known) != before:
            yield _life(known, state)
    for (id_,) in _new(db, state, "runs", "run_uuid"):
        if (known := runs.get(id_)) is not None:
            yield _life(known, state)
    for id_, key, value in (
        _new(db, state, "params", "run_uuid, key, value") if columns_of(db, "params") >= {"key", "value"} else ()
    ):
        if (known := runs.get(id_)) is not None:
            yield LoggedConfig(known.run, {str(key): value if isinstance(value, (str, int, float)) else None})
    for id_, key, value, time_ms, step, is_nan in _new(
        db, state, "metrics", "run_uuid, key, value, timestamp, step, is_nan"
    ):
        if (known := runs.get(id_)) is None:
            continue
        if id_ not in state.get("live", {}) and known.status == RUNNING:
            yield _life(known, state)
        number = math.nan if is_nan else value
        yield LoggedRow(known.run, None, seconds_of(time_ms), as_count(step, -MAX_STEP, MAX_STEP), {str(key): number})


def _new(db: sqlite3.Connection, state: dict[str, Any], table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a table by their hidden number; the numbers fall where the last ones were deleted, or the database was packed."""
    newest = db.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
    since = min(state.get(table, 0), newest)
    state[table] = since
    for row, *cells in db.execute(f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid", (since,)):
        state[table] = row
        yield tuple(cells)


def _created(db: sqlite3.Connection) -> object:
    if "creation_time" not in columns_of(db, "experiments"):
        return None
    return db.execute("SELECT min(creation_time) FROM experiments").fetchone()[0]


def _life(known: _RunRow, state: dict[str, Any]) -> LoggedLife:
    live = {id_: standing for id_, standing in state.get("live", {}).items() if id_ != known.run.id}
    if known.status == RUNNING:
        live[known.run.id] = _standing(known)
    state["live"] = dict(list(live.items())[-MOST_LIVE:])
    return LoggedLife(known.run, known.status, known.started_s, known.ended_s)


def _standing(known: _RunRow) -> list[Any]:
    return [known.status, known.ended_s]


class _Runs:
    """Looked up once a look; None for one that is deleted."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._found: dict[object, _RunRow | None] = {}

    def get(self, id_: object) -> _RunRow | None:
        if id_ not in self._found:
            self._found[id_] = self._look_up(id_)
        return self._found[id_]

    def _look_up(self, id_: object) -> _RunRow | None:
        row = self._db.execute(FOUND, (id_,)).fetchone()
        if row is None or row[5] == "deleted":
            return None
        name, experiment, status, start, end, _ = row
        run = RunOf(str(id_), f"{experiment or 'unknown'}/{name or id_}")
        return _RunRow(run, STATUSES.get(str(status), RUNNING), seconds_of(start), seconds_of(end))


KIND = DatabaseKind("MLflow", is_mlflow, is_same, read)
