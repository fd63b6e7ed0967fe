"""Deleted runs: their data leaves the store, and tombstones keep their files from being read again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

# Tombstones: which files of a deleted run are not read again, by their identity.
#
# `<data>/deleted/<run, percent-encoded>-<hash>.json`:
#
#     {"run": "a", "deleted_s": 1764000000.5, "folder": "/logs/a", "files": [["/logs/a/metrics.jsonl", 4127, 81920, "9f86d0..."]],
#      "known": {"state": "finished", "last_step": 4000, ...}}
#
# Until `purge_s` the run can be restored as it was, and none of its files is read, whatever is written to them. 0: its data has left the
# store. Then a file is one of these while its inode, its size and the SHA-256 of its first 4 kB are the same. Otherwise it is a new file.

FOLDER = "deleted"
OLD_FOLDER, OLD_TIME = "forgotten", "forgotten_s"  # names in older versions
UNDO_S, MAX_UNDO_S = 600.0, 86400.0  # how long a deleted run can be restored as it was
SUFFIX = ".json"
HEAD_BYTES = 4096
MAX_FILES = 100_000  # of a run
MAX_BYTES = 64 << 20  # of a tombstone
MAX_TOMBSTONES = 100_000
PREFIX = 120  # characters of the run's name in the file's
FOLDER_MODE = 0o700
MAX_TEXT, MAX_NUMBER = 2000, 2**53  # of what was known of a run

log = logging.getLogger("collectors")


class FileIdentity(NamedTuple):
    path: str  # absolute; bytes that are no UTF-8 are lone surrogates, as in `os.fsdecode`
    inode: int
    size: int
    head: str  # SHA-256 of the first 4 kB, in hexadecimal digits


class LastKnown(NamedTuple):
    """What the pages knew of a run when it was deleted. `state` is "" where they did not say: nothing is known then."""

    state: str = ""
    reason: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    last_time_s: float | None = None
    last_step: int | None = None
    series: int = 0
    points: int = 0


NOTHING_KNOWN = LastKnown()


class Tombstone(NamedTuple):
    run: str
    deleted_s: float
    folder: str  # that holds nothing but this run's files and what was never read; "" where there is none
    files: tuple[FileIdentity, ...]
    known: LastKnown = NOTHING_KNOWN
    purge_s: float = 0.0  # when its data leaves the store, Unix seconds; 0: it has


class Tombstones:
    """Those of a data folder. The collector is the only one who writes them; may be asked from many threads."""

    def __init__(self, data_dir: Path) -> None:
        _move_old(data_dir)
        self._folder = data_dir / FOLDER
        self._lock = threading.Lock()
        self._kept = {found.run: found for found in read_all(data_dir)}
        self._files = {file.path: file for found in self._kept.values() for file in found.files}
        self._pending: set[str] = set()  # files of runs whose data has not left the store
        self._put_away: dict[str, str] = {}  # by such a run that has a folder of its own, that folder
        self._note_pending()
        self._same: dict[str, int] = {}  # by path, when a file last changed that was found to be the same, ctime in ns

    def covers(self, path: str) -> bool:
        """Whether it is a file of a deleted run, and has not changed since. Costs a look at it, where one of that name was deleted."""
        known = self._files.get(path)
        if any(path.startswith(folder) for folder in self._put_away.values()):
            return True
        if known is None:
            return False
        if known.path in self._pending:
            return True
        try:
            found = os.stat(path)  # noqa: PTH116  # at each look at the folder
            if (found.st_ino, found.st_size) != (known.inode, known.size):
                return False
            if self._same.get(path) != found.st_ctime_ns:
                if head_of(path) != known.head:
                    return False
                self._same[path] = found.st_ctime_ns
        except OSError:  # gone, or not ours to read
            return False
        return True

    def has(self, run: str) -> bool:
        return run in self._kept

    def of(self, run: str) -> Tombstone | None:
        return self._kept.get(run)

    def due(self, now_s: float) -> list[str]:
        """Runs whose data is to leave the store now."""
        if not self._pending and not self._put_away:
            return []
        return [found.run for found in self.all() if 0 < found.purge_s <= now_s]

    def _note_pending(self) -> None:
        pending = [found for found in self._kept.values() if found.purge_s]
        self._pending = {file.path for found in pending for file in found.files}
        self._put_away = {found.run: f"{found.folder}/" for found in pending if found.folder}

    def all(self) -> list[Tombstone]:
        with self._lock:
            return list(self._kept.values())

    def owner_below(self, folder: str, run: str) -> bool:
        """Whether a file of another deleted run lies below this folder."""
        start = f"{folder.rstrip('/')}/"
        return any(file.path.startswith(start) for found in self.all() if found.run != run for file in found.files)

    def put(self, tombstone: Tombstone) -> None:
        """Durable when it returns; joined with an earlier one of the same run. Raises OSError."""
        with self._lock:
            before = self._kept.get(tombstone.run)
            if before is not None:
                files = {file.path: file for file in (*before.files, *tombstone.files)}
                tombstone = tombstone._replace(files=tuple(files.values()))
            _write(self._folder / file_name(tombstone.run), tombstone)
            self._kept[tombstone.run] = tombstone
            self._note_pending()
            self._files |= {file.path: file for file in tombstone.files}

    def remove(self, run: str) -> Tombstone | None:
        """What was removed; None where there was none. Raises OSError."""
        with self._lock:
            found = self._kept.get(run)
            if found is not None:
                (self._folder / file_name(run)).unlink(missing_ok=True)
                del self._kept[run]
                self._note_pending()
                for file in found.files:
                    self._files.pop(file.path, None)
            return found


def identity_of_file(path: str) -> FileIdentity | None:
    """None for what is gone, or is no regular file."""
    try:
        found = os.stat(path)  # noqa: PTH116
        if not stat.S_ISREG(found.st_mode):
            return None
        return FileIdentity(path, found.st_ino, found.st_size, head_of(path))
    except OSError:
        return None


def head_of(path: str) -> str:
    """Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return hashlib.sha256(os.pread(descriptor, HEAD_BYTES, 0)).hexdigest()
    finally:
        os.close(descriptor)


