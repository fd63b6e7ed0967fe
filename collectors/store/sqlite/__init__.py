"""SQLite files in one folder, one writing process, any number of reading ones: the default engine."""

from __future__ import annotations

from pathlib import Path

from ..store import Limits, Store
from .engine import SqliteStore
from .maintenance import SqliteMaintenance


def open_store(place: str, *, write: bool, limits: Limits) -> Store:
    return SqliteStore(Path(place), write=write, limits=limits)


def maintenance(place: str) -> SqliteMaintenance:
    return SqliteMaintenance(Path(place))
