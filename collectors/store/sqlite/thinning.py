"""Thins old samples of the machine in small steps."""

from __future__ import annotations

import bisect
import contextlib
import logging
import math
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ...records import WITHOUT_A_GAP_S
from ..store import Thinning
from . import chunks as chunks_module
from . import files, schema, stacks
from .codec import decoded
from .ingest import FileWriter
from .stacks import NS, UNKNOWN, ProcessSpans, ProfileRow

# Stretches of time that stay whole.


class TimeSpans:
    """Looked up in the time of a bisection."""

    def __init__(self, windows: Iterable[tuple[float, float]]) -> None:
        joined: list[list[float]] = []
        for start_s, end_s in sorted(window for window in windows if window[0] <= window[1]):  # false for NaN
            if joined and start_s <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end_s)
            else:
                joined.append([start_s, end_s])
        self._starts = [start_s for start_s, _ in joined]
        self._ends = [end_s for _, end_s in joined]

    def touches(self, start_s: float, end_s: float) -> bool:
        """Whether any of them has a moment of this stretch, its ends included."""
        place = bisect.bisect_left(self._ends, start_s)
        return place < len(self._starts) and self._starts[place] <= end_s


# Thin the chunks of one machine file: all that share an axis at once, in one transaction.

_STREAMS = "SELECT id FROM stream"
_CHUNKS = """SELECT chunk.axis, chunk.id, series.name, chunk.units, chunk.first_time_s, chunk.last_time_s, chunk.first_step
  FROM series JOIN chunk ON chunk.series = series.id
  WHERE series.stream = ? AND chunk.last_time_s >= ? AND chunk.last_time_s < ?"""


class OldChunk(NamedTuple):
    axis: int
    id: int
    name: str
    units: int
    first_time_s: float
    last_time_s: float
    first_step: int | None


class ThinnedAxis(NamedTuple):
    """What replaces the data of some chunks. `alone`: no other chunk uses their old axis."""

    old: int
    axis: bytes
    units: int
    chunks: list[tuple[bytes, int]]  # data, and id
    alone: bool


def axes(
    db: sqlite3.Connection, after_s: float, before_s: float, kept: TimeSpans, thinning: Thinning
) -> Iterator[list[OldChunk]]:
    """The chunks of each axis whose points end in this range of time, and touch no kept window."""
    for (stream,) in db.execute(_STREAMS).fetchall():
        shared: dict[int, list[OldChunk]] = defaultdict(list)
        for row in map(OldChunk._make, db.execute(_CHUNKS, (stream, after_s, before_s)).fetchall()):
            shared[row.axis].append(row)
        for found in shared.values():
            first = found[0]
            known = first.units or first.first_step is not None or kept.touches(first.first_time_s, first.last_time_s)
            if not known and any(row.name not in thinning.whole for row in found):
                yield found


def plan_points(db: sqlite3.Connection, found: Sequence[OldChunk], thinning: Thinning) -> ThinnedAxis | None:
    """None where nothing is gained, or the axis is damaged."""
    wanted = {row.id: row for row in found if row.name not in thinning.whole}
    (coded,) = db.execute("SELECT data FROM axis WHERE id = ?", (found[0].axis,)).fetchone() or (b"",)
    place = decoded("axis", found[0].axis, chunks_module.read_axis, coded)
    if not wanted or place is None or not np.isfinite(place[0]).all():
        return None
    edges = chunks_module.edges(place[0])
    if edges is None:
        return None
    rows = db.execute(
        "SELECT id, data FROM chunk WHERE id IN (SELECT value FROM json_each(?))", (orjson.dumps([*wanted]).decode(),)
    ).fetchall()
    thinned = []
    for chunk, data in rows:
        values = decoded("chunk", chunk, chunks_module.read_values, data)
        if values is not None and len(values) == len(place[0]):  # else it is damaged, and stays as it is
            thinned.append(
                (chunks_module.encode_cells(values, edges, counter=wanted[chunk].name in thinning.counters), chunk)
            )
    if not thinned:
        return None
    return ThinnedAxis(found[0].axis, edges.axis, len(edges.rows), thinned, alone=len(thinned) == len(found))


