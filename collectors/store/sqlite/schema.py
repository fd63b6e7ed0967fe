"""The tables of the two kinds of file, and their migrations.

`runs.sqlite` has points, lines, events, findings and samples of runs; `machine-<week>.sqlite` has the machine's points, and the stacks of all runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from .. import store
from ..store import StoreError
from . import chunks
from .chunks import NOTHING, Extremes, RowGroup, extremes_of, wider
from .codec import decoded

# What an older file lacks beside its rows: the least and the greatest value of each series.


def fill(db: sqlite3.Connection) -> None:
    """Enter those of all packed rows: of each series two chunks are opened, and every pack. About 0.1 ms a series."""
    found: dict[int, Extremes] = {}
    for series, low, high in _extreme_chunks(db):
        old = found.get(series, NOTHING)
        for chunk in dict.fromkeys((low, high)):
            old = wider(old, _of_chunk(db, chunk))
        found[series] = old
    for pack, data in db.execute("SELECT id, data FROM pack ORDER BY id"):
        for series, new in _of_groups(decoded("pack", pack, chunks.decode, data) or []):
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
    return extremes_of(RowGroup(np.zeros(1, np.int64), none, time_s, step, none, values[None]))[0]


def _of_groups(parts: Iterable[RowGroup]) -> Iterable[tuple[int, Extremes]]:
    for part in parts:
        yield from zip(part.ids.tolist(), extremes_of(part), strict=True)


RUNS_FILE = "runs.sqlite"  # all other files hold what the machine reports
VERSION = 9
PAGE_BYTES = 16384  # chunk rows take 1 to 8 kB: in pages of 4 kB a third of the file would be empty
CACHE_KIB = 8192
BUSY_MS = 5000
WAL_PAGES = 4096  # the writer's own checkpoint, where compact() does not come by in time
WAL_LIMIT_BYTES = 64 << 20

# A summary holds what a bucket needs of its points, so that a wide bucket is answered without them. Times are NULL where the
# points have none, steps as well; a chunk never mixes points with and without, nor two segments.
SUMMARY = """
  id INTEGER PRIMARY KEY, series INTEGER NOT NULL,
  start INTEGER NOT NULL,        -- place of its first point in the series
  rows INTEGER NOT NULL, segment INTEGER, non_finite INTEGER NOT NULL,
  least REAL, most REAL, total REAL, first REAL, last REAL,
  first_time_s REAL, last_time_s REAL, first_step INTEGER, last_step INTEGER,  -- least and greatest
  end_step INTEGER,              -- of the last point to arrive
