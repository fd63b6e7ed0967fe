"""Whose turn it is: files that are being followed before those that are new, and these before what was there already and what has much to read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..records import Record
from .followed import BATCH_BYTES

TURN_BYTES = 2 * BATCH_BYTES  # read before what was read is stored,
TURN_RECORDS = 5_000  # and no more than about this many records,
TURN_S = 0.15  # and for no longer than this


class FileTurns:
    """Each file waits once, in the order in which it came. What is read in one turn of the tail is bounded."""

    def __init__(self) -> None:
        self._live: dict[Path, None] = {}  # read to its end before: what is new in it is small, and a page may show it
        self._growing: dict[
            Path, None
        ] = {}  # ... and now for the first time: of 20,000 files that come at once, these are most
        self._new: dict[Path, None] = {}
        self._old: dict[Path, None] = {}  # were there before the folder was followed
        self._catching_up: dict[
            Path, None
        ] = {}  # of those that are written now, the ones that had more than one batch to read
        self._behind: dict[Path, None] = {}  # ... of those that were there before
        self._followed: set[Path] = set()  # were live before
        self._is_written_now = False  # whether what was handed out last is
        self._is_olds_turn = False
        self._bytes, self._until_s = 0, 0.0

    def __bool__(self) -> bool:
        return any(self._queues())

    def begin(self) -> None:
        """A turn of the tail."""
        self._bytes, self._until_s, self._is_written_now = 0, time.monotonic() + TURN_S, False

    def count(self, bytes_read: int) -> None:
        self._bytes += bytes_read

    def are_over(self, records: Sequence[Record]) -> bool:
        """Whether what was read in this turn, `records`, is to be stored before more is."""
        return len(records) >= TURN_RECORDS or self._bytes >= TURN_BYTES or time.monotonic() > self._until_s

    def live(self, path: Path) -> None:
        if path in self._behind:
            del self._behind[path]
            self._catching_up[path] = None
        elif path not in self._catching_up:
            (self._live if path in self._followed else self._growing)[path] = None

    def new(self, paths: Iterable[Path]) -> None:
        self._new |= dict.fromkeys(path for path in paths if path not in self._behind and path not in self._catching_up)

    def old(self, paths: Iterable[Path]) -> None:
        self._old |= dict.fromkeys(paths)

    def behind(self, path: Path) -> None:
        """There is more of what was handed out last, or of a file that is read with it."""
        (self._catching_up if self._is_written_now else self._behind)[path] = None

    def waits(self, path: Path) -> bool:
        """From any thread."""
        return any(path in files for files in self._queues())

    def next_live(self) -> Path | None:
        self._is_written_now = True
        path = _first(self._live) or _first(self._growing)
        if path is not None:
            self._followed.add(path)
        return path

    def next_other(self) -> Path | None:
        """What is new, and then by turns what catches up and what was there before: neither waits for all of the other."""
        self._is_written_now = True
        if path := _first(self._new):
            return path
        self._is_olds_turn = not self._is_olds_turn
        if not self._is_olds_turn and (path := _first(self._catching_up)):
            return path
        if path := _first(self._old) or _first(self._behind):
            self._is_written_now = False
            return path
        return _first(self._catching_up)

    def _queues(self) -> tuple[dict[Path, None], ...]:
        return self._live, self._growing, self._new, self._old, self._catching_up, self._behind


def _first(paths: dict[Path, None]) -> Path | None:
    path = next(iter(paths), None)
    if path is not None:
        del paths[path]
    return path
