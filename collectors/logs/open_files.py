"""Opens files of the log folder, regular ones inside it only, and recognizes what was read of them."""

from __future__ import annotations

import ctypes
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..rights import LEAVES, LeftAlone, acting_for, is_root, open_resolved

FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
AT_FDCWD, AT_EMPTY_PATH, STATX_BTIME, STATX_BYTES, BTIME_AT = (
    -100,
    0x1000,
    0x800,
    256,
    80,
)  # of linux/fcntl.h and linux/stat.h
END_BYTES = 256  # before the offset, by which a copy of a file is recognized
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRead(Exception):
    """A file that is not read; the text says why, as the end of a sentence that begins with its name."""


class NotMetrics(NotRead):
    """A file that is not metrics, such as a data set, with a name that a format takes: no fault, and read again only when it changes."""


class DataFile(NotMetrics):
    """One that is read all the same where a user asks for it."""


def open_file(path: Path, root: Path) -> int:
    """A descriptor of the regular file. Raises NotRead, FileNotFoundError or another OSError.

    It is checked before it is opened (opening a pipe or a device affects the process at its other end), and again once it is open.
    """
    try:
        if is_root():
            return _open_as_root(path, root)
        _check(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        if path.is_symlink():
            raise NotRead("is a link to nothing; it is read once the file is there") from None
        raise
    descriptor = os.open(path, FLAGS)
    try:
        _check(os.fstat(descriptor).st_mode)
        if not _place(descriptor, path).is_relative_to(root):
            raise NotRead(LEAVES)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def marks_of(descriptor: int, offset: int, head_bytes: int, head: str = "") -> tuple[str, str]:
    """What the part of a file that has been read is recognized by: fingerprints of its first bytes, with their number, and of its last ones.

    That of its first bytes stays as it is once it is known (`head`).
    """
    return head or _head(descriptor, min(offset, head_bytes)), _end(descriptor, offset)


def has_read_part(descriptor: int, offset: int, head: str, end: str) -> bool:
    """Whether the open file begins with it: neither truncated nor written anew, even if it is longer again. "" matches anything."""
    if os.fstat(descriptor).st_size < offset:
        return False
    if head and _head(descriptor, int(head.partition(":")[0])) != head:
        return False
    return not end or _end(descriptor, offset) == end


def _head(descriptor: int, length: int) -> str:
    return f"{length}:{zlib.crc32(os.pread(descriptor, length, 0)):08x}"


def _end(descriptor: int, offset: int) -> str:
    """ "" where so many bytes are not there."""
    length = min(offset, END_BYTES)
    data = os.pread(descriptor, length, offset - length)
    return f"{zlib.crc32(data):08x}" if len(data) == length else ""


@contextmanager
def rights_for(path: Path, root: Path) -> Iterator[None]:
    """For a library that opens the file by its path: root has the rights of the file's user meanwhile. Raises NotRead, OSError."""
    try:
        with acting_for(path, root):
            yield
    except LeftAlone as error:
        raise NotRead(str(error)) from error


def read_file(path: Path, root: Path, most_bytes: int) -> tuple[bytes, os.stat_result]:
    """All of a small file, and its `stat`. Raises as `open_file` does, and NotRead where it has more bytes."""
    descriptor = open_file(path, root)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if found.st_size > most_bytes:
            raise NotRead(f"has {found.st_size / 1e6:,.0f} MB, and more than {most_bytes >> 20} MiB are not read")
        return file.read(most_bytes), found


def _open_as_root(path: Path, root: Path) -> int:
    """Raises NotRead, OSError."""
    try:
        with open_resolved(path, root) as found:
            _check(found.status.st_mode)
            return found.open(FLAGS)
    except LeftAlone as error:
        raise NotRead(str(error)) from error


def _check(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotRead(f"is {KINDS.get(stat.S_IFMT(mode), 'no file')}; only files are read")


def _place(descriptor: int, path: Path) -> Path:
    """The path of the open file, all links followed."""
    try:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
    except OSError:  # no /proc
        return path.resolve()


def born_s(file: int | Path) -> float:
    """When the file of a descriptor or path was made, Unix seconds; 0 where the file system does not say.

    Python's `os.stat` leaves it out on Linux.
    """
    statx = getattr(ctypes.CDLL(None), "statx", None)
    found = ctypes.create_string_buffer(STATX_BYTES)
    place = (file, b"", AT_EMPTY_PATH) if isinstance(file, int) else (AT_FDCWD, os.fsencode(file), 0)
    if statx is None or statx(*place, STATX_BTIME, found):
        return 0.0
    mask = int.from_bytes(found.raw[:4], "little")
    seconds, nanoseconds = (
        int.from_bytes(found.raw[at : at + size], "little") for at, size in ((BTIME_AT, 8), (BTIME_AT + 8, 4))
    )
    return seconds + 1e-9 * nanoseconds if mask & STATX_BTIME else 0.0
