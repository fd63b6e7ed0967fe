"""Data of whole runs: run.json, events, findings, samples, sources and offsets."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from ...message import Message, to_json
from ...records import MESSAGE, Event, Finding, LogLine, Offset, ProgressBar, RunInfo, Sample, SourceText
from ...step_axis import StepAxis
from ..store import (
    MAX_SAMPLE_BYTES,
    MAX_SAMPLE_NAMES,
    MAX_SAMPLES,
    Run,
    SampleName,
    SampleNames,
    SampleQuery,
    series_id,
)
from . import codec
from .chunks import NO_STEP, RowGroup, TimeSpan
from .codec import decoded

# Findings: a row each, overwritten while it goes on. A message stands among the JSON fields, and its text in a column, which is all that rows of
# earlier versions have. Who reads a row gets the text, as it is, and makes a message of the field where it is wanted: that takes 50 us.

MAX_LIVE = 1000  # of a delta
_COLUMNS = "id, run, rule, weight, from_s, to_s, over, sentence, rank, step, fields"


def write_findings(db: sqlite3.Connection, findings: Iterable[Finding], seq: int) -> None:
    rows = [
        (
            found.id,
            seq,
            found.run or "",
            found.rule,
            found.weight,
            found.from_s,
            found.to_s,
            found.over,
            found.sentence,
            found.rank,
            found.step,
            orjson.dumps(_fields(found), default=str).decode(),
        )
        for found in findings
    ]
    db.executemany("INSERT OR REPLACE INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def read_findings(
    db: sqlite3.Connection,
    run: str | None,
    lo: float | None,
    hi: float | None,
    *,
    holding: bool = False,
    most: int = -1,
) -> list[Finding]:
    """By their start; with `most` at most so many, the newest."""
    terms = [("run = ?", run), ("to_s >= ?", lo), ("from_s <= ?", hi)]
    asked = [(term, value) for term, value in terms if value is not None]
    where = " AND ".join([*(term for term, _ in asked), *(["over = 0"] if holding else [])]) or "1"
    newest = f"SELECT {_COLUMNS} FROM finding WHERE {where} ORDER BY from_s DESC, id DESC LIMIT ?"
    return _found(db.execute(newest, [*(value for _, value in asked), most]))[::-1]


def read_finding(db: sqlite3.Connection, id_: str) -> list[Finding]:
    """The one of that id, if it is there; an id is text that a client may have made up."""
    return _found(db.execute(f"SELECT {_COLUMNS} FROM finding WHERE id = ?", [id_.encode("utf-8", "replace").decode()]))


def read_findings_after(db: sqlite3.Connection, seq: int, upto: int) -> list[Finding]:
    """Those written by later commits; of very many the newest."""
    after = f"SELECT {_COLUMNS} FROM finding WHERE seq > ? AND seq <= ? ORDER BY seq DESC, from_s DESC LIMIT ?"
    return _found(db.execute(after, (seq, upto, MAX_LIVE)))[::-1]


def _fields(found: Finding) -> dict[str, Any]:
    said = {MESSAGE: to_json(found.message)} if isinstance(found.message, Message) else {}
    return {**found.fields, **said}


def _found(rows: Iterable[tuple]) -> list[Finding]:  # type: ignore[type-arg]
    return [
        Finding(id_, run or None, rule, weight, from_s, to_s, bool(over), sentence, rank, step, orjson.loads(fields))
        for id_, run, rule, weight, from_s, to_s, over, sentence, rank, step, fields in rows
    ]


# The samples of runs: the bytes of those without a file, the place of all others; their number and bytes are bounded for each run.

_SAMPLE_ROW = "run, name, kind, media, time_s, step, rank, {data}, path, offset, length, head_crc, written_s, id"
_INSERT = """INSERT INTO sample (run, name, kind, media, time_s, step, rank, data, path, offset, length, head_crc, written_s)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_COUNT = """INSERT INTO sample_count VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  kept = kept + excluded.kept, bytes = bytes + excluded.bytes, left_out = left_out + excluded.left_out"""
_NAMES = """SELECT name, group_concat(DISTINCT kind), count(*), min(step), max(step), min(time_s), max(time_s)
  FROM sample WHERE run = ? GROUP BY name ORDER BY name LIMIT ?"""


