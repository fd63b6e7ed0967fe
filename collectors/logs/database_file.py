"""One followed database of another program: each run in it is a run with an offset of its own."""

from __future__ import annotations

import pickle
import sqlite3
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, NamedTuple

from ..records import Labels, Offset, Points, Record, RunInfo, labels_of
from ..untrusted import OverLimit, ReaderProcess
from .database import BeingWritten, DatabaseStamp, opened, stamp_of
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
MAX_PART_RUNS = 200  # whose news are taken at a time: each costs far more than its rows do
MAX_LOOK_S, MAX_LOOK_BYTES = 1.0, 4 << 20  # of rows; then the next look goes on
MAX_MEMORY_BYTES, MAX_READ_S = 512 << 20, 5.0  # of one look, which is ended then
PATIENCE_S = 0.05  # a look that takes longer is not waited for
ASK_AGAIN_S = 0.05
WRITTEN_AGAIN_S = 0.1
LONGEST_WRITE_S = 10.0  # without a state that can be read


class StillReading(Exception):
    """The look is under way; it is to be asked for again, after ASK_AGAIN_S."""


class NewsPart(NamedTuple):
    """As much of what one look has found as is taken at a time."""

    items: list[bytes]  # each a pickled `LoggedItem`
    state: dict[str, Any]  # where the next part, or the next look, goes on


class DatabaseNews(NamedTuple):
    """What one look has found."""

    stamp: DatabaseStamp | None  # of the database before
    parts: list[NewsPart]  # at least one
    is_all: bool