"""
POINTS = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
-- A stream is what one source writes: a rank of a run, a device. Rows up to packed_seq stand in pack or chunk, later ones in head.
CREATE TABLE stream (id INTEGER PRIMARY KEY, run TEXT, labels TEXT NOT NULL, packed_seq INTEGER NOT NULL);
CREATE INDEX stream_run ON stream (run);
CREATE TABLE series (
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, name TEXT NOT NULL,
  born INTEGER NOT NULL,         -- order of appearance
  points INTEGER NOT NULL DEFAULT 0,   -- in packs and chunks
  sealed INTEGER NOT NULL DEFAULT 0,   -- in chunks
  paged INTEGER NOT NULL DEFAULT 0,    -- in pages
  first_time_s REAL, last_time_s REAL, first_step INTEGER, last_step INTEGER,
  newest_time_s REAL, newest_step INTEGER, newest_value REAL,
  -- of the finite values in packs and chunks; in machine files from before version 5 only of what came since
  least REAL, least_step INTEGER, most REAL, most_step INTEGER);
CREATE INDEX series_stream ON series (stream);
CREATE TABLE head (seq INTEGER PRIMARY KEY, time_s REAL NOT NULL, data BLOB NOT NULL);
CREATE TABLE pack (id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, rows INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX pack_stream ON pack (stream);
CREATE TABLE axis (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE chunk ({SUMMARY} axis INTEGER NOT NULL, data BLOB NOT NULL,
  units INTEGER NOT NULL DEFAULT 0);  -- of thinned points, that its data and axis hold; 0 while they hold the points
CREATE INDEX chunk_place ON chunk (series, start, first_time_s, last_time_s, first_step, last_step);
CREATE TABLE page ({SUMMARY} coarse_units INTEGER NOT NULL, fine_units INTEGER NOT NULL, coarse BLOB NOT NULL, fine BLOB NOT NULL);
CREATE INDEX page_place ON page (series, start, first_time_s, last_time_s, first_step, last_step);
"""
SOURCES = """
-- Texts of source files as runs loaded them, each once. `source` says which run had which, or why it is not kept.
CREATE TABLE source_text (id INTEGER PRIMARY KEY, sha TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE source (
  run TEXT NOT NULL, path TEXT NOT NULL, sha TEXT NOT NULL, since_s REAL NOT NULL, why TEXT NOT NULL,
  PRIMARY KEY (run, path, sha, why)) WITHOUT ROWID;
CREATE INDEX source_sha ON source (sha);
"""
BARS = """
-- The progress bar at the end of a file, overwritten with each of its states; seq is that of the commit, text is '' once it is gone.
CREATE TABLE bar (
  run TEXT NOT NULL, file TEXT NOT NULL, seq INTEGER NOT NULL, time_s REAL NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (run, file)) WITHOUT ROWID;
CREATE INDEX bar_seq ON bar (seq);
"""
SAMPLES = """
-- Samples of runs: the bytes of those without a file, the place of all others. `sample_count` has a row a run and kind, also for what was left out.
CREATE TABLE IF NOT EXISTS sample (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, media TEXT NOT NULL, time_s REAL, step INTEGER,
  rank INTEGER NOT NULL, path TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER, head_crc INTEGER, written_s REAL, data BLOB);
CREATE INDEX IF NOT EXISTS sample_name ON sample (run, name, step, time_s, kind);
CREATE TABLE IF NOT EXISTS sample_count (
  run TEXT NOT NULL, kind TEXT NOT NULL, kept INTEGER NOT NULL, bytes INTEGER NOT NULL, left_out INTEGER NOT NULL,
  PRIMARY KEY (run, kind)) WITHOUT ROWID;
"""
TEMPLATES = """
-- Lines of a run that differ in their placeholders only; ids begin at 1 in each run. A wide one has the lines of a family.
CREATE TABLE template (
  run TEXT NOT NULL, id INTEGER NOT NULL, text TEXT NOT NULL, example TEXT NOT NULL, file TEXT NOT NULL, family TEXT NOT NULL,
  wide INTEGER NOT NULL, level INTEGER NOT NULL, lines INTEGER NOT NULL, first_time_s REAL NOT NULL, last_time_s REAL NOT NULL,
  PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE INDEX log_run ON log (run, last_line, first_line, lines, mined);
CREATE INDEX log_mined ON log (mined) WHERE mined < 2;
"""
FINDINGS = """
-- What rules found, overwritten while it goes on; seq is that of the commit, run is '' for the machine.
CREATE TABLE finding (
  id TEXT PRIMARY KEY, seq INTEGER NOT NULL, run TEXT NOT NULL, rule TEXT NOT NULL, weight TEXT NOT NULL, from_s REAL NOT NULL,
  to_s REAL NOT NULL, over INTEGER NOT NULL, sentence TEXT NOT NULL, rank INTEGER, step INTEGER, fields TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX finding_run ON finding (run, from_s);
CREATE INDEX finding_from ON finding (from_s);
CREATE INDEX finding_seq ON finding (seq);
CREATE INDEX finding_holding ON finding (over) WHERE over = 0;
"""
RUNS = """
CREATE TABLE run (
  name TEXT PRIMARY KEY, info TEXT NOT NULL DEFAULT '{}', first_time_s REAL, last_time_s REAL, last_step INTEGER,
  median_interval_s REAL, series INTEGER NOT NULL DEFAULT 0, points INTEGER NOT NULL DEFAULT 0,
  timed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE offset (
  path TEXT PRIMARY KEY, run TEXT NOT NULL, device TEXT NOT NULL, inode TEXT NOT NULL, offset INTEGER NOT NULL,
  lines_read INTEGER NOT NULL, lines_skipped INTEGER NOT NULL, fields_skipped INTEGER NOT NULL,
  first_skip TEXT NOT NULL, state TEXT NOT NULL, trouble TEXT NOT NULL DEFAULT '');
CREATE TABLE event (
  id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, run TEXT NOT NULL, kind TEXT NOT NULL, time_s REAL NOT NULL,
  rank INTEGER NOT NULL, step INTEGER, seconds REAL, text TEXT NOT NULL, fields TEXT NOT NULL);
CREATE INDEX event_run ON event (run, time_s);
CREATE INDEX event_seq ON event (seq);
-- Lines of one run, by the number that each line gets on arrival. seq is that of the commit, NULL once blocks have been merged.
CREATE TABLE log (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, seq INTEGER, first_line INTEGER NOT NULL, last_line INTEGER NOT NULL,
  lines INTEGER NOT NULL, first_time_s REAL NOT NULL, last_time_s REAL NOT NULL, max_level INTEGER NOT NULL,
  files TEXT NOT NULL, columns BLOB NOT NULL, texts BLOB NOT NULL,
  mined INTEGER NOT NULL DEFAULT 0);  -- 1: its columns have the lines' templates, 2: which are counted
CREATE INDEX log_last ON log (last_line);
CREATE INDEX log_seq ON log (seq, run, lines);
"""
MACHINE = """
CREATE TABLE frame (id INTEGER PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL);
CREATE TABLE stack (id INTEGER PRIMARY KEY, frames BLOB NOT NULL);
CREATE TABLE profile (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, rank INTEGER NOT NULL, pid INTEGER NOT NULL, role TEXT NOT NULL, host TEXT NOT NULL,
  sampler TEXT NOT NULL, hz REAL NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL, samples INTEGER NOT NULL,
  errors INTEGER NOT NULL, threads TEXT NOT NULL, spans INTEGER NOT NULL, data BLOB NOT NULL,
  thinned INTEGER NOT NULL DEFAULT 0);  -- 1: each span is the sum of its stack over the row's minute
CREATE INDEX profile_run ON profile (run, end_s, start_s);
"""