def write_samples(db: sqlite3.Connection, samples: Iterable[Sample]) -> None:
    """What goes beyond the limits of its run is counted."""
    for run, some in _by_run(samples).items():
        kept: dict[str, int] = dict(db.execute("SELECT kind, kept FROM sample_count WHERE run = ?", (run,)).fetchall())
        (used,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM sample_count WHERE run = ?", (run,)).fetchone()
        counts, rows = [], []
        for sample in some:
            size = len(sample.data)
            fits = kept.get(sample.kind, 0) < MAX_SAMPLES and (not size or used + size <= MAX_SAMPLE_BYTES)
            if fits:
                kept[sample.kind] = kept.get(sample.kind, 0) + 1
                used += size
                rows.append(sample[:-1])
            counts.append((run, sample.kind, fits, size if fits else 0, not fits))
        db.executemany(_INSERT, rows)
        db.executemany(_COUNT, counts)
        db.execute("INSERT OR IGNORE INTO run (name) VALUES (?)", (run,))


def read_sample_names(db: sqlite3.Connection, run: str) -> SampleNames:
    names = [
        SampleName(name, tuple(sorted(kinds.split(","))), *others)
        for name, kinds, *others in db.execute(_NAMES, (run, MAX_SAMPLE_NAMES))
    ]
    (count,) = db.execute("SELECT count(DISTINCT name) FROM sample WHERE run = ?", (run,)).fetchone()
    (left_out,) = db.execute("SELECT coalesce(sum(left_out), 0) FROM sample_count WHERE run = ?", (run,)).fetchone()
    return SampleNames(names, count - len(names), left_out)


def read_samples(db: sqlite3.Connection, query: SampleQuery) -> list[Sample]:
    terms = [
        ("run = ?", query.run),
        ("name = ?", query.name),
        ("step >= ?", query.from_step),
        ("step <= ?", query.to_step),
        ("id = ?", query.number),
        ("id > ?", query.after or None),
    ]
    asked = [(term, value) for term, value in terms if value is not None]
    where = " AND ".join(term for term, _ in asked)
    order = "id" if query.name is None else "step DESC, id DESC"
    row = _SAMPLE_ROW.format(data="data" if query.data else "x''")
    rows = db.execute(
        f"SELECT {row} FROM sample WHERE {where} ORDER BY {order} LIMIT ?", [*(v for _, v in asked), query.limit]
    )
    found = [Sample._make(row) for row in rows]
    return found if query.name is None else found[::-1]


def remove_samples(db: sqlite3.Connection, run: str) -> None:
    for table in ("sample", "sample_count"):
        db.execute(f"DELETE FROM {table} WHERE run = ?", (run,))


def _by_run(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.run, []).append(sample)
    return found


# The texts of source files that were kept for runs: each text once, by its hash, and which run had it under which path.

MAX_BYTES = 20_000_000  # of one run's texts
USED_UP = f"The {MAX_BYTES // 1_000_000} MB of source text that are kept for a run were used up by other files."
SAME_START_S = 1.0  # start times are computed from ticks and the clock, and differ by less


def write_sources(db: sqlite3.Connection, texts: Iterable[SourceText]) -> None:
    for text in texts:
        data = text.text.encode()
        if text.sha and not _has_room(db, text.run, text.sha, len(data)):
            text = text._replace(sha="", text="", why=USED_UP)
        if text.sha and db.execute("SELECT 1 FROM source_text WHERE sha = ?", (text.sha,)).fetchone() is None:
            db.execute(
                "INSERT INTO source_text (sha, bytes, data) VALUES (?, ?, ?)", (text.sha, len(data), codec.seal(data))
            )
        row = (text.run, text.path, text.sha, text.since_s, text.why)
        db.execute(
            "INSERT INTO source VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET since_s = max(since_s, excluded.since_s)",
            row,
        )
        db.execute("INSERT OR IGNORE INTO run (name) VALUES (?)", (text.run,))


def read_sources(db: sqlite3.Connection, run: str, path: str) -> SourceText | None:
    """The text that the run's newest process with this file ran; None if it was never read, or its blob is damaged."""
    rows = db.execute(
        "SELECT sha, since_s, why FROM source WHERE run = ? AND path = ? ORDER BY since_s DESC", (run, path)
    ).fetchall()
    newest = [row for row in rows if row[1] > rows[0][1] - SAME_START_S]
    for sha, since_s, why in sorted(
        newest, key=lambda row: not row[0]
    ):  # read a second time, it may have changed meanwhile
        if not sha:
            return SourceText(run, path, "", "", since_s, why)
        for row, blob in db.execute("SELECT rowid, data FROM source_text WHERE sha = ?", (sha,)):
            if (data := decoded("source text", row, codec.unseal, blob)) is not None:
                return SourceText(run, path, sha, data.decode(), since_s)
    return None


def remove_sources(db: sqlite3.Connection, run: str) -> None:
    db.execute("DELETE FROM source WHERE run = ?", (run,))
    db.execute("DELETE FROM source_text WHERE sha NOT IN (SELECT sha FROM source)")


def _has_room(db: sqlite3.Connection, run: str, sha: str, size: int) -> bool:
    """Whether the run has this text already, or has room for it."""
    kept = "SELECT source_text.sha, bytes FROM source_text WHERE sha IN (SELECT sha FROM source WHERE run = ?)"
    sizes = dict(db.execute(kept, (run,)).fetchall())
    return sha in sizes or sum(sizes.values()) + size <= MAX_BYTES


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
MAX_LIVE_EVENTS = 2000  # of a delta
MAX_CHARACTERS = 8_000_000  # of the texts and fields of all events of an answer
UNREAD = (0, 0, 0, 0, "")  # of a run without files
MAX_SHORT, SHORT_CHARACTERS = 60, 500
MAX_TAGS, NOTE_CHARACTERS = 100, 4000
_EVENT = "run, kind, time_s, rank, step, seconds, text, fields"
_OFFSET = """INSERT INTO offset VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET
  run = excluded.run, device = excluded.device, inode = excluded.inode, offset = excluded.offset, lines_read = excluded.lines_read,
  lines_skipped = excluded.lines_skipped, fields_skipped = excluded.fields_skipped, first_skip = excluded.first_skip,
  state = excluded.state, trouble = excluded.trouble"""


def note_points(
    db: sqlite3.Connection,
    run: str,
    rows: RowGroup,
    last_step: int | None,
    median_interval_s: float | None,
    new_series: int,
) -> None:
    """`rows` are those of one source in one commit; called in the order of `newest_step`."""
    span = TimeSpan.of(rows.time_s, rows.step)
    about = (span.first_time_s, span.last_time_s, last_step, median_interval_s)
    db.execute(_UPSERT, (run, *about, new_series, rows.values.size, span.first_time_s is not None))


def newest_step(rows: RowGroup) -> tuple[int, int | None]:
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
    remove_sources(db, run)
    remove_samples(db, run)
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
        {"tags": [tag for tag in tags[:MAX_TAGS] if _is_short("", tag)]} if isinstance(tags, list) else {}
    )
    short |= {"note": note[:NOTE_CHARACTERS]} if isinstance(note, str) else {}
    short |= {key: value for key, value in info.items() if key not in short and _is_short(key, value)}
    config = info.get("config")
    if isinstance(config, dict):
        kept = itertools.islice(((key, value) for key, value in config.items() if _is_short(key, value)), MAX_SHORT)
        short["config"] = dict(kept)
    return dict(itertools.islice(short.items(), MAX_SHORT))


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


