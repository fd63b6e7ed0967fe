"""The files of a data folder: names, connections per thread, and deletion by age and size."""

from __future__ import annotations

import datetime
import functools
import math
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..store import Limits
from . import schema
from .schema import RUNS_FILE as RUNS_FILE

MACHINE_FILE = re.compile(r"machine-\d{4}-W\d\d\.sqlite")
DAY_S = 86400
WEEK_S = 7 * DAY_S
LIVE_WEEKS = 2  # machine files that new records may go to: last week's and this week's
LOOK_S = 1.0  # how often a reader looks for new files
SAME_TICK_S = (
    0.03  # what changed so lately may change again without another stamp: a tick of the kernel is 10 ms at most
)

StoreFile: TypeAlias = tuple[Path, sqlite3.Connection]


def week_file(time_s: float) -> str:
    """`1764000000 -> "machine-2025-W48.sqlite"`: ISO weeks, UTC."""
    year, week, _ = datetime.datetime.fromtimestamp(time_s, datetime.UTC).isocalendar()
    return f"machine-{year}-W{week:02}.sqlite"


@functools.cache
def week_start(path: Path) -> float:
    """`machine-2025-W48.sqlite -> 1763942400.0`"""
    return datetime.datetime.strptime(f"{path.stem[-8:]}-1 +0000", "%G-W%V-%u %z").timestamp()


def machine_files(data_dir: Path) -> list[Path]:
    """Oldest first; before them those of future weeks, left by a wrong clock."""
    paths = [data_dir / name for name in filter(MACHINE_FILE.fullmatch, _names(data_dir))]
    now_s = time.time()
    return sorted(paths, key=lambda path: (not is_future(path, now_s), path))


def is_future(path: Path, now_s: float) -> bool:
    """Whether a machine file is of a week that begins more than a day from now."""
    return path.name != RUNS_FILE and week_start(path) > now_s + DAY_S


def all_files(data_dir: Path) -> list[Path]:
    runs = data_dir / RUNS_FILE
    return [*([runs] if runs.exists() else []), *machine_files(data_dir)]


def wal_bytes(path: Path) -> int:
    """Of a file's write-ahead log."""
    return _size(path.with_name(f"{path.name}-wal"))


def size_bytes(path: Path) -> int:
    """Of a file with its write-ahead log."""
    return _size(path) + wal_bytes(path)


def folder_bytes(data_dir: Path) -> int:
    """Of all files of a store."""
    return sum(size_bytes(path) for path in all_files(data_dir))


class FolderStamp(NamedTuple):
    """A stamp that changes when a file is made, removed or replaced."""

    inode: int
    changed_s: float


NO_FOLDER = FolderStamp(-1, -math.inf)


