"""Maintain the files of a folder: read all and name damaged parts, or pack all."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG

import numpy as np
from numpy.typing import NDArray

from ...records import Frame
from ..store import FileGlance, StoreError
from . import chunks, codec, files, rollups, schema, stacks
from .codec import store_errors
from .engine import SqliteStore

_BLOBS: list[tuple[str, str, Callable[[bytes], object]]] = [
    ("head", "data", chunks.decode),
    ("pack", "data", chunks.decode),
    ("page", "coarse", rollups.decode_coarse),
    ("page", "fine", rollups.decode_fine),
    ("log", "columns", codec.decode),
    ("log", "texts", codec.unseal),
    ("profile", "data", codec.decode),
    ("source_text", "data", codec.unseal),
]
_CHUNKS = """SELECT chunk.id, series.name, coalesce(stream.run, 'the machine'), chunk.rows, chunk.least, chunk.most, chunk.data, axis.data, units
  FROM chunk LEFT JOIN axis ON axis.id = chunk.axis JOIN series ON series.id = chunk.series JOIN stream ON stream.id = series.stream"""
_GAPS = """SELECT name, sealed, total(chunk.rows), max(chunk.start + chunk.rows)
  FROM series LEFT JOIN chunk ON chunk.series = series.id GROUP BY series.id
  HAVING sealed != total(chunk.rows) OR sealed != coalesce(max(chunk.start + chunk.rows), 0)"""


class SqliteMaintenance:
    """Implements `Maintenance` of `store.py` for one folder."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir

    def exists(self) -> bool:
        return bool(files.all_files(self._dir))

    def size_bytes(self) -> int:
        return files.folder_bytes(self._dir)

    def glance(self, until_mono_s: float) -> list[FileGlance]:
        return [_glance(path, until_mono_s) for path in files.all_files(self._dir)]

    @store_errors("the store cannot be copied", "see what is damaged with: deepseek-dashboard store check")
    def backup(self, target: Path) -> None:
        for path in files.all_files(self._dir):
            new = target / f".new-{path.name}"
            new.touch(0o600)  # SQLite would make it readable for all
            with (
                contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
                contextlib.closing(sqlite3.connect(new)) as copy,
            ):
                source.backup(copy)  # in one step: as of one moment
                copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            files.unlink(target / path.name)
            new.replace(target / path.name)

    def check(self) -> list[str]:
        return [f"{path.name}: {trouble}" for path in files.all_files(self._dir) for trouble in _check_file(path)]

    @store_errors("the store cannot be packed", "see what is damaged with: deepseek-dashboard store check")
    def compact(self) -> None:
        """A file needs its own size again while it is rewritten."""
        store = SqliteStore(self._dir, write=True)
        try:
            store.settle()
        finally:
            store.close()
        for path in files.all_files(self._dir):
            with store_errors():
                db = schema.open_again(path)
                try:
                    db.execute("VACUUM")
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    db.close()


def _glance(path: Path, until_mono_s: float) -> FileGlance:
    """SQLite's own quick check, until the time is over."""
    try:
        found = path.stat()
        if not S_ISREG(found.st_mode):
            return FileGlance(path.name, 0, None, "it is not a file", True)
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0.1)
    except (OSError, sqlite3.DatabaseError) as error:
        return FileGlance(path.name, 0, None, f"it cannot be opened ({error})", True)
    version = None
    with contextlib.closing(db):
        try:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > schema.VERSION:
                return FileGlance(
                    path.name,
                    found.st_size,
                    version,
                    f"it was written by a newer version (schema {version}): update",
                    True,
                )
            db.set_progress_handler(lambda: time.monotonic() > until_mono_s, 1000)
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            stopped = getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY)
            return FileGlance(
                path.name, found.st_size, version, "" if stopped else f"it cannot be read ({error})", not stopped
            )
    return FileGlance(path.name, found.st_size, version, "" if said == "ok" else f"SQLite says: {said}", True)


def _check_file(path: Path) -> Iterator[str]:
    try:
        db = schema.open_reader(path)
        if db is None:
            yield "it is not a store file, or is still being made"
            return
        with contextlib.closing(db), schema.transaction(db, "DEFERRED"):
            if odd := schema.odd_parts(db):
                yield f"it holds what no store does: {odd[0]}"
                return
            for (message,) in db.execute("PRAGMA integrity_check").fetchall():
                if message != "ok":
                    yield f"SQLite says: {message}"
            yield from _check_blobs(db)
            yield from _check_chunks(db)
            yield from _check_stacks(db)
            for name, sealed, rows, _ in db.execute(_GAPS).fetchall():
                yield f"series {name} should have {sealed} points in chunks and has {int(rows)}"
    except StoreError as error:  # of a newer version
        yield str(error)
    except sqlite3.DatabaseError as error:
        yield f"it cannot be read on: {error}"


def _check_blobs(db: sqlite3.Connection) -> Iterator[str]:
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table, column, decode in _BLOBS:
        if table in tables:
            for row, blob in db.execute(f"SELECT rowid, {column} FROM {table}"):
                trouble = _trouble(decode, blob)
                if trouble:
                    yield f"{table} {row}: {trouble}"


def _check_chunks(db: sqlite3.Connection) -> Iterator[str]:
    """Each chunk against its axis and against the summary in its row."""
    for chunk, name, run, rows, least, most, data, axis, units in db.execute(_CHUNKS):
        if units:
            if trouble := _trouble_of_cells(axis or b"", data, rows, (least, most), units):
                yield f"chunk {chunk} of {name} of {run}: {trouble}"
            continue
        trouble = _trouble(chunks.read_values, data) or _trouble(chunks.read_axis, axis or b"")
        if not trouble:
            values, (time_s, step) = chunks.read_values(data), chunks.read_axis(axis)
            if not len(values) == len(time_s) == len(step) == rows or _range(values) != (least, most):
                trouble = "its points are not those of its summary"
        if trouble:
            yield f"chunk {chunk} of {name} of {run}: {trouble}"


def _trouble_of_cells(axis: bytes, data: bytes, rows: int, ends: tuple[float | None, float | None], units: int) -> str:
    try:
        found = chunks.read_summaries(axis, data, 0)
    except codec.CodecError as error:
        return str(error)
    same = (
        len(found.rows) == units
        and int(found.rows.sum()) == rows
        and _range(np.concatenate([found.least, found.most])) == ends
    )
    return "" if same else "its cells are not those of its summary"


def _check_stacks(db: sqlite3.Connection) -> Iterator[str]:
    """Check stacks and frames, whose rows are named by the hash of their contents."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'stack'").fetchone():
        for stack, frames in db.execute("SELECT id, frames FROM stack"):
            if stacks.content_hash(frames) != stack:
                yield f"stack {stack}: damaged, it does not match its hash"
        for frame, *about in db.execute("SELECT id, name, file, line FROM frame"):
            if stacks.frame_hash(Frame(*about)) != frame:
                yield f"frame {frame}: damaged, it does not match its hash"


def _range(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (None, None)


def _trouble(decode: Callable[[bytes], object], blob: bytes) -> str:
    try:
        decode(blob)
    except codec.CodecError as error:
        return str(error)
    return ""