def file_name(run: str) -> str:
    """No two runs share one."""
    digest = hashlib.blake2b(run.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{quote(run, safe='', errors='surrogatepass')[:PREFIX].lstrip('.')}-{digest}{SUFFIX}"


def _move_old(data_dir: Path) -> None:
    """Move tombstones of older versions one by one: wherever this is interrupted, each is in one of the two folders. Raises OSError."""
    old, folder = data_dir / OLD_FOLDER, data_dir / FOLDER
    if old.is_dir():
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        for path in old.iterdir():
            path.replace(folder / path.name)
        old.rmdir()


def read_all(data_dir: Path) -> list[Tombstone]:
    """Those that can be read, of older versions as well; an odd one costs itself, and is named in the log."""
    try:
        found = chain(*((data_dir / folder).glob(f"*{SUFFIX}") for folder in (OLD_FOLDER, FOLDER)))
        paths = sorted(islice(found, MAX_TOMBSTONES))
    except OSError:
        return []
    return [tombstone for path in paths if (tombstone := _read(path)) is not None]


def _read(path: Path) -> Tombstone | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return _typed(json.loads(file.read(MAX_BYTES)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s is no tombstone of a run (%s: %s): its files are read again", path, type(error).__name__, error)
        return None


def _typed(row: Any) -> Tombstone:
    files = tuple(
        FileIdentity(str(path), int(inode), int(size), str(head))
        for path, inode, size, head in row["files"][:MAX_FILES]
    )
    deleted_s = float(row["deleted_s"] if "deleted_s" in row else row[OLD_TIME])
    return Tombstone(str(row["run"]), deleted_s, str(row["folder"]), files, last_known(row.get("known")), _time(row))


def _time(row: dict[str, Any]) -> float:
    purge_s = row.get("purge_s", 0.0)
    return float(purge_s) if _fits(purge_s, None) and purge_s > 0 else 0.0


def last_known(row: Any) -> LastKnown:
    """A field that is not what it must be is at its default."""
    given = row if isinstance(row, dict) else {}
    return LastKnown(*(value if _fits(value, nothing) else nothing for nothing, value in _pairs(given)))


def _pairs(given: dict[str, Any]) -> Iterable[tuple[Any, Any]]:
    return [(nothing, given.get(name, nothing)) for name, nothing in NOTHING_KNOWN._asdict().items()]


def _fits(value: Any, nothing: str | int | None) -> bool:
    if isinstance(nothing, str):
        return isinstance(value, str) and len(value) <= MAX_TEXT
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER


def _write(path: Path, tombstone: Tombstone) -> None:
    path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        row = {**tombstone._asdict(), "files": _rows(tombstone.files), "known": tombstone.known._asdict()}
        file.write(json.dumps(row).encode())
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def _rows(files: Iterable[FileIdentity]) -> list[list[Any]]:
    return [list(file) for file in files]
