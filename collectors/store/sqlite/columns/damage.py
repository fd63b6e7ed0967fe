"""Damage: of a blob, which costs only itself; and of a file or its disk, in one sentence with the remedy."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ... import question
from ...protocol import StoreError
from .codec import CodecError

T = TypeVar("T")
log = logging.getLogger(__name__)

DAMAGED = "the store is damaged; run deepseek-dashboard store check to find the file; move it away and the log folder is re-read"
REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full; make room, collection continues automatically",
    sqlite3.SQLITE_BUSY: "another program holds the store's file; close it (sqlite3, a backup), collection continues automatically",
    sqlite3.SQLITE_LOCKED: "another program holds the store's file; close it (sqlite3, a backup), collection continues automatically",
    sqlite3.SQLITE_PERM: "the data folder cannot be written; make it writable or pass another --data-dir",
    sqlite3.SQLITE_IOERR: "the disk fails; look at the kernel's log, or move --data-dir",
    sqlite3.SQLITE_READONLY: "the data folder is read-only; make it writable or pass another --data-dir",
    sqlite3.SQLITE_CANTOPEN: "the data folder cannot be written; make it writable or pass another --data-dir",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}


LATER = "collection continues automatically once the store takes records"


def decoded(what: str, row: int, decode: Callable[[bytes], T], blob: bytes) -> T | None:
    """None, with a line in the log, if the blob is damaged; `store check` also names it."""
    try:
        return decode(blob)
    except CodecError as error:
        log.error("%s %d is left out: %s", what, row, error)
        return None


@contextmanager
def failing(so: str = "nothing was stored", otherwise: str | None = None) -> Iterator[None]:
    """SQLite's failures in one sentence with the remedy, as StoreError. A failure without one is raised as it is, or gets `otherwise`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            question.check()
        remedy = REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)  # what sqlite3 itself refuses has no code
        if remedy is None:
            remedy = otherwise or (
                LATER if isinstance(error, sqlite3.OperationalError) else None
            )  # else it is a record's fault
        if remedy is None:
            raise
        raise StoreError(f"{so} ({error}): {remedy}") from error
