"""The background work on one file: head rows to packs, packs to chunks, chunks to pages, small log blocks to large ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from . import chunks, files, logs, rollups, schema, stacks
from .chunks import PLACE_BITS
from .ingest import FileWriter

PACK_ROWS = 512  # of a stream, which leave head for a pack at the latest after LIVE_S
LIVE_S = 30.0  # head rows stay this long, for the cursors of live pages
IDLE_S = 300.0  # a stream that has been silent for this long is sealed as it is,
IDLE_ROWS = 64  # unless it has fewer rows than this, which one small pack holds well
SWEEP_S = 10.0  # how often old head rows go
REVIEW_S = 30.0  # how often idle streams and small log blocks are looked for
PROFILES_S = 3600.0  # how far back profiles are looked at that could be merged
CHECKPOINT_BYTES = 8 << 20  # of the write-ahead log
READERS_MS = 100  # a commit may wait so long for readers
CHECKPOINT_S = 20.0  # between two at most, once there is something to copy


DONE = object()  # a step is None


class Compactor:
    """Works in steps, each one short transaction; what it computes, it computes without the store's lock."""

    def __init__(self, writer: FileWriter, clock: Callable[[], float] = time.time) -> None:
        self._writer = writer
        self._clock = clock
        self._db = schema.open_again(writer.path)
        self._swept_s = self._reviewed_s = clock()
        self._log_bytes = 0  # of the write-ahead log at the last checkpoint: it stays as long as it once was
        self._checkpointed_s = self._checkpoint_at_s = 0.0
        self._idle: dict[int, tuple[int, float]] = {}  # stream -> its newest pack, and since when that is the newest
        writer.grown |= {series for (series,) in self._db.execute(_UNPAGED, (rollups.CHUNKS * chunks.MIN_ROWS,))}

    def run(self, until_mono_s: float) -> bool:
        """Work until then; True where there is more to do."""
        steps = self._steps()
        for _ in steps:
            if time.monotonic() >= until_mono_s:
                return next(steps, DONE) is not DONE
        return False

    def close(self) -> None:
        self._db.close()

    def settle(self) -> None:
        """Put everything into chunks, whatever its age; for `store compact`."""
        with self._writer.lock:
            streams = self._writer.streams(0, math.inf)
        for stream in streams:
            self._pack(stream)
        for (stream,) in self._db.execute("SELECT DISTINCT stream FROM pack").fetchall():
            self._seal(stream, everything=True)
        for series in list(self._writer.grown):
            self._page(series)
        self._sweep(math.inf)
        for _ in self._group_lines() if self._writer.holds_runs else ():
            pass
        for _ in self._merge_logs() if self._writer.holds_runs else ():
            pass
        while not self._writer.holds_runs and len(list(self._merge_profiles(-math.inf, math.inf))):
            pass

    def _steps(self) -> Iterator[None]:
        if self._checkpoint(
            self._clock()
        ):  # first: where each turn ends before all is done, the log would grow for ever
            yield
        for stream in self._due():
            self._pack(stream)
            yield
            if self._packed_rows(stream) >= chunks.ROWS:
                self._seal(stream)
                yield
        for series in list(self._writer.grown):
            self._page(series)
            yield
        if self._writer.holds_runs:
            yield from self._group_lines()
        now_s = self._clock()
        if now_s - self._swept_s >= SWEEP_S:
            self._swept_s = now_s
            self._sweep(now_s)
            yield
        if now_s - self._reviewed_s >= REVIEW_S:
            self._reviewed_s = now_s
            yield from self._review(now_s)

    def _checkpoint(self, now_s: float) -> bool:
        """Copy the write-ahead log into the file when it has grown, or when by the pace of the last one as much stands in it again."""
        log_bytes = files.wal_bytes(self._writer.path)
        grown = log_bytes - self._log_bytes
        if log_bytes <= CHECKPOINT_BYTES or (grown <= CHECKPOINT_BYTES and now_s < self._checkpoint_at_s):
            return False
        pages_waiting = self._copied("PASSIVE")
        if pages_waiting * schema.PAGE_BYTES > 2 * CHECKPOINT_BYTES:
            self._begin_anew()
        passed_s = max(now_s - self._checkpointed_s, 1.0)
        written_bytes = max(pages_waiting, 1) * schema.PAGE_BYTES
        self._checkpoint_at_s = now_s + min(CHECKPOINT_S, passed_s * CHECKPOINT_BYTES / written_bytes)
        self._log_bytes, self._checkpointed_s = log_bytes, now_s
        return True

    def _copied(self, mode: str) -> int:
        """Pages that stood in the log."""
        return int(self._db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[1])

    def _begin_anew(self) -> None:
        """A log begins anew only where no reader is at work at the next commit. Where one always is, wait a moment for those of now."""
        timeout_ms = self._db.execute("PRAGMA busy_timeout").fetchone()[0]
        self._db.execute(f"PRAGMA busy_timeout = {READERS_MS}")
        try:
            self._copied("RESTART")
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {timeout_ms}")

    def _due(self) -> list[int]:
        old_s = self._clock() - LIVE_S
        with self._writer.lock:
            return self._writer.streams(PACK_ROWS, old_s)

    def _pack(self, stream: int) -> None:
        writer = self._writer
        with writer.packing:
            with writer.lock:
                waiting = writer.waiting(stream)
            if not waiting:
                return
            parts = chunks.partition(waiting)
            with writer.lock:
                with schema.transaction(writer.db) as db:
                    chunks.pack(db, stream, parts, int(waiting[-1].arrival[-1]) >> PLACE_BITS)
                writer.packed(stream, len(waiting), self._clock())

    def _packed_rows(self, stream: int) -> int:
        return int(self._db.execute("SELECT total(rows) FROM pack WHERE stream = ?", (stream,)).fetchone()[0])

    def _seal(self, stream: int, everything: bool = False) -> None:
        writer = self._writer
        with writer.packing:
            parts = chunks.partition(chunks.packed(self._db, stream))
            if not parts:
                return
            sealed, rest = chunks.plan(parts, everything)
            with writer.lock, schema.transaction(writer.db) as db:
                grown = chunks.store(db, stream, sealed, rest)
            writer.grown |= grown

    def _page(self, series: int) -> None:
        writer = self._writer
        with writer.packing:
            while rollups.due(self._db, series):
                row = rollups.plan(self._db, series)
                with writer.lock, schema.transaction(writer.db) as db:
                    rollups.store(db, row)
            writer.grown.discard(series)

    def _sweep(self, now_s: float) -> None:
        """Head rows go when all of their points are packed and no live page can want them."""
        writer = self._writer
        with writer.lock:
            first = writer.first_waiting_seq()
            with schema.transaction(writer.db) as db:
                (last,) = db.execute(
                    "SELECT max(seq) FROM head WHERE seq < ? AND time_s < ?", (first, now_s - LIVE_S)
                ).fetchone()
                if last is not None:
                    db.execute("DELETE FROM head WHERE seq <= ?", (last,))
                    schema.set_meta(db, "live_from", max(last, schema.meta(db, "live_from")))

    def _review(self, now_s: float) -> Iterator[None]:
        for stream in self._silent(now_s):
            self._seal(stream, everything=True)
            yield
        yield from (
            self._merge_logs() if self._writer.holds_runs else self._merge_profiles(now_s - PROFILES_S, now_s - LIVE_S)
        )

    def _silent(self, now_s: float) -> list[int]:
        found = dict(self._db.execute(_PACKS, (IDLE_ROWS,)).fetchall())
        before = self._idle
        self._idle = {
            stream: (pack, before[stream][1] if before.get(stream, (0,))[0] == pack else now_s)
            for stream, pack in found.items()
        }
        return [stream for stream, (_, since_s) in self._idle.items() if now_s - since_s >= IDLE_S]

    def _group_lines(self) -> Iterator[None]:
        """Lines from before version 7 of the schema get their templates; many blocks at once are counted."""
        writer = self._writer
        while (row := logs.ungrouped(self._db)) is not None:
            with writer.lock:
                try:
                    with schema.transaction(writer.db) as db:
                        logs.group(db, row, writer.templates)
                except BaseException:
                    writer.templates.forget()
                    raise
            yield
        while blocks := logs.uncounted(self._db):
            with writer.lock, schema.transaction(writer.db) as db:
                logs.count(db, blocks)
            yield

    def _merge_logs(self) -> Iterator[None]:
        """Only what live pages no longer ask for by commit."""
        upto = schema.meta(self._db, "live_from")
        for run in logs.mergeable(self._db, upto):
            while logs.unmerged(self._db, run, upto):
                block, replaced = logs.merge(self._db, run, upto)
                with self._writer.lock, schema.transaction(self._writer.db) as db:
                    logs.replace(db, block, replaced)
                yield

    def _merge_profiles(self, after_s: float, before_s: float) -> Iterator[None]:
        for chain in stacks.mergeable(self._db, after_s, before_s):
            row = stacks.merged(chain)
            if row is None:
                continue
            with self._writer.lock, schema.transaction(self._writer.db) as db:
                stacks.replace(db, chain, row)
            yield


_UNPAGED = "SELECT id FROM series WHERE sealed - paged >= ?"
_PACKS = "SELECT stream, max(id) FROM pack GROUP BY stream HAVING sum(rows) >= ?"
