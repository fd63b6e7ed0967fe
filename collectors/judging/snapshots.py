"""Find the memory snapshot that a script wrote beside its logs. It may be large, and a file of that name may be anything: it is read apart."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from ..analysis.dumps.allocations import MOST_TEXT, MemorySnapshot, snapshot_of
from .apart import NotInTime, read_apart
from .plain_pickle import PlainPickle, open_plain_file

SUFFIXES = (".pickle", ".pkl")
MOST_BYTES = 256 << 20
MOST_NAMES = 10_000  # of a folder, that are looked at
MOST_TRIED = 3  # files: a job of many ranks writes one a rank
READ_WITHIN_S = 8.0


def memory_snapshot(folders: Iterable[Path], since_s: float, until_s: float) -> MemorySnapshot | None:
    """Of the newest that was written in these folders between the two times; None where there is none. Takes up to READ_WITHIN_S."""
    written = sorted(
        (found for folder in dict.fromkeys(folders) for found in _written(folder, since_s, until_s)), reverse=True
    )
    for _, size, path in written[:MOST_TRIED]:
        name = Path(path).name
        if size > MOST_BYTES:
            return _unread(
                name, f"It has {size >> 20} MiB, too many to be read here: open it at pytorch.org/memory_viz."
            )
        found = _read(path, since_s)
        if found is not None:
            return found
    return None


def _written(folder: Path, since_s: float, until_s: float) -> Iterable[tuple[float, int, str]]:
    """When, how large and where."""
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(MOST_NAMES), entries, strict=False):
                if entry.name.endswith(SUFFIXES) and entry.is_file(follow_symlinks=False):
                    known = entry.stat(follow_symlinks=False)
                    if since_s <= known.st_mtime <= until_s and known.st_uid == os.getuid():
                        yield known.st_mtime, known.st_size, entry.path
    except OSError:  # gone, or not ours to read
        return


def _read(path: str, since_s: float) -> MemorySnapshot | None:
    """None for what is no snapshot."""
    file = open_plain_file(path, since_s, MOST_BYTES)
    if file is None:
        return None
    name = Path(path).name.encode("utf-8", "replace").decode()
    with file:
        try:
            return cast(MemorySnapshot | None, read_apart(held_memory, file, READ_WITHIN_S, name))
        except NotInTime:
            return _unread(
                name, f"It could not be read within {READ_WITHIN_S:.0f} s: open it at pytorch.org/memory_viz."
            )
        except OSError as error:
            return _unread(name, f"It could not be read: {error.strerror}.")


def held_memory(file: IO[bytes], name: str) -> MemorySnapshot | None:
    """For the process that reads."""
    return snapshot_of(name, PlainPickle(file).load())


def _unread(name: str, why: str) -> MemorySnapshot:
    return {
        "name": name[:MOST_TEXT],
        "reserved_bytes": 0,
        "allocated_bytes": 0,
        "rows": [],
        "rest_bytes": 0,
        "trouble": why,
    }
