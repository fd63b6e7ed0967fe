"""Data of whole runs: aggregates updated with each commit, run.json, events, and how far each file has been read."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from ...records import Event, LogLine, Offset, ProgressBar, RunInfo, Sample
from ...step_axis import StepAxis
from ..protocol import OffsetGap, Run, series_id
from . import samples, sources
from .columns.chunks import TimeSpan
from .columns.groups import NO_STEP, Group

_UPSERT = """INSERT INTO run (name, first_time_s, last_time_s, last_step, median_interval_s, series, points, timed)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
  first_time_s = CASE WHEN excluded.first_time_s >= first_time_s THEN first_time_s
    ELSE coalesce(excluded.first_time_s, first_time_s) END,
  last_time_s = CASE WHEN excluded.last_time_s <= last_time_s THEN last_time_s
    ELSE coalesce(excluded.last_time_s, last_time_s) END,
  last_step = coalesce(excluded.last_step, last_step),
  median_interval_s = coalesce(excluded.median_interval_s, median_interval_s),
  series = series + excluded.series, points = points + excluded.points, timed = max(timed, excluded.timed)"""
_ROW = "name, info, first_time_s, last_time_s, last_step, median_interval_s, series, points, timed"
_READ = """run, coalesce(total(lines_read), 0), coalesce(total(lines_skipped), 0), coalesce(total(fields_skipped), 0),
  coalesce(sum(trouble != ''), 0), coalesce(max(trouble), '')"""
MOST_LIVE_EVENTS = 2000  # of a delta
MOST_CHARACTERS = 8_000_000  # of the texts and fields of all events of an answer
UNREAD = (0, 0, 0, 0, "")  # of a run without files
MOST_SHORT, SHORT_CHARACTERS = 60, 500
MOST_TAGS, NOTE_CHARACTERS = 100, 4000
_EVENT = "run, kind, time_s, rank, step, seconds, text, fields"
_OFFSET = """INSERT INTO offset VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET
  run = excluded.run, device = excluded.device, inode = excluded.inode, offset = excluded.offset, lines_read = excluded.lines_read,
  lines_skipped = excluded.lines_skipped, fields_skipped = excluded.fields_skipped, first_skip = excluded.first_skip,
  state = excluded.state, trouble = excluded.trouble"""


def note_points(
    db: sqlite3.Connection,
    run: str,
    rows: Group,
    last_step: int | None,
    median_interval_s: float | None,
    new_series: int,
) -> None:
    """`rows` are those of one source in one commit; called in the order of `newest_step`."""
    span = TimeSpan.of(rows.time_s, rows.step)
    about = (span.first_time_s, span.last_time_s, last_step, median_interval_s)
    db.execute(_UPSERT, (run, *about, new_series, rows.values.size, span.first_time_s is not None))


def newest_step(rows: Group) -> tuple[int, int | None]:
    """When the newest step arrived, and which it is; (-1, None) without one. The newest rows may have none: a validation, a note."""
    stepped = np.flatnonzero(rows.step != NO_STEP)
    return (int(rows.arrival[stepped[-1]]), int(rows.step[stepped[-1]])) if len(stepped) else (-1, None)


def step_axis(db: sqlite3.Connection, run: str) -> tuple[StepAxis, dict[int, str]]:
    """As the catalogue has it, and the names of all series by their ids; rows that are not packed are to follow."""
    rows = db.execute(
        """SELECT series.id, name, points, coalesce(newest_step, last_step) FROM stream JOIN series ON series.stream = stream.id
        WHERE run = ? ORDER BY born""",
        (run,),
    ).fetchall()
    axis = StepAxis()
    for series, name, points, step in rows:
        if step is not None:
            axis.take((series,), (name,), points, step)
    return axis, {series: name for series, name, _, _ in rows}


def note_lines(db: sqlite3.Connection, lines: Iterable[LogLine | ProgressBar | Sample]) -> None:
    times: dict[str, list[float]] = {}
    for line in lines:
        if line.time_s is not None:
            times.setdefault(line.run, []).append(line.time_s)
    db.executemany(_UPSERT, [(run, min(seen), max(seen), None, None, 0, 0, False) for run, seen in times.items()])


def write_events(db: sqlite3.Connection, events: Iterable[Event], seq: int) -> None:
    rows = [(seq, *event[:7], orjson.dumps(dict(event.fields), default=str).decode()) for event in events]
    db.executemany("INSERT INTO event VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.executemany("INSERT OR IGNORE INTO run (name) VALUES (?)", [(run,) for run in {row[1] for row in rows}])


def write_infos(db: sqlite3.Connection, infos: Iterable[RunInfo]) -> None:
    rows = [(run, orjson.dumps(dict(info), default=str).decode()) for run, info in infos]
    db.executemany("INSERT INTO run (name, info) VALUES (?, ?) ON CONFLICT DO UPDATE SET info = excluded.info", rows)


def write_offsets(db: sqlite3.Connection, offsets: Sequence[Offset]) -> None:
    rows = [
        (
            offset.path,
            offset.run,
            str(offset.device),
            str(offset.inode),
            *offset[4:9],
            orjson.dumps(dict(offset.state), default=_as_json).decode(),
            offset.trouble,
        )
        for offset in offsets
    ]
    db.executemany(_OFFSET, rows)
    db.executemany(
        "INSERT OR IGNORE INTO run (name) VALUES (?)", [(run,) for run in {offset.run for offset in offsets}]
    )


def _as_json(value: Any) -> Any:
    """A tuple with names, which orjson does not know, as the list that it is."""
    return list(value) if isinstance(value, tuple) else str(value)


def check_no_gap(db: sqlite3.Connection, offsets: Sequence[Offset]) -> None:
    """Check that each offset continues the one before it in the batch, or else the stored one. Raises OffsetGap."""
    reached: dict[str, tuple[int, int]] = {}
    for offset in offsets:
        if offset.after is not None:
            before = reached.get(offset.path)
            if before is None:
                before = db.execute(
                    "SELECT offset, lines_read FROM offset WHERE path = ?", (offset.path,)
                ).fetchone() or (0, 0)
            if before != offset.after:
                raise OffsetGap(offset.path, offset.after, before)
        reached[offset.path] = offset.reached


def rename(db: sqlite3.Connection, run: str, new: str, paths: Mapping[str, str]) -> dict[int, int]:
    """Rename a run whose points are all in chunks; return the new identities of its series, by the old ones."""
    for path, other in paths.items():
        db.execute("UPDATE OR REPLACE offset SET path = ? WHERE path = ? AND run = ?", (other, path, run))
    for table in ("offset", "event", "finding", "log", "template", "bar", "source", "sample", "sample_count"):
        db.execute(f"UPDATE OR REPLACE {table} SET run = ? WHERE run = ?", (new, run))
    db.execute("UPDATE OR REPLACE run SET name = ? WHERE name = ?", (new, run))
    ids: dict[int, int] = {}
    for stream, text in db.execute("SELECT id, labels FROM stream WHERE run = ?", (run,)).fetchall():
        labels = tuple((key, value) for key, value in orjson.loads(text))
        renamed = series_id(new, "", labels)
        db.execute("UPDATE stream SET id = ?, run = ? WHERE id = ?", (renamed, new, stream))
        for series, name in db.execute("SELECT id, name FROM series WHERE stream = ?", (stream,)).fetchall():
            ids[series] = series_id(new, name, labels)
            db.execute("UPDATE series SET id = ?, stream = ? WHERE id = ?", (ids[series], renamed, series))
            for table in ("chunk", "page"):
                db.execute(f"UPDATE {table} SET series = ? WHERE series = ?", (ids[series], series))
    return ids


def remove(db: sqlite3.Connection, run: str) -> list[int]:
    """Remove a run; return its streams. Its rows in head go with their commits."""
    streams = [stream for (stream,) in db.execute("SELECT id FROM stream WHERE run = ?", (run,))]
    for stream in streams:
        series = "(SELECT id FROM series WHERE stream = ?)"
        db.execute(f"DELETE FROM axis WHERE id IN (SELECT axis FROM chunk WHERE series IN {series})", (stream,))
        for table in ("chunk", "page"):
            db.execute(f"DELETE FROM {table} WHERE series IN {series}", (stream,))
        for table in ("pack", "series"):
            db.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))
    for table in ("stream", "offset", "event", "finding", "log", "template", "bar"):
        db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    sources.remove(db, run)
    samples.remove(db, run)
    db.execute("DELETE FROM run WHERE name = ?", (run,))
    return streams


def read_run(db: sqlite3.Connection, name: str) -> Run | None:
    row = db.execute(f"SELECT {_ROW} FROM run WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    _, *read = db.execute(f"SELECT {_READ} FROM offset WHERE run = ?", (name,)).fetchone()
    return _run(row, orjson.loads(row[1]), read)


class RunRows:
    """All runs of one file. An unchanged run is the same object as before, and costs little."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[Any, ...], Run]] = {}

    def read(self, db: sqlite3.Connection) -> list[Run]:
        """By name. Of run.json only what is short."""
        of_files = {run: read for run, *read in db.execute(f"SELECT {_READ} FROM offset GROUP BY run")}
        known = self._known
        found: dict[str, tuple[tuple[Any, ...], Run]] = {}
        for row in db.execute(f"SELECT {_ROW} FROM run ORDER BY name"):
            name, info, *others = row
            read = of_files.get(name, UNREAD)
            key = (hash(info), len(info), *others, *read)
            before = known.get(name)
            found[name] = (
                before if before is not None and before[0] == key else (key, _run(row, brief(orjson.loads(info)), read))
            )
        self._known = found
        return [run for _, run in found.values()]