def _to_version_2(db: sqlite3.Connection) -> None:
    """Files that are set aside, and whether a run's points have times."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'offset'").fetchone() is None:
        return  # a machine file
    db.execute("ALTER TABLE offset ADD COLUMN trouble TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE run ADD COLUMN timed INTEGER NOT NULL DEFAULT 0")
    has_time = "SELECT 1 FROM series JOIN stream ON stream.id = stream WHERE stream.run = run.name AND series.first_time_s IS NOT NULL"
    db.execute(f"UPDATE run SET timed = median_interval_s IS NOT NULL OR EXISTS ({has_time})")


def _to_version_3(db: sqlite3.Connection) -> None:
    """Texts of source files."""
    _add_to_runs(db, SOURCES)


def _to_version_4(db: sqlite3.Connection) -> None:
    """Progress bars."""
    _add_to_runs(db, BARS)


def _to_version_5(db: sqlite3.Connection) -> None:
    """The least and greatest value of each series."""
    for column in ("least REAL", "least_step INTEGER", "most REAL", "most_step INTEGER"):
        db.execute(f"ALTER TABLE series ADD COLUMN {column}")
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'offset'").fetchone():
        fill(db)


def _to_version_6(db: sqlite3.Connection) -> None:
    """Samples."""
    _add_to_runs(db, SAMPLES)


def _to_version_7(db: sqlite3.Connection) -> None:
    """Templates of log lines; compaction groups the lines that are there."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'log'").fetchone():
        db.execute("ALTER TABLE log ADD COLUMN mined INTEGER NOT NULL DEFAULT 0")
        db.execute("DROP INDEX log_run")
    _add_to_runs(db, TEMPLATES)


def _to_version_8(db: sqlite3.Connection) -> None:
    """Findings."""
    _add_to_runs(db, FINDINGS)