def read_events_after(db: sqlite3.Connection, seq: int, upto: int, most: int = MAX_LIVE_EVENTS) -> list[Event]:
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
        if length > MAX_CHARACTERS:
            return
        yield row


def read_offsets(db: sqlite3.Connection) -> dict[str, Offset]:
    return {row[0]: _offset(row) for row in db.execute("SELECT * FROM offset").fetchall()}


def read_offset(db: sqlite3.Connection, path: str) -> Offset | None:
    row = db.execute("SELECT * FROM offset WHERE path = ?", (path,)).fetchone()
    return None if row is None else _offset(row)


def _offset(row: Sequence[Any]) -> Offset:
    path, run, device, inode, offset, lines, skipped, fields, first_skip, state, trouble = row
    counts = offset, lines, skipped, fields, first_skip
    return Offset(path, run, int(device), int(inode), *counts, orjson.loads(state), trouble)


def _events(rows: Iterable[tuple[Any, ...]]) -> list[Event]:
    return [Event._make([*row[:7], orjson.loads(row[7])]) for row in rows]


_SIZES = (
    "SELECT total(length(data)) FROM pack WHERE stream IN (SELECT id FROM stream WHERE run = ?)",
    "SELECT total(length(data)) FROM chunk WHERE series IN (SELECT series.id FROM series JOIN stream ON stream.id = stream WHERE run = ?)",
    "SELECT total(length(coarse) + length(fine)) FROM page WHERE series IN (SELECT series.id FROM series JOIN stream ON stream.id = stream WHERE run = ?)",
    "SELECT total(length(columns) + length(texts)) FROM log WHERE run = ?",
    "SELECT total(length(text) + length(fields)) FROM event WHERE run = ?",
    "SELECT total(length(data)) FROM sample WHERE run = ?",
    "SELECT total(bytes) FROM source_text WHERE sha IN (SELECT sha FROM source WHERE run = ?)",
    "SELECT total(length(info)) FROM run WHERE name = ?",
)


def read_size(db: sqlite3.Connection, run: str) -> int:
    """Without what waits to be packed, and the tables' own overhead."""
    return int(sum(db.execute(query, (run,)).fetchone()[0] for query in _SIZES))