class ReaderPool:
    """One read-only connection per file and thread, opened when the file appears and closed when the thread is gone."""

    def __init__(self, data_dir: Path, on_replaced: Callable[[], None] = lambda: None) -> None:
        """`on_replaced` is called when a file is gone, or another one than before: the data folder was removed."""
        self._dir, self._on_replaced = data_dir, on_replaced
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, dict[tuple[Path, int], sqlite3.Connection]] = {}
        self._files: list[Path] = []
        self._inodes: dict[Path, int] = {}
        self._live: list[Path] = []
        self._looked_s = -LOOK_S
        self._folder = NO_FOLDER  # as it was when it was looked through

    def runs(self) -> list[StoreFile]:
        """One, or none before the collector's first start."""
        return self._connect(path for path in self.files() if path.name == RUNS_FILE)

    def machine(self, lo: float = -math.inf, hi: float = math.inf) -> list[StoreFile]:
        """Oldest first, those whose week touches a range of time."""
        weeks = (path for path in self.files() if path.name != RUNS_FILE)
        return self._connect(path for path in weeks if week_start(path) <= hi and week_start(path) + WEEK_S >= lo)

    def live(self) -> list[StoreFile]:
        return self._connect(self.live_files())

    def live_files(self) -> list[Path]:
        """Those that new records go to."""
        self.files()
        return self._live

    def files(self) -> list[Path]:
        """The same list again while there are no others."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            wall_s = time.time()
            folder = _folder(self._dir)
            found = [path for path in all_files(self._dir) if not is_future(path, wall_s)]
            if found != self._files:
                weeks = [path for path in found if path.name != RUNS_FILE]
                self._live = [*(path for path in found if path.name == RUNS_FILE), *weeks[-LIVE_WEEKS:]]
                self._files = found
            inodes = {path: inode for path in found if (inode := _inode(path)) is not None}
            known, self._inodes = self._inodes, inodes
            if known.items() - inodes.items():
                self._on_replaced()
            self._folder = folder if wall_s - folder.changed_s > SAME_TICK_S else NO_FOLDER
            self._looked_s = now_s  # last: another thread that asks meanwhile looks for itself
        return self._files

    def look(self) -> None:
        """Look for new files at the next query."""
        if _folder(self._dir) != self._folder:
            self._looked_s = -LOOK_S

    def close(self) -> None:
        with self._lock:
            for connections in self._open.values():
                _close(connections)
            self._open.clear()

    def _connect(self, paths: Iterable[Path]) -> list[StoreFile]:
        """The calling thread's connections; a file that cannot be opened yet is left out."""
        mine = self._open.get(threading.current_thread())
        if mine is None:
            mine = self._enter()
        self.files()
        inodes = self._inodes
        for key in mine.keys() - inodes.items():
            mine.pop(key).close()
        keys = [(path, inodes[path]) for path in paths if path in inodes]
        for key in keys:
            if key not in mine and (db := schema.open_reader(key[0])) is not None:
                mine[key] = db
        return [(path, mine[path, inode]) for path, inode in keys if (path, inode) in mine]

    def _enter(self) -> dict[tuple[Path, int], sqlite3.Connection]:
        with self._lock:
            for thread in [thread for thread in self._open if not thread.is_alive()]:
                _close(self._open.pop(thread))
            return self._open.setdefault(threading.current_thread(), {})


def _names(data_dir: Path) -> list[str]:
    try:
        return os.listdir(data_dir)  # noqa: PTH208  # a tenth of what Path.iterdir costs, at every delta
    except FileNotFoundError:
        return []


def _close(connections: dict[tuple[Path, int], sqlite3.Connection]) -> None:
    for db in connections.values():
        db.close()


def unlink(path: Path) -> None:
    """Remove a file with its write-ahead log. Readers that have it open keep their view until they look again."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def _folder(path: Path) -> FolderStamp:
    try:
        found = os.stat(path)  # noqa: PTH116  # at every delta
    except OSError:
        return NO_FOLDER
    return FolderStamp(found.st_ino, found.st_mtime)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class ChangeDetector:
    """One followed file: the version shows cheaply whether anything was written, `seq` whether records were."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._version = self._seq = -1

    def changed(self) -> bool:
        before, (self._version,) = self._version, self.db.execute("PRAGMA data_version").fetchone()
        if self._version == before:
            return False
        seq, self._seq = self._seq, schema.meta(self.db, "seq")
        return self._seq != seq


# Choose the machine files to delete, by age and by the size of the whole folder (pure). Runs are never deleted.

APPLY_LIMITS_S = 10.0  # how often sizes and ages are looked at
TOO_LARGE = "the store has reached --max-size without machine samples left to drop; raise it, or remove runs that are not needed"


class RetentionDecision(NamedTuple):
    remove: list[Path]  # oldest first
    over: bool  # even then the folder is larger than allowed, and collection is to pause


def apply_limits(sizes: Sequence[tuple[Path, int]], limits: Limits, now_s: float) -> RetentionDecision:
    """`sizes` has all files; this week's is always kept. If they are too large, future weeks go first: no page shows them."""
    total = sum(size for _, size in sizes)
    remove = []
    for path, size in sorted(sizes, key=lambda file: (not is_future(file[0], now_s), file[0])):
        future = is_future(path, now_s)
        if path.name == RUNS_FILE or (week_start(path) + WEEK_S > now_s and not future):
            continue
        expired = (
            not future and limits.retention_s is not None and week_start(path) + WEEK_S < now_s - limits.retention_s
        )
        too_many = limits.max_bytes is not None and total > limits.max_bytes
        if expired or too_many:
            remove.append(path)
            total -= size
    return RetentionDecision(remove, limits.pause and limits.max_bytes is not None and total > limits.max_bytes)