def brief(info: dict[str, Any]) -> dict[str, Any]:
    """The numbers and short texts of run.json, its tags and note, and the short ones of its `config`: a list of thousands of runs stays small."""
    tags, note = info.get("tags"), info.get("note")
    short: dict[str, Any] = (
        {"tags": [tag for tag in tags[:MOST_TAGS] if _is_short("", tag)]} if isinstance(tags, list) else {}
    )
    short |= {"note": note[:NOTE_CHARACTERS]} if isinstance(note, str) else {}
    short |= {key: value for key, value in info.items() if key not in short and _is_short(key, value)}
    config = info.get("config")
    if isinstance(config, dict):
        kept = itertools.islice(((key, value) for key, value in config.items() if _is_short(key, value)), MOST_SHORT)
        short["config"] = dict(kept)
    return dict(itertools.islice(short.items(), MOST_SHORT))


def _is_short(key: str, value: object) -> bool:
    kept = (
        value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and len(value) <= SHORT_CHARACTERS)
    )
    return kept and len(key) <= SHORT_CHARACTERS


def _run(row: Sequence[Any], info: dict[str, Any], read: Sequence[Any]) -> Run:
    name, _, *aggregates, timed = row
    lines, skipped, fields, aside, trouble = read
    return Run._make([name, info, *aggregates, bool(timed), int(lines), int(skipped), int(fields), aside, trouble])


