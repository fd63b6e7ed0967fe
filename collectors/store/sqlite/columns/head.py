"""The fresh rows of a file, which stand in head and in packs: decoded once and kept, since they never change."""

from __future__ import annotations

import bisect
import sqlite3
import threading
from collections.abc import Collection
from typing import TypeAlias

from . import groups
from .damage import decoded
from .groups import Group

CACHED_PACKS = 512
_Commit: TypeAlias = tuple[int, list[Group]]  # its seq, and its rows


class Head:
    """The head rows of one file, by commit, and joined by series."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commits: list[_Commit] = []
        self._joined: list[Group] = []
        self._joined_since, self._joined_seq = 0, 0  # of the oldest and the newest commit that are in it
        self._places: dict[int, list[int]] = {}  # in it, by series; empty until it is asked for

    def of(self, db: sqlite3.Connection, series: Collection[int]) -> list[tuple[int, Group]]:
        """The rows of some series that the connection's transaction sees, perhaps with others: groups, each with one series that it holds."""
        with self._lock:
            commits = self._look(db)
            if commits is self._commits:
                self._join(commits)
                self._places = self._places or _places(self._joined)
                joined, places = self._joined, self._places
            else:
                joined = _joined(commits)
                places = _places(joined)
            held = {place: number for number in series for place in places.get(number, ())}
            return [(number, joined[place]) for place, number in held.items()]

    def _join(self, commits: list[_Commit]) -> None:
        new = _later(commits, self._joined_seq)
        if not new:
            return
        since, kept = commits[0][0], self._joined
        if since != self._joined_since:
            kept = [group for group in (group.after(since - 1) for group in kept) if len(group.arrival)]
        self._joined, self._places = groups.stack([*kept, *_joined(new)]), {}
        self._joined_since, self._joined_seq = since, commits[-1][0]

    def between(self, db: sqlite3.Connection, after: int, upto: int) -> list[Group]:
        """The rows of these commits, as committed; called ten times a second, so nothing else is read."""
        with self._lock:
            return [group for seq, made in _later(self._look(db), after) if seq <= upto for group in made]

    def _look(self, db: sqlite3.Connection) -> list[_Commit]:
        first, last = db.execute("SELECT min(seq), max(seq) FROM head").fetchone()
        if last is None:
            return []
        known = self._commits
        if (
            known and first < known[0][0]
        ):  # an older transaction than the one that filled this: it sees rows that are gone
            return self._read(db, 0)
        newest = known[-1][0] if known else 0
        if last > newest:
            self._commits = [*_later(known, first - 1), *self._read(db, newest)]
        return self._commits

    def _read(self, db: sqlite3.Connection, after: int) -> list[_Commit]:
        rows = db.execute("SELECT seq, data FROM head WHERE seq > ? ORDER BY seq", (after,)).fetchall()
        return [(seq, decoded("head", seq, groups.decode, data) or []) for seq, data in rows]


def _later(commits: list[_Commit], seq: int) -> list[_Commit]:
    return commits[bisect.bisect_right(commits, seq, key=lambda commit: commit[0]) :]


def _places(joined: list[Group]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, group in enumerate(joined):
        for series in group.ids.tolist():
            places.setdefault(series, []).append(place)
    return places


def _joined(commits: list[_Commit]) -> list[Group]:
    return groups.stack(group for _, made in commits for group in made)


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
