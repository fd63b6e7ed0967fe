"""One followed database of another program: each run in it is a run with an offset of its own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..records import Labels, Offset, Points, Record, RunInfo, labels_of
from .database import BeingWritten, opened
from .formats import Tally, mlflow, trackio
from .formats.databases import DatabaseKind, LoggedConfig, LoggedItem, LoggedRow, LoggedStatus, RunRef
from .formats.jsonl import flat
from .formats.segments import SegmentTracker
from .formats.values import FieldBudget, as_number, escape_control
from .open_files import NotMetrics, NotRead
from .run import RunFolder, RunLifetime
from .runs import RunFolders

KINDS: tuple[DatabaseKind, ...] = (trackio.KIND, mlflow.KIND)
MAX_CONFIG_BYTES = 16 << 10  # of JSON, kept of one run
MAX_ID_CHARS = 100
MAX_LOOK_S = 0.1
WRITTEN_AGAIN_S = 0.1
LONGEST_WRITE_S = 10.0  # without a state that can be read


class FollowedDatabases:
    """Those of a log folder; each is opened for each look only."""

    def __init__(self, runs: RunFolders) -> None:
        self._runs = runs
        self._waits_since_s: dict[
            Path, float | None
        ] = {}  # each that was looked at: for a state that can be read, CLOCK_MONOTONIC

    def __contains__(self, path: Path) -> bool:
        """Whether it was looked at."""
        return path in self._waits_since_s

    def look(
        self, path: Path, key: str, root: Path, offsets: Mapping[str, Offset], most: int
    ) -> tuple[list[Record], float | None]:
        """At most about so many new records, the offsets among them; and in how many seconds to look again, None for a change.

        `key` is the path as offsets have it; no link may leave `root`. Raises NotRead, NotMetrics, FileNotFoundError or OSError.
        """
        since_s = self._waits_since_s.setdefault(path, None)
        try:
            with opened(path, root) as db:
                found = ([], None) if db is None else self._read(db, path, key, offsets, most)
        except BeingWritten:
            now_s = time.monotonic()
            self._waits_since_s[path] = since_s = since_s or now_s
            if now_s - since_s > LONGEST_WRITE_S:
                raise NotRead(
                    "is being written, or was left in the middle of it; it is read once its program has written or opened it again"
                ) from None
            return [], WRITTEN_AGAIN_S
        except (sqlite3.Error, UnicodeError) as error:
            raise NotRead(f"cannot be read ({error}); it is tried again") from error
        self._waits_since_s[path] = None
        return found

    def _read(
        self, db: sqlite3.Connection, path: Path, key: str, offsets: Mapping[str, Offset], most: int
    ) -> tuple[list[Record], float | None]:
        kind = next((kind for kind in KINDS if kind.fits(db)), None)
        if kind is None:
            raise NotMetrics(f"is a database of something else than {' or '.join(kind.name for kind in KINDS)}")
        before = offsets.get(key)
        state = dict(before.state) if before else {}
        if state and not kind.is_same(db, state):
            state.clear()
        runs: dict[str, DatabaseRun] = {}
        until_s = time.monotonic() + MAX_LOOK_S
        again_s = None
        for count, logged in enumerate(kind.read(db, state), 1):
            run = runs.get(logged.run.id) or runs.setdefault(logged.run.id, self._run(path, key, logged.run, offsets))
            run.take(logged)
            if count >= most or time.monotonic() > until_s:
                again_s = 0.0
                break
        if not runs and state == (before.state if before else {}):
            return [], None
        for run in runs.values():
            run.folder.noticed(run.records)
        records = [record for run in runs.values() for record in [*run.records, run.as_record()]]
        newest = next(reversed(runs.values())).folder.name if runs else before.run if before else ""
        if newest:
            records.append(Offset(key, newest, 0, 0, 0, 0, 0, 0, "", state))
        return records, again_s

    def _run(self, path: Path, key: str, run: RunRef, offsets: Mapping[str, Offset]) -> DatabaseRun:
        key = f"{key}#{escape_control(run.id)[:MAX_ID_CHARS]}"
        return DatabaseRun(key, self._runs.in_database(path, key, run), offsets.get(key))


class DatabaseRun:
    """One run of a database."""

    def __init__(self, key: str, folder: RunFolder, offset: Offset | None) -> None:
        self.folder, self._key = folder, key
        self.records: list[Record] = []  # the new ones
        state = offset.state if offset else {}
        self.tally = (
            Tally(offset.lines_read, offset.lines_skipped, offset.fields_skipped, offset.first_skip)
            if offset
            else Tally()
        )
        self._labels: Labels = labels_of(host=escape_control(state.get("host", folder.host)))
        self._segments = SegmentTracker(state)
        self._row: int = state.get("row", 0)  # the last one that was read: a database may be an older copy of itself
        self._config: dict[str, Any] = dict(state.get("config", {}))
        self._life = RunLifetime(folder.name, state.get("lifetimes", ()))
        folder.events[key] = self._life

    def take(self, logged: LoggedItem) -> None:
        match logged:
            case LoggedRow():
                self.records += self._points(logged)
            case LoggedConfig():
                self.records += self._configured(logged.config)
            case LoggedStatus():
                self.records += self._life.take(logged.status, logged.started_s, logged.ended_s)

    def as_record(self) -> Offset:
        state = {
            "row": self._row,
            **self._segments.state(),
            "config": self._config,
            "lifetimes": self._life.state(),
            "host": dict(self._labels).get("host"),
        }
        tally = self.tally
        counts = (
            tally.lines_read,
            tally.lines_skipped,
            tally.fields_skipped,
            tally.first_skip.replace("line ", "row ", 1),
        )
        return Offset(
            self._key, self.folder.name, 0, 0, 0, *counts, {name: value for name, value in state.items() if value}
        )

    def _points(self, logged: LoggedRow) -> list[Record]:
        if logged.row is not None:
            if logged.row <= self._row:
                return []
            self._row = logged.row
        self.tally.lines_read += 1
        if logged.values is None:
            self.tally.skip_line("cannot be read")
            return []
        names, fault = self.folder.names(), ""
        values: dict[str, float] = {}
        for name, value in flat(logged.values, self.tally):
            number = as_number(value)
            if number is None:
                self.tally.skip_field(
                    name,
                    f"is {escape_control(value[:80])!r}, which is no number"
                    if isinstance(value, str)
                    else "is no number",
                )
            elif fault := names.fault(name):
                self.tally.skip_field(name, fault)
            else:
                values[name] = number
        if not values or (logged.step is None and logged.time_s is None):
            return []
        segment, keys = self._segments.segment, tuple(values)
        if logged.step is not None:
            segment = self._segments.take(keys, logged.step, logged.time_s)
        points = keys, tuple(values.values()), logged.time_s, logged.step, segment
        return [Points(self.folder.name, self._labels, *points)]

    def _configured(self, config: Mapping[str, Any]) -> list[Record]:
        self._config = FieldBudget(MAX_CONFIG_BYTES, self.tally.skip_field).fields(self._config | dict(config))
        info = self.folder.take_config(self._key, self._config)
        return [] if info is None else [RunInfo(self.folder.name, info)]