class FollowedDatabases:
    """Those of a log folder; each is opened for each look only, in a process with limits.

    A database whose last look went over the limits is read by a process of such ones, so that no other waits for it.
    """

    def __init__(self, runs: RunFolders) -> None:
        self._runs = runs
        self._reader, self._costly_reader = (
            ReaderProcess(name, memory_bytes=MAX_MEMORY_BYTES, timeout_s=MAX_READ_S)
            for name in ("databases", "costly databases")
        )
        self._costly: set[Path] = set()
        self._looks: dict[Path, _Look] = {}  # that have not been answered
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

        `key` is the path as offsets have it; no link may leave `root`. Raises StillReading, NotRead, NotMetrics, FileNotFoundError
        or OSError.
        """
        since_s = self._waits_since_s.setdefault(path, None)
        before = offsets.get(key)
        look, is_late = self._look(path, root, dict(before.state) if before else {}, most)
        if not look.news.done():
            raise StillReading
        del self._looks[path]
        try:
            news = look.news.result()
        except BeingWritten:
            now_s = time.monotonic()
            self._waits_since_s[path] = since_s = since_s or now_s
            if now_s - since_s > LONGEST_WRITE_S:
                raise NotRead(
                    "is being written, or was left in the middle of it; it is read once its program has written or opened it again"
                ) from None
            return [], WRITTEN_AGAIN_S
        except OverLimit as error:
            self._costly.add(path)
            raise NotRead(f"{error}; it is tried again") from error
        except (sqlite3.Error, UnicodeError) as error:
            raise NotRead(f"cannot be read ({error}); it is tried again") from error
        self._costly.discard(path)
        self._waits_since_s[path] = None
        part, *others = news.parts
        if others:
            self._looks[path] = _Look(part.state, _done(news._replace(parts=others)))
        elif not news.is_all:  # the next rows are read while these are stored
            self._begin(path, root, part.state, most)
        is_more = bool(others) or not news.is_all or (is_late and _has_changed(path, root, news.stamp))
        return self._records(part, path, key, offsets), 0.0 if is_more else None

    def close(self) -> None:
        self._reader.close()
        self._costly_reader.close()

    def _look(self, path: Path, root: Path, state: dict[str, Any], most: int) -> tuple[_Look, bool]:
        """The look at what is new since that state, and whether it was begun before."""
        look = self._looks.get(path)
        if look is not None and look.state == state:
            return look, True
        if look is not None:  # the offsets were taken back meanwhile
            look.news.cancel()
        look = self._begin(path, root, state, most)
        wait([look.news], PATIENCE_S)
        return look, False

    def _begin(self, path: Path, root: Path, state: dict[str, Any], most: int) -> _Look:
        reader = self._costly_reader if path in self._costly else self._reader
        look = self._looks[path] = _Look(state, reader.submit(news_of, path, root, state, most))
        return look

    def _records(self, news: NewsPart, path: Path, key: str, offsets: Mapping[str, Offset]) -> list[Record]:
        before = offsets.get(key)
        runs: dict[str, DatabaseRun] = {}
        for item in news.items:
            logged: LoggedItem = pickle.loads(item)
            run = runs.get(logged.run.id) or runs.setdefault(logged.run.id, self._run(path, key, logged.run, offsets))
            run.take(logged)
        if not runs and news.state == (before.state if before else {}):
            return []
        for run in runs.values():
            run.folder.noticed(run.records)
        records = [record for run in runs.values() for record in [*run.records, run.as_record()]]
        newest = next(reversed(runs.values())).folder.name if runs else before.run if before else ""
        if newest:
            count = len(news.items) + (
                before.offset if before else 0
            )  # it shows where a look is lost on its way to the store
            records.append(Offset(key, newest, 0, 0, count, 0, 0, 0, "", news.state))
        return records

    def _run(self, path: Path, key: str, run: RunRef, offsets: Mapping[str, Offset]) -> DatabaseRun:
        key = f"{key}#{escape_control(run.id)[:MAX_ID_CHARS]}"
        return DatabaseRun(key, self._runs.in_database(path, key, run), offsets.get(key))


def _has_changed(path: Path, root: Path, stamp: DatabaseStamp | None) -> bool:
    try:
        return stamp_of(path, root) != stamp
    except (OSError, NotRead):  # the next look says so
        return True


class _Look(NamedTuple):
    state: dict[str, Any]  # since which it looks for news
    news: Future[DatabaseNews]


def _done(news: DatabaseNews) -> Future[DatabaseNews]:
    done: Future[DatabaseNews] = Future()
    done.set_result(news)
    return done


def news_of(path: Path, root: Path, state: dict[str, Any], most: int) -> DatabaseNews:
    """For the process that reads: what is new since the state, at most so many items. Raises what `opened` does."""
    stamp = stamp_of(path, root)
    with opened(path, root) as db:
        return DatabaseNews(stamp, [NewsPart([], state)], True) if db is None else _news_in(db, stamp, state, most)


def _news_in(db: sqlite3.Connection, stamp: DatabaseStamp | None, state: dict[str, Any], most: int) -> DatabaseNews:
    kind = next((kind for kind in KINDS if kind.fits(db)), None)
    if kind is None:
        raise NotMetrics(f"is a database of something else than {' or '.join(kind.name for kind in KINDS)}")
    if state and not kind.is_same(db, state):
        state = {}
    parts: list[NewsPart] = []
    items: list[bytes] = []
    runs: set[str] = set()
    left_bytes, until_s = MAX_LOOK_BYTES, time.monotonic() + MAX_LOOK_S
    for logged in kind.read(db, state):
        items.append(_pickled(logged))
        runs.add(logged.run.id)
        left_bytes, most = left_bytes - len(items[-1]), most - 1
        if most <= 0 or left_bytes < 0 or time.monotonic() > until_s:
            return DatabaseNews(stamp, [*parts, NewsPart(items, state)], False)
        if len(runs) >= MAX_PART_RUNS:
            parts.append(NewsPart(items, dict(state)))
            items, runs = [], set()
    return DatabaseNews(stamp, [*parts, NewsPart(items, state)], True)


def _pickled(logged: LoggedItem) -> bytes:
    """Each on its own, so that one that is too deep costs itself."""
    try:
        return pickle.dumps(logged)
    except RecursionError:
        return pickle.dumps(
            logged._replace(values=None) if isinstance(logged, LoggedRow) else LoggedConfig(logged.run, {})
        )


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
