"""Reads MLflow: a file store with a folder per run, and its databases."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...records import Labels, Points, Record, RunInfo
from ..database import columns_of
from ..run import FAILED, FINISHED, KILLED, RUNNING, RunLifetime
from . import Arrival, Tally
from .databases import DatabaseKind, LoggedConfig, LoggedItem, LoggedRow, LoggedStatus, RunRef
from .lightning import parse
from .segments import SegmentTracker
from .values import MAX_STEP, FieldBudget, as_count, as_time, escape_control

RUN = r"[0-9a-f]{32}"
METRIC = re.compile(rf"/{RUN}/metrics(/|$)")  # folders
PARAM = re.compile(rf"/{RUN}/params(/|$)")
META = re.compile(rf"/{RUN}$")
RUN_FOLDER = re.compile(RUN)
META_FILE, NAME_TAG = "meta.yaml", Path("tags") / "mlflow.runName"
STATUSES = {1: RUNNING, 2: RUNNING, 3: FINISHED, 4: FAILED, 5: KILLED}
MAX_CONFIG_BYTES = 16 << 10  # of JSON, kept of one run's params
MAX_META_BYTES = 64 << 10


class MetricFile:
    """One metric of one run: a value a line."""

    def __init__(
        self, run: str, labels: Labels, name: str, fault: Callable[[str], str], state: Mapping[str, Any]
    ) -> None:
        """`fault` says why a series of that name is left out; "" where it is kept."""
        self.tally = Tally()
        self._run, self._labels, self._names = run, labels, (name,)
        self._segments = SegmentTracker(state)
        self._fault = fault(name)

    def state(self) -> dict[str, Any]:
        return {**self._segments.state(), "names": [] if self._fault else list(self._names)}

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        records: list[Record] = []
        for line in lines:
            self.tally.lines_read += 1
            if self._fault:
                self.tally.skip_field(self._names[0], self._fault)
            elif line.strip():
                records += self._points(line)
        return records

    def _points(self, line: bytes) -> list[Points]:
        """Early versions of MLflow wrote no step."""
        cells = line.split()
        try:
            time_s, value, step = int(cells[0]) / 1000, float(cells[1]), int(cells[2]) if len(cells) == 3 else 0
        except (ValueError, IndexError, OverflowError):
            cells = []
        if not 2 <= len(cells) <= 3 or as_time(time_s) is None or abs(step) > MAX_STEP:
            self.tally.skip_line("is not a time, a value and a step")
            return []
        return [
            Points(
                self._run,
                self._labels,
                self._names,
                (value,),
                time_s,
                step,
                self._segments.take(self._names, step, time_s),
            )
        ]


class Params:
    """All params of one run, whose files are read one by one; `take` returns what is known of the run with them, where that is new."""

    def __init__(
        self, run: str, name: str, take: Callable[[dict[str, Any]], dict[str, Any] | None], state: Mapping[str, Any]
    ) -> None:
        self.tally = Tally()
        self._run, self._name, self._take = run, name, take
        self._config: dict[str, Any] = dict(state.get("config", {}))

    def state(self) -> dict[str, Any]:
        return {"config": self._config}

    def parse_whole(self, data: bytes) -> list[Record]:
        config = self._config | {self._name: data.decode("utf-8", "replace")}
        self._config = FieldBudget(MAX_CONFIG_BYTES, self.tally.skip_field).fields(config)
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")
        info = self._take(self._config)
        return [] if info is None else [RunInfo(self._run, info)]


class RunMeta:
    """`meta.yaml` of a run: when it started and how it ended."""

    def __init__(self, run: str, state: Mapping[str, Any]) -> None:
        self.tally = Tally()
        self.life = RunLifetime(run, state.get("lifetimes", ()))

    def state(self) -> dict[str, Any]:
        return {"lifetimes": self.life.state()}

    def parse_whole(self, data: bytes) -> list[Record]:
        fields = parse(data, self.tally) or {}
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")
        status = STATUSES.get(as_count(fields.get("status")) or 0)
        if status is None:
            return []
        return [*self.life.take(status, seconds_of(fields.get("start_time")), seconds_of(fields.get("end_time")))]


def seconds_of(milliseconds: object) -> float | None:
    """`1764000000500 -> 1764000000.5`"""
    return as_time(milliseconds / 1000) if isinstance(milliseconds, (int, float)) else None


def run_folder(path: Path) -> Path | None:
    """The folder of the run that a file of it lies in: its `meta.yaml`, a metric or a param."""
    return next((folder for folder in path.parents if RUN_FOLDER.fullmatch(folder.name)), None)


def name_of(path: Path) -> str:
    """Of a metric or param, which may hold slashes: `.../metrics/train/loss -> "train/loss"`."""
    folder = run_folder(path)
    return escape_control("/".join(path.relative_to(folder).parts[1:])) if folder else escape_control(path.name)


def title(folder: Path, read: Callable[[Path], bytes]) -> str:
    """`"<experiment>/<run>"`, by their names; by their ids where these are unknown. `read` returns b"" where there is no such file."""
    meta = parse(read(folder / META_FILE), Tally()) or {}
    name = read(folder / NAME_TAG).decode("utf-8", "replace") or meta.get("run_name") or folder.name
    experiment = (parse(read(folder.parent / META_FILE), Tally()) or {}).get("name") or folder.parent.name
    return f"{experiment}/{name}"


# Read MLflow's SQLite database (`mlflow.db`): metrics by row number, params as the configuration, a run's status as its end.
#
# `metrics(key "loss", value 0.5, timestamp 1764000000000, step 7)` -> `LoggedRow(RunOf(id, "<experiment>/<run>"), None, 1764000000.0, 7, {"loss": 0.5})`

METRICS = {"key", "value", "timestamp", "run_uuid", "step", "is_nan"}
RUNS = {"run_uuid", "name", "status", "start_time", "end_time", "lifecycle_stage", "experiment_id"}
DATABASE_STATUSES = {"RUNNING": RUNNING, "SCHEDULED": RUNNING, "FINISHED": FINISHED, "FAILED": FAILED, "KILLED": KILLED}
MAX_LIVE = 200  # runs that are asked for their status
FOUND = """SELECT r.name, e.name, r.status, r.start_time, r.end_time, r.lifecycle_stage
  FROM runs r LEFT JOIN experiments e ON e.experiment_id = r.experiment_id WHERE r.run_uuid = ?"""


class _RunRow(NamedTuple):
    """A run, as its row says."""

    run: RunRef
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


def _life(known: _RunRow, state: dict[str, Any]) -> LoggedStatus:
    live = {id_: standing for id_, standing in state.get("live", {}).items() if id_ != known.run.id}
    if known.status == RUNNING:
        live[known.run.id] = _standing(known)
    state["live"] = dict(list(live.items())[-MAX_LIVE:])
    return LoggedStatus(known.run, known.status, known.started_s, known.ended_s)


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
        run = RunRef(str(id_), f"{experiment or 'unknown'}/{name or id_}")
        return _RunRow(run, DATABASE_STATUSES.get(str(status), RUNNING), seconds_of(start), seconds_of(end))


KIND = DatabaseKind("MLflow", is_mlflow, is_same, read)
