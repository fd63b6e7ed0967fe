"""Read the SQLite databases of other programs as they are being written: nothing is changed in their folder, and no writer waits.

With a write-ahead log, readers hold up no writer. Without one a reader's lock would, so none is taken: what was read counts only if
the file was the same before and after.

A database may make SQLite take any time, so it is opened in the process that reads them (`database_file.py`), which has one thread.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from .open_files import NotMetrics, NotRead, open_file, rights_for

MAGIC = b"SQLite format 3\0"
JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
HEADER_BYTES = 100
COUNTER = slice(24, 28)  # of the header: rises with each commit, where there is no write-ahead log
PRIMARY = 0xFF  # the bits of an error code that say its kind
PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
"""What SQLite says where its program just closes a database, which removes the write-ahead log, or opens it."""
MAX_VALUE_BYTES = 16 << 20
MAX_COPIED_BYTES = 256 << 20


class BeingWritten(Exception):
    """The file was changed while it was read, or is in the middle of a change: it is to be read again."""


class DatabaseStamp(NamedTuple):
    """What shows that a database was changed."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    counter: bytes
    log_bytes: int  # of the write-ahead log
    log_mtime_ns: int


@contextmanager
def opened(path: Path, root: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that only reads, for one look; None for an empty file.

    Raises NotRead, NotMetrics, BeingWritten, FileNotFoundError, OSError or sqlite3.Error. What was read is valid only if the block
    ends without BeingWritten.
    """
    with rights_for(path, root):
        yield from _opened(path, root)


def _opened(path: Path, root: Path) -> Iterator[sqlite3.Connection | None]:
    before = stamp_of(path, root)
    if before is None:
        yield None
    elif before.log_bytes and not sibling(path, "-shm").exists():
        yield from _copied(path, root, before)
    elif before.log_bytes:
        try:
            yield from _connected(path, "mode=ro&readonly_shm=1", before)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & PRIMARY in PASSING:
                raise BeingWritten from error
            raise
    else:
        _check_journal(path, root)
        try:
            yield from _connected(path, "immutable=1", before)
        except (sqlite3.Error, UnicodeError) as error:
            if stamp_of(path, root) != before:
                raise BeingWritten from error
            raise
        _check_journal(path, root)
        if stamp_of(path, root) != before:
            raise BeingWritten


def sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def columns_of(db: sqlite3.Connection, table: str) -> set[str]:
    """The names of the columns of a table; none for a view or a virtual table, which could compute anything."""
    found = db.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if found is None or found[0] != "table" or str(found[1]).upper().startswith("CREATE VIRTUAL"):
        return set()
    return {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")}


def stamp_of(path: Path, root: Path) -> DatabaseStamp | None:
    """None for an empty file. Raises NotMetrics for a file of something else, and as `open_file` does."""
    descriptor = open_file(path, root)
    try:
        found, header = os.fstat(descriptor), os.pread(descriptor, HEADER_BYTES, 0)
    finally:
        os.close(descriptor)
    if not header:
        return None
    if not header.startswith(MAGIC):
        raise NotMetrics("is no SQLite database")
    times = found.st_mtime_ns, found.st_ctime_ns
    place = found.st_dev, found.st_ino
    return DatabaseStamp(*place, found.st_size, *times, header[COUNTER], *_log(sibling(path, "-wal"), root))


def _log(path: Path, root: Path) -> tuple[int, int]:
    """Size and time of change; zeros where there is no such file."""
    try:
        descriptor = open_file(path, root)
    except FileNotFoundError:
        return 0, 0
    try:
        found = os.fstat(descriptor)
        return found.st_size, found.st_mtime_ns
    finally:
        os.close(descriptor)


def _check_journal(path: Path, root: Path) -> None:
    """Raises BeingWritten in the middle of a commit, or where a program ended in one."""
    try:
        descriptor = open_file(sibling(path, "-journal"), root)
    except FileNotFoundError:
        return
    try:
        if os.pread(descriptor, len(JOURNAL_MAGIC), 0) == JOURNAL_MAGIC:
            raise BeingWritten
    finally:
        os.close(descriptor)


def _connected(path: Path, how: str, stamp: DatabaseStamp | None = None) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(f"file:{quote(os.fsencode(path))}?{how}", uri=True, timeout=0.0, isolation_level=None)
    try:
        if stamp is not None:
            _check_opened(stamp)
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("BEGIN")  # one state of it
        yield db
    finally:
        db.close()


def _check_opened(stamp: DatabaseStamp) -> None:
    """Raises BeingWritten where SQLite, which opens by path, has opened another file than the one that was checked."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the list's own
            found = os.fstat(int(descriptor.name))
            if (found.st_dev, found.st_ino) == (stamp.device, stamp.inode):
                return
    raise BeingWritten


def _copied(path: Path, root: Path, stamp: DatabaseStamp) -> Iterator[sqlite3.Connection]:
    """A copy with the write-ahead log that was left beside the file without its `-shm`: to read it there, SQLite would create that."""
    if stamp.size + stamp.log_bytes > MAX_COPIED_BYTES:
        raise NotRead(
            "has a write-ahead log that no program has open; it is read once its program, or sqlite3, has opened it again"
        )
    with tempfile.TemporaryDirectory(prefix="deepseek-") as folder:
        copy = Path(folder) / "copy.db"
        _copy(path, root, stamp.size, copy)
        _copy(sibling(path, "-wal"), root, stamp.log_bytes, sibling(copy, "-wal"))
        if stamp_of(path, root) != stamp:
            raise BeingWritten
        yield from _connected(copy, "mode=ro")


def _copy(path: Path, root: Path, length: int, target: Path) -> None:
    """So many bytes of it, or all that there are."""
    with os.fdopen(open_file(path, root), "rb") as source, target.open("xb") as copy:
        while length and (sent := os.sendfile(copy.fileno(), source.fileno(), None, length)):
            length -= sent