def _to_version_9(db: sqlite3.Connection) -> None:
    """Thinned samples of the machine."""
    db.execute("ALTER TABLE chunk ADD COLUMN units INTEGER NOT NULL DEFAULT 0")
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'profile'").fetchone():
        db.execute("ALTER TABLE profile ADD COLUMN thinned INTEGER NOT NULL DEFAULT 0")


def _add_to_runs(db: sqlite3.Connection, tables: str) -> None:
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'offset'").fetchone() is None:
        return  # a machine file
    comment_free = "\n".join(line.partition("--")[0] for line in tables.splitlines())
    for statement in comment_free.split(";")[:-1]:
        db.execute(statement)


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {
    1: _to_version_2,
    2: _to_version_3,
    3: _to_version_4,
    4: _to_version_5,
    5: _to_version_6,
    6: _to_version_7,
    7: _to_version_8,
    8: _to_version_9,
}  # from version -> the step to the next one


def open_writer(path: Path) -> sqlite3.Connection:
    """The file's writing connection; the file is made where it does not exist and migrated where it is old."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(
        "PRAGMA synchronous = NORMAL"
    )  # survives kill -9; a power loss may cost the last commits, never the file
    db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    _update(db, path)
    return db


def newest_seq(path: Path) -> int:
    """Of a machine file that is not written to any more; brings it up to date."""
    with closing(open_writer(path)) as db:
        return meta(db, "seq")


def open_again(path: Path) -> sqlite3.Connection:
    """A second connection of the writing process, to read what is to be compacted and to checkpoint."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def open_reader(path: Path) -> sqlite3.Connection | None:
    """A read-only connection, or None where the file is not there yet, or its writer has still to make or migrate it."""
    if not path.exists():
        return None
    try:
        db = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
        )
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute("PRAGMA trusted_schema = OFF")
        db.set_progress_handler(store.is_over, store.STEPS)
        version = _version(db)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN:
            return None
        raise
    if version != VERSION:
        db.close()
    if version > VERSION:
        raise StoreError(_too_new(path, version))
    return db if version == VERSION else None


def odd_parts(db: sqlite3.Connection) -> list[str]:
    """What no store has, and what could compute without end as it is read: views, triggers, virtual tables and columns that are computed."""
    parts = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    odd = [
        f"{kind} {name}"
        for kind, name, sql in parts
        if kind not in ("table", "index") or str(sql).upper().startswith("CREATE VIRTUAL")
    ]
    tables = [name for kind, name, _ in parts if kind == "table"]
    return odd or [
        f"column {row[1]} of {name}"
        for name in tables
        for row in db.execute("SELECT * FROM pragma_table_xinfo(?)", (name,))
        if row[6]
    ]


def identity(path: Path) -> list[tuple[int, int]]:
    """Device and inode of an open file and of its write-ahead log; (0, 0) where there is none."""
    found = []
    for name in (path.name, f"{path.name}-wal"):
        try:
            there = path.with_name(name).lstat()
            found.append((there.st_dev, there.st_ino))
        except OSError:
            found.append((0, 0))
    return found


@contextmanager
def transaction(db: sqlite3.Connection, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """All or nothing; with mode DEFERRED, one snapshot for several reads."""
    db.execute(f"BEGIN {mode}")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def meta(db: sqlite3.Connection, key: str) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def set_meta(db: sqlite3.Connection, key: str, value: int) -> None:
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value))


def _update(db: sqlite3.Connection, path: Path) -> None:
    version = _version(db)
    if version > VERSION:
        db.close()
        raise StoreError(_too_new(path, version))
    if version == 0:
        tables = POINTS + (
            RUNS + SOURCES + BARS + SAMPLES + TEMPLATES + FINDINGS if path.name == RUNS_FILE else MACHINE
        )
        db.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA user_version = {VERSION}; COMMIT;")
        return
    for step in range(version, VERSION):
        with transaction(db):
            MIGRATIONS[step](db)
            db.execute(f"PRAGMA user_version = {step + 1}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _too_new(path: Path, version: int) -> str:
    return f"{path} was written by a newer version (schema {version}, this one knows {VERSION}): update, or use another --data-dir"
