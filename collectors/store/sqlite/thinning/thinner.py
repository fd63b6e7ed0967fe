"""Thin what is old in the machine files of a folder, a little at a time.

Each step is one transaction that replaces some rows by coarser ones: a kill between two steps leaves a store of which some is thinned
and some not yet. How far a file is done stands in it (`thinned_s`), so that no step is done twice.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ...limits import Thinning
from .. import files, schema
from ..ingest import FileWriter
from . import points, stacks
from .spans import TimeSpans

FIRST_S = 600.0  # after the start: it has other work
PERIOD_S = 3600.0
EDGE_S = 3600  # up to a whole hour
DONE, PACKED = "thinned_s", "thinned_packed"  # in the table `meta`
SPARE = 1.2  # of a file's size that must be free to write it anew
log = logging.getLogger(__name__)


class Thinner:
    """`run` is called by one thread."""

    def __init__(
        self,
        data_dir: Path,
        thinning: Thinning,
        writer_of: Callable[[str], FileWriter | None],
        *,
        clock: Callable[[], float] = time.time,
        first_s: float = FIRST_S,
    ) -> None:
        """`writer_of` returns the writer of a file that is open for new records."""
        self._dir, self._thinning, self._writer_of, self._clock = data_dir, thinning, writer_of, clock
        self._due_s = time.monotonic() + first_s
        self._steps: Iterator[None] = iter(())
        self._working = False

    def run(self, until_mono_s: float) -> bool:
        """Work until then; True where there is more to do."""
        if not self._working:
            if time.monotonic() < self._due_s:
                return False
            self._due_s = time.monotonic() + PERIOD_S
            self._steps, self._working = self._all(), True
        try:
            for _ in self._steps:
                if time.monotonic() >= until_mono_s:
                    return True
        except BaseException:
            self._working = False  # what is left is done in the next round
            raise
        self._working = False
        return False

    def _all(self) -> Iterator[None]:
        before_s = math.floor((self._clock() - self._thinning.after_s) / EDGE_S) * EDGE_S
        for path in files.machine_files(self._dir):
            if files.week_start(path) < before_s and not files.is_future(path, self._clock()):
                try:
                    yield from self._file(path, float(before_s))
                except ReplacedFile as error:
                    log.info("not thinned further: %s", error)

    def _file(self, path: Path, before_s: float) -> Iterator[None]:
        with contextlib.closing(schema.open_again(path)) as db:
            after_s = float(schema.meta(db, DONE)) or -math.inf
            if after_s < min(before_s, files.week_start(path) + files.WEEK_S + EDGE_S):
                kept = TimeSpans(self._thinning.kept(files.week_start(path), before_s))
                writer = self._writer_of(path.name)
                for found in points.axes(db, after_s, before_s, kept, self._thinning):
                    if (row := points.plan(db, found, self._thinning)) is not None:
                        with self._writing(path, writer, db) as target:
                            points.replace(target, row)
                    yield
                for part in stacks.slices(db, after_s, before_s):
                    old, new = stacks.plan(db, part, kept)
                    if old:
                        with self._writing(path, writer, db) as target:
                            stacks.replace(target, old, new)
                    yield
                with self._writing(path, writer, db) as target:
                    schema.set_meta(target, DONE, int(before_s))
            if files.week_start(path) + files.WEEK_S + EDGE_S <= before_s:
                self._pack(path, db)
                yield

    @contextlib.contextmanager
    def _writing(self, path: Path, writer: FileWriter | None, db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        """A transaction: that of the file's writer, which other threads use as well, where there is one."""
        if writer is None:
            with schema.transaction(db):
                yield db
            return
        with writer.lock:
            if self._writer_of(path.name) is not writer:
                raise ReplacedFile(f"{path.name} was closed meanwhile")
            with schema.transaction(writer.db):
                yield writer.db

    def _pack(self, path: Path, db: sqlite3.Connection) -> None:
        """Give the room back, once all of the file is thinned."""
        if schema.meta(db, PACKED):
            return
        free = os.statvfs(path.parent)
        if free.f_bavail * free.f_frsize < SPARE * files.size_bytes(path):
            log.info("%s is thinned, and rewritten once there is room", path.name)
            return
        try:
            db.execute("VACUUM")
            schema.set_meta(db, PACKED, 1)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (
            sqlite3.OperationalError
        ) as error:  # a reader, or too little room where SQLite writes: tried again in an hour
            log.info("%s is thinned, and not rewritten yet: %s", path.name, error)


class ReplacedFile(Exception):
    """Retention removed the file while it was thinned."""