def replace_points(db: sqlite3.Connection, row: ThinnedAxis) -> None:
    """Within the caller's transaction."""
    axis = db.execute("INSERT INTO axis VALUES (NULL, ?)", (row.axis,)).lastrowid
    db.executemany(
        "UPDATE chunk SET axis = ?, units = ?, data = ? WHERE id = ?",
        [(axis, row.units, *about) for about in row.chunks],
    )
    if row.alone:
        db.execute("DELETE FROM axis WHERE id = ?", (row.old,))


# Thin the profiles of one machine file: rows of a minute, in which each span is the sum of its stack.

MINUTE_S = 60
MINUTE_NS = MINUTE_S * NS
SLICE_S = 600  # of a run's time, in one transaction

_RUNS = "SELECT DISTINCT run FROM profile"
_BOUNDS = "SELECT min(end_s), max(end_s) FROM profile WHERE run = ? AND end_s >= ? AND end_s < ?"
_ROWS = f"""SELECT {stacks.COLUMNS} FROM profile WHERE run = ? AND end_s >= ? AND end_s < ? AND thinned = 0
  ORDER BY rank, pid, host, start_s"""


class StackSlice(NamedTuple):
    """A run's rows that end in this range."""

    run: str
    after_s: float
    before_s: float


class MinutePiece(NamedTuple):
    """What of a row lies in one minute."""

    row: ProfileRow
    minute: int
    start_s: float
    end_s: float
    samples: int
    errors: int
    spans: ProcessSpans


def slices(db: sqlite3.Connection, after_s: float, before_s: float) -> Iterator[StackSlice]:
    for (run,) in db.execute(_RUNS).fetchall():
        first_s, last_s = db.execute(_BOUNDS, (run, after_s, before_s)).fetchone()
        if first_s is not None:
            for number in range(math.floor(first_s / SLICE_S), math.floor(last_s / SLICE_S) + 1):
                yield StackSlice(run, max(after_s, number * SLICE_S), min(before_s, (number + 1) * SLICE_S))


def plan_stacks(
    db: sqlite3.Connection, part: StackSlice, kept: TimeSpans
) -> tuple[list[ProfileRow], list[tuple[object, ...]]]:
    """Rows, and those that replace them. What is damaged stays, as does what touches a kept window."""
    old: list[ProfileRow] = []
    pieces: list[MinutePiece] = []
    for row in map(ProfileRow._make, db.execute(_ROWS, part).fetchall()):
        if not kept.touches(row.start_s, row.end_s) and (spans := row.read()) is not None:
            old.append(row)
            pieces += _pieces(row, spans)
    chains: list[list[MinutePiece]] = []
    for piece in pieces:
        if chains and _continues(chains[-1][-1], piece):
            chains[-1].append(piece)
        else:
            chains.append([piece])
    return old, [_summed(chain) for chain in chains]


def _pieces(row: ProfileRow, spans: ProcessSpans) -> Iterator[MinutePiece]:
    """Cut at whole minutes; what of its spans lies before or behind the row stays with its first or last piece."""
    first, last = (
        math.floor(row.start_s / MINUTE_S),
        max(math.floor(row.start_s / MINUTE_S), math.ceil(row.end_s / MINUTE_S) - 1),
    )
    whole_s = row.end_s - row.start_s
    given = 0
    for minute in range(first, last + 1):
        start_s = row.start_s if minute == first else float(minute * MINUTE_S)
        end_s = row.end_s if minute == last else float((minute + 1) * MINUTE_S)
        upto = row.samples if minute == last else round(row.samples * (end_s - row.start_s) / whole_s)
        lo = None if minute == first else minute * MINUTE_NS
        hi = None if minute == last else (minute + 1) * MINUTE_NS
        yield MinutePiece(
            row, minute, start_s, end_s, upto - given, row.errors if minute == first else 0, _cut(spans, lo, hi)
        )
        given = upto


