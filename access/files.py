"""Small files that users edit beside us: read with care, written atomically."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

MAX_BYTES = 64 << 10
FOLDER_MODE = 0o700  # of a file: 0600, as tempfile makes it
SETTLED_NS = 5 * 10**9  # a younger file may change once more without a new stamp


class Unwritable(Exception):
    """The disk is full, the folder is not ours, ...; the text is one sentence with the file."""


class FileStamp(NamedTuple):
    """Differs when the file does, once it is older than SETTLED_NS."""

    modified_ns: int
    size_bytes: int
    inode: int


def stamp_of(found: os.stat_result) -> FileStamp:
    return FileStamp(found.st_mtime_ns, found.st_size, found.st_ino)


def write_bytes(path: Path, data: bytes) -> None:
    """Whole: a reader, or a crash, finds the old file or the new one. Makes the folder. Raises Unwritable."""
    try:
        path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        descriptor, new = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor has no path
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            Path(new).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(new).unlink()
            raise
    except OSError as error:
        raise Unwritable(f"cannot write {path} ({error.strerror})") from error


def bytes_of(path: Path | str, folder: int | None = None, most: int = MAX_BYTES) -> bytes:
    """`folder` is the descriptor of the one that a name is in. Raises OSError, ValueError with what the file is or has."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO is opened at once
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        if not S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        data = b""
        while len(data) <= most and (part := os.read(descriptor, most + 1 - len(data))):
            data += part
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise ValueError(f"has more than {most >> 10} KiB")
    return data
