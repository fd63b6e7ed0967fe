"""Deleted runs as the page shows them: from their tombstones, with the line of a shell that removes their files."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

from access.files import SETTLED_NS
from collectors.logs.tombstones import FOLDER, NOTHING_KNOWN, OLD_FOLDER, LastKnown, Tombstone, read_all

from .run_notes import RunNotes, about_run

MAX_LINE = 100_000  # characters: a shell takes 128 kB of one argument, and more of all


@dataclass(frozen=True)
class DeletedRun:
    """`remove` is the line that removes its files; "" where they are so many that it would be too long."""

    run: str
    deleted_s: float
    files: int
    size_bytes: int
    remove: str
    about: RunNotes
    known: LastKnown = NOTHING_KNOWN
    purge_s: float = 0.0  # until then it can be restored as it was, Unix seconds; 0: its data has left the store


class DeletedRuns:
    """Those of a data folder, read again when one has come or gone. May be asked from many threads."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._kept: tuple[int, list[Tombstone]] = (0, [])

    def all(self) -> list[DeletedRun]:
        """The newest first, with what is said about them now."""
        found = [deleted_run(self._data_dir, tombstone) for tombstone in self._tombstones()]
        return sorted(found, key=lambda row: row.deleted_s, reverse=True)

    def one(self, run: str) -> DeletedRun | None:
        return next(
            (deleted_run(self._data_dir, tombstone) for tombstone in self._tombstones() if tombstone.run == run), None
        )

    def pending(self) -> frozenset[str]:
        """Those whose data has not left the store."""
        return frozenset(tombstone.run for tombstone in self._tombstones() if tombstone.purge_s)

    def _tombstones(self) -> list[Tombstone]:
        changed_ns = max(_changed_ns(self._data_dir / folder) for folder in (FOLDER, OLD_FOLDER))
        if self._kept[0] != changed_ns or time_ns() - changed_ns < SETTLED_NS:
            self._kept = changed_ns, read_all(self._data_dir)
        return self._kept[1]


def _changed_ns(folder: Path) -> int:
    """0: there is no such folder."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def deleted_run(data_dir: Path, found: Tombstone) -> DeletedRun:
    size_bytes, about = sum(file.size for file in found.files), about_run(data_dir, found.run)
    known = len(found.files), size_bytes, remove_line(found), about, found.known, found.purge_s
    return DeletedRun(found.run, found.deleted_s, *known)


def remove_line(tombstone: Tombstone) -> str:
    """`rm -r -- /logs/a`; where other runs lie in its folder `rm -- /logs/a.jsonl /logs/a.log`. It can be pasted whatever the names are."""
    if tombstone.folder:
        return f"rm -r -- {quoted(tombstone.folder)}"
    if not tombstone.files:
        return ""
    line = f"rm -- {' '.join(quoted(file.path) for file in tombstone.files)}"
    return line if len(line) <= MAX_LINE else ""


def quoted(path: str) -> str:
    """As one word for bash, zsh and ksh, in printable characters of UTF-8 only."""
    try:
        printable = path.isprintable() and path.encode() is not None
    except UnicodeEncodeError:
        printable = False
    if printable:
        return shlex.quote(path)
    letters = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in os.fsencode(path))
    return f"$'{''.join(letters)}'"
