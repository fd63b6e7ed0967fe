"""Read pickles of numbers, texts, lists and tables alone: a file that another program wrote may run nothing here."""

from __future__ import annotations

import os
import pickle
import stat
from typing import IO, Any


class PlainPickle(pickle.Unpickler):
    """Raises UnpicklingError for a pickle that names anything to be imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it has a persistent id")


def open_plain_file(path: str, since_s: float, most_bytes: int) -> IO[bytes] | None:
    """None for a file that is not there, was written before, is larger, a link, or not a plain file. It never waits for a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    file = os.fdopen(descriptor, "rb")
    known = os.fstat(descriptor)
    if stat.S_ISREG(known.st_mode) and known.st_size <= most_bytes and known.st_mtime >= since_s:
        return file
    file.close()
    return None