def read_events(
    db: sqlite3.Connection,
    run: str | None,
    lo: float | None,
    hi: float | None,
    kinds: Sequence[str] = (),
    most: int = -1,
) -> list[Event]:
    """In order of time, then of arrival; with `most` at most so many, the newest, and of very long ones fewer."""
    terms = [("run = ?", run), ("time_s >= ?", lo), ("time_s <= ?", hi)]
    asked = [(term, value) for term, value in terms if value is not None]
    if kinds:
        asked.append(("kind IN (SELECT value FROM json_each(?))", orjson.dumps(list(kinds)).decode()))
    where = " AND ".join([term for term, _ in asked] or ["1"])
    newest = f"SELECT {_EVENT} FROM event WHERE {where} ORDER BY time_s DESC, id DESC LIMIT ?"
    rows = db.execute(newest, [*(value for _, value in asked), most])
    return _events(rows if most < 0 else _bounded(rows))[::-1]


def read_events_after(db: sqlite3.Connection, seq: int, upto: int, most: int = MOST_LIVE_EVENTS) -> list[Event]:
    """Events of later commits, by arrival; where there are more than `most`, or very long ones, the newest of them."""
    after = f"SELECT {_EVENT} FROM event WHERE seq > ? AND seq <= ? ORDER BY seq DESC, id DESC LIMIT ?"
    return _events(_bounded(db.execute(after, (seq, upto, most))))[::-1]


def read_kinds_after(db: sqlite3.Connection, seq: int, kinds: Sequence[str]) -> list[Event]:
    """All events of these kinds of later commits, by arrival."""
    after = f"SELECT {_EVENT} FROM event WHERE seq > ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY seq, id"
    return _events(db.execute(after, (seq, orjson.dumps(list(kinds)).decode())))


def _bounded(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The first of these rows of `_EVENT` that together are not too long."""
    length = 0
    for row in rows:
        length += len(row[6]) + len(row[7])
        if length > MOST_CHARACTERS:
            return
        yield row


def read_offsets(db: sqlite3.Connection) -> dict[str, Offset]:
    rows = db.execute("SELECT * FROM offset").fetchall()
    return {
        path: Offset(
            path, run, int(device), int(inode), offset, lines, skipped, fields, first_skip, orjson.loads(state), trouble
        )
        for path, run, device, inode, offset, lines, skipped, fields, first_skip, state, trouble in rows
    }


def _events(rows: Iterable[tuple[Any, ...]]) -> list[Event]:
    return [Event._make([*row[:7], orjson.loads(row[7])]) for row in rows]
