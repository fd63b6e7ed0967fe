"""The fresh rows of a file, which stand in head and in packs: decoded once and kept, since they never change."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from . import groups
from .codec import CodecError
from .groups import Group

CACHED_PACKS = 512

T = TypeVar("T")
log = logging.getLogger(__name__)


def decoded(what: str, row: int, decode: Callable[[bytes], T], blob: bytes) -> T | None:
    """What stands in a blob; None, and a line in the log, where it is damaged: it costs only itself."""
    try:
        return decode(blob)
    except CodecError as error:
        log.error("%s %d is left out: %s", what, row, error)
        return None


class Head:
    """The head rows of one file, joined by series."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: list[Group] = []
        self._first = self._last = 0  # seq of the rows that are held

    def load(self, db: sqlite3.Connection) -> list[Group]:
        """All rows that the connection's transaction sees, perhaps with later ones."""
        first, last = db.execute("SELECT min(seq), max(seq) FROM head").fetchone()
        if last is None:
            return []
        with self._lock:
            if first < self._first:  # an older transaction than the one that filled this: it sees rows that are gone
                return self._read(db, 0)
            if last > self._last:
                kept = [group.after(first - 1) for group in self._groups]
                self._groups = groups.stack([*(group for group in kept if len(group.arrival)), *self._read(db, self._last)])
                self._first, self._last = first, last
            return self._groups

    def _read(self, db: sqlite3.Connection, after: int) -> list[Group]:
        rows = db.execute("SELECT seq, data FROM head WHERE seq > ? ORDER BY seq", (after,)).fetchall()
        return groups.stack(group for seq, data in rows for group in decoded("head", seq, groups.decode, data) or [])


class Packs:
    """The packs of one file."""

    def __init__(self) -> None:
        self._decoded: dict[int, list[Group]] = {}

    def load(self, db: sqlite3.Connection, stream: int) -> list[Group]:
        """The stream's packed rows, oldest first."""
        found: list[Group] = []
        for (pack,) in db.execute("SELECT id FROM pack WHERE stream = ? ORDER BY id", (stream,)).fetchall():
            parts = self._decoded.get(pack)
            if parts is None:
                (data,) = db.execute("SELECT data FROM pack WHERE id = ?", (pack,)).fetchone()
                parts = decoded("pack", pack, groups.decode, data) or []
                if len(self._decoded) >= CACHED_PACKS:
                    self._decoded = {}
                self._decoded[pack] = parts
            found += parts
        return found