def _cut(spans: ProcessSpans, lo: int | None, hi: int | None) -> ProcessSpans:
    """CPU time is cut in proportion; what is rounded away goes to the later part, so that the parts add up."""
    if lo is None and hi is None:
        return spans
    begin, end = spans.start_ns, spans.start_ns + spans.duration_ns
    start = begin if lo is None else np.clip(lo, begin, end)
    stop = end if hi is None else np.clip(hi, begin, end)
    known = spans.cpu_ns != UNKNOWN
    cpu = np.where(known, _share_of(spans, stop - begin) - _share_of(spans, start - begin), UNKNOWN)
    keep = stop > start
    return ProcessSpans(
        *(column[keep] for column in spans._replace(start_ns=start, duration_ns=stop - start, cpu_ns=cpu))
    )


def _share_of(spans: ProcessSpans, upto_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """In whole microseconds, as they are stored."""
    part = spans.cpu_ns / stacks.US * (upto_ns / np.maximum(spans.duration_ns, 1))
    shares: NDArray[np.int64] = np.floor(part + 1e-6).astype(np.int64) * stacks.US
    return np.where(upto_ns >= spans.duration_ns, spans.cpu_ns, shares)


def _continues(before: MinutePiece, piece: MinutePiece) -> bool:
    same = before.row[1:8] == piece.row[1:8] and before.minute == piece.minute
    return same and abs(piece.start_s - before.end_s) <= WITHOUT_A_GAP_S


def _summed(chain: Sequence[MinutePiece]) -> tuple[object, ...]:
    """The row of a minute: of each thread and stack one span, in the order in which they came first, one behind the other."""
    spans = ProcessSpans(*(np.concatenate(column) for column in zip(*(piece.spans for piece in chain), strict=True)))
    first, last = chain[0], chain[-1]
    order = np.lexsort((spans.start_ns, spans.tid))
    spans = ProcessSpans(*(column[order] for column in spans))
    key = np.stack(
        [spans.tid, spans.stack, spans.gil, spans.resolved, (spans.cpu_ns == UNKNOWN).astype(np.int64)], axis=1
    )
    _, came, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    duration, cpu = np.zeros(len(came), np.int64), np.zeros(len(came), np.int64)
    np.add.at(duration, group, spans.duration_ns)
    np.add.at(cpu, group, np.where(spans.cpu_ns == UNKNOWN, 0, spans.cpu_ns))
    summed = ProcessSpans(*(column[came] for column in spans))
    summed = summed._replace(duration_ns=duration, cpu_ns=np.where(summed.cpu_ns == UNKNOWN, UNKNOWN, cpu))
    in_order = np.lexsort((came, summed.tid))
    summed = ProcessSpans(*(column[in_order] for column in summed))
    laid = stacks.laid_out(summed, 1.0, round(first.start_s * 1e6) * stacks.US)
    threads = orjson.dumps(
        {tid: name for piece in chain for tid, name in orjson.loads(piece.row.threads).items()}
    ).decode()
    counts = (sum(piece.samples for piece in chain), sum(piece.errors for piece in chain), threads, len(laid.tid))
    return (*first.row[1:8], first.start_s, last.end_s, *counts, stacks.encode(laid), 1)


def replace_stacks(db: sqlite3.Connection, old: Sequence[ProfileRow], new: Sequence[tuple[object, ...]]) -> None:
    """Within the caller's transaction."""
    stacks.replace(db, old, *new)


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
                for found in axes(db, after_s, before_s, kept, self._thinning):
                    if (row := plan_points(db, found, self._thinning)) is not None:
                        with self._writing(path, writer, db) as target:
                            replace_points(target, row)
                    yield
                for part in slices(db, after_s, before_s):
                    old, new = plan_stacks(db, part, kept)
                    if old:
                        with self._writing(path, writer, db) as target:
                            replace_stacks(target, old, new)
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
