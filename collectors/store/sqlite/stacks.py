"""Profiles: a row per window and process, with stacks and frames interned by the hash of their contents."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ...records import ONE_AFTER_THE_OTHER_S, WITHOUT_A_GAP_S, Frame, StackRecording
from ..store import MAX_SPANS, Process, ResidentMemory, StackColumns, TooMuch, check, holding
from . import codec
from .codec import decoded

UNKNOWN = -1  # of gil and cpu_ns
NS = 1_000_000_000
US = 1_000  # in nanoseconds
MAX_S = 9e9  # Unix seconds, in the year 2255
NOWHERE, DAMAGED = -1, Frame("(damaged)", "", 0)
REMEMBERED, REMEMBERED_FRAMES = 200_000, 2_000_000  # stacks, and frames on them (40 bytes each), before starting afresh
MERGED_S = 60.0  # length of a merged window: 3 hours of a process are then read as 180 rows
MERGED_AT_ONCE = 500  # rows
LONGEST_S = (
    6 * 3600.0
)  # no window is longer: the sampler's take seconds. So those that touch a time end soon after it, in the index's order
COLUMNS = "id, run, rank, pid, role, host, sampler, hz, start_s, end_s, samples, errors, threads, spans, data, thinned"
_WITHOUT_DATA = COLUMNS.replace(" data,", " x'',")
_IN = f"FROM profile WHERE run = :run AND end_s > :lo AND end_s < :hi + {LONGEST_S} AND start_s < :hi"
_TOUCHING = f"SELECT {COLUMNS} {_IN} ORDER BY start_s"
_NONE = np.empty(0, np.int64)
_INSERT = f"INSERT INTO profile VALUES (NULL, {', '.join('?' * 15)})"
log = logging.getLogger(__name__)


class ProcessSpans(NamedTuple):
    """The spans of one process, one entry per span."""

    start_ns: NDArray[np.int64]  # wall clock
    duration_ns: NDArray[np.int64]
    tid: NDArray[np.int64]
    stack: NDArray[np.int64]  # hash
    gil: NDArray[np.int64]
    cpu_ns: NDArray[np.int64]
    resolved: NDArray[np.int64]


class ResidentSizes(NamedTuple):
    """The resident memory of one process, from each time on."""

    time_ns: NDArray[np.int64]  # wall clock
    kib: NDArray[np.int64]


_NO_SIZES = ResidentSizes(_NONE, _NONE)


class ProfileRow(NamedTuple):
    """A row of the table `profile`."""

    id: int
    run: str
    rank: int
    pid: int
    role: str
    host: str
    sampler: str
    hz: float
    start_s: float
    end_s: float
    samples: int
    errors: int
    threads: str
    spans: int
    data: bytes
    thinned: int  # 1: each span is the sum of its stack over the row's minute, in no order

    def read(self) -> ProcessSpans | None:
        return decoded("profile", self.id, decode, self.data)

    def within(self, lo: float, hi: float) -> ProcessSpans | None:
        """Its spans cut to the window; None where they are damaged."""
        spans = self.read()
        if spans is None:
            return None
        if self.thinned:
            return laid_out(spans, self.share(lo, hi), _ns(max(self.start_s, lo)))
        start = np.maximum(spans.start_ns, _ns(lo))
        end = np.minimum(spans.start_ns + spans.duration_ns, _ns(hi))
        keep = end > start
        whole = spans._replace(start_ns=start, duration_ns=end - start)
        return ProcessSpans(*(column[keep] for column in whole))

    def share(self, lo: float, hi: float) -> float:
        """How much of its time lies in the window."""
        inside_s = min(self.end_s, hi) - max(self.start_s, lo)
        return min(1.0, inside_s / (self.end_s - self.start_s)) if self.end_s > self.start_s else 1.0

    def process(self) -> Process:
        return Process(self.run, self.rank, self.pid, self.role)


class StackWriter:
    """Remembers which stacks one file already holds."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[Frame, ...], int] = {}
        self._frames: dict[Frame, int] = {}

    def forget(self) -> None:
        self._stacks.clear()
        self._frames.clear()

    def write(self, db: sqlite3.Connection, profiles: Iterable[StackRecording]) -> None:
        """Within the caller's transaction; `forget` where that is rolled back."""
        if len(self._stacks) > REMEMBERED:
            self.forget()
        for profile in profiles:
            stacks = [self._stack(db, sample.stack) for sample in profile.samples]
            end_s = profile.start_s + (profile.end_mono_ns - profile.start_mono_ns) / NS
            about = (profile.run, profile.rank, profile.pid, profile.role, profile.host, profile.sampler, profile.hz)
            threads = orjson.dumps({str(tid): name for tid, name in profile.threads.items()}).decode()
            data = encode(_spans(profile, stacks), _sizes(profile))
            counts = (profile.count, profile.errors, threads, len(stacks))
            db.execute(_INSERT, (*about, profile.start_s, end_s, *counts, data, 0))

    def _stack(self, db: sqlite3.Connection, stack: tuple[Frame, ...]) -> int:
        """The stack's hash; it stands in the file afterwards."""
        known = self._stacks.get(stack)
        if known is None:
            frames = codec.VERSION + np.array([self._frame(db, frame) for frame in stack], "<i8").tobytes()
            known = self._stacks[stack] = content_hash(frames)
            db.execute("INSERT OR IGNORE INTO stack VALUES (?, ?)", (known, frames))
        return known

    def _frame(self, db: sqlite3.Connection, frame: Frame) -> int:
        known = self._frames.get(frame)
        if known is None:
            known = self._frames[frame] = frame_hash(frame)
            db.execute("INSERT OR IGNORE INTO frame VALUES (?, ?, ?, ?)", (known, *frame))
        return known


def mergeable(db: sqlite3.Connection, after_s: float, before_s: float) -> list[list[ProfileRow]]:
    """Windows of one process that touch each other and are small enough to become one, about `MERGED_AT_ONCE` in all."""
    small = f"SELECT {_WITHOUT_DATA} FROM profile WHERE end_s BETWEEN ? AND ? AND end_s - start_s < ? AND thinned = 0 ORDER BY run, rank, pid, host, start_s"
    chains: list[list[ProfileRow]] = []
    for row in map(ProfileRow._make, db.execute(small, (after_s, before_s, MERGED_S / 2))):
        if chains and _continues(chains[-1], row):
            chains[-1].append(row)
        else:
            if sum(map(len, chains)) >= MERGED_AT_ONCE:
                break
            if chains and len(chains[-1]) == 1:  # alone: any number of these must not keep others waiting
                chains.pop()
            chains.append([row])
    data = dict(_rows(db, "profile", [row.id for chain in chains for row in chain], {}, "id, data"))
    return [[row._replace(data=data[row.id]) for row in chain] for chain in chains if len(chain) > 1]


def merged(chain: Sequence[ProfileRow]) -> tuple[object, ...] | None:
    """The row that replaces a chain of them; None where one of these is damaged."""
    parts = [spans for row in chain if (spans := row.read()) is not None]
    if len(parts) < len(chain):
        return None
    spans = ProcessSpans._make(np.concatenate(column) for column in zip(*parts, strict=True))
    sizes = ResidentSizes._make(
        np.concatenate(column) for column in zip(*(decode_sizes(row.data) for row in chain), strict=True)
    )
    first, last = chain[0], chain[-1]
    threads = orjson.dumps({tid: name for row in chain for tid, name in orjson.loads(row.threads).items()}).decode()
    counts = (sum(row.samples for row in chain), sum(row.errors for row in chain), threads, len(spans.tid))
    return (*first[1:8], first.start_s, last.end_s, *counts, encode(spans, sizes), 0)


def replace(db: sqlite3.Connection, chain: Sequence[ProfileRow], *rows: tuple[object, ...]) -> None:
    db.executemany("DELETE FROM profile WHERE id = ?", [(row.id,) for row in chain])
    db.executemany(_INSERT, rows)


def laid_out(spans: ProcessSpans, share: float, from_ns: int) -> ProcessSpans:
    """Shrinks the sums of a minute to a share of it and lays the spans of each thread end to end, from `from_ns` on. The spans of a thread are adjacent."""
    duration = np.rint(spans.duration_ns * share).astype(np.int64)
    known = np.where(spans.cpu_ns == UNKNOWN, UNKNOWN, np.rint(spans.cpu_ns * share)).astype(np.int64)
    keep = duration > 0
    cut = ProcessSpans(*(column[keep] for column in spans._replace(duration_ns=duration, cpu_ns=known)))
    before = np.cumsum(cut.duration_ns) - cut.duration_ns
    first = np.flatnonzero(np.append(True, cut.tid[1:] != cut.tid[:-1])[: len(cut.tid)])
    base = np.repeat(before[first], np.diff(np.append(first, len(before))))
    return cut._replace(start_ns=from_ns + before - base)


def _continues(chain: Sequence[ProfileRow], row: ProfileRow) -> bool:
    first, last = chain[0], chain[-1]
    touches = abs(row.start_s - last.end_s) <= WITHOUT_A_GAP_S
    return touches and row[1:8] == last[1:8] and row.end_s - first.start_s <= MERGED_S


def encode(spans: ProcessSpans, sizes: ResidentSizes = _NO_SIZES) -> bytes:
    """In whole microseconds. A thread's spans stand together, each with the gap to the next one's start instead of its length: mostly 0."""
    order = np.lexsort((spans.start_ns, spans.tid))
    spans = ProcessSpans(*(column[order] for column in spans))
    start = spans.start_ns // US
    gap = _next(start) - (spans.start_ns + spans.duration_ns) // US
    cpu = np.where(spans.cpu_ns == UNKNOWN, UNKNOWN, spans.cpu_ns // US)
    stacks, index = np.unique(spans.stack, return_inverse=True)
    columns = [start, gap, spans.tid, index.astype(np.int64), spans.gil, cpu, spans.resolved]
    memory = [sizes.time_ns // US, sizes.kib] if len(sizes.kib) else []
    return codec.encode([*columns, stacks, np.array([US]), *memory])


def decode(data: bytes) -> ProcessSpans:
    columns = [column.view(np.int64) for column in codec.decode(data)]
    spans, stacks = ProcessSpans(*columns[:7]), columns[7]
    if len(columns) > 8:  # else of a store whose spans had lengths, in nanoseconds
        start, gap, cpu = spans.start_ns, spans.duration_ns, spans.cpu_ns
        duration_ns = (_next(start) - gap - start) * US
        spans = spans._replace(
            start_ns=start * US, duration_ns=duration_ns, cpu_ns=np.where(cpu == UNKNOWN, UNKNOWN, cpu * US)
        )
    return spans._replace(stack=stacks[spans.stack])


def decode_sizes(data: bytes) -> ResidentSizes:
    """Empty where the sampler did not know them, or what is stored is older than they are."""
    columns = [column.view(np.int64) for column in codec.decode(data)[9:11]]
    return ResidentSizes(columns[0] * US, columns[1]) if columns else _NO_SIZES


def _next(start: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(start[1:], start[-1:])


def counted(db: sqlite3.Connection, lo: float, hi: float, run: str) -> list[tuple[float, float, int]]:
    """From when to when each row of a window reaches, and how many spans it has, without reading them."""
    return db.execute(f"SELECT start_s, end_s, spans {_IN}", {"run": run, "lo": lo, "hi": hi}).fetchall()


def resident(files: Sequence[sqlite3.Connection], lo: float, hi: float, run: str) -> dict[Process, ResidentMemory]:
    """The sizes of each process in a window, from all files of the machine."""
    found: dict[Process, list[ResidentSizes]] = {}
    for db in files:
        for row in map(ProfileRow._make, db.execute(_TOUCHING, {"run": run, "lo": lo, "hi": hi})):
            check()
            sizes = decoded("profile", row.id, decode_sizes, row.data)
            if sizes is not None and len(sizes.kib):
                found.setdefault(row.process(), []).append(sizes)
    return {process: _resident(parts, lo, hi) for process, parts in found.items()}


def _resident(parts: Sequence[ResidentSizes], lo: float, hi: float) -> ResidentMemory:
    time_ns, kib = (np.concatenate(column) for column in zip(*parts, strict=True))
    inside = (time_ns >= _ns(lo)) & (time_ns < _ns(hi))
    order = np.argsort(time_ns[inside], kind="stable")
    return ResidentMemory(time_ns[inside][order] / NS, kib[inside][order] * 1024.0)


def profiled_from(db: sqlite3.Connection, run: str) -> float | None:
    first = f"SELECT min(end_s) + {LONGEST_S} FROM profile WHERE run = :run"
    earliest = f"SELECT min(start_s) FROM profile WHERE run = :run AND end_s <= ({first})"
    start_s: float | None = db.execute(earliest, {"run": run}).fetchone()[0]
    return start_s


def profiled_until(db: sqlite3.Connection, run: str) -> float | None:
    newest_s: float | None = db.execute("SELECT max(end_s) FROM profile WHERE run = ?", (run,)).fetchone()[0]
    if newest_s is None:
        return None
    lately = "SELECT max(end_s) AS end_s FROM profile WHERE run = ? AND end_s > ? GROUP BY host, pid"
    until_s: float = db.execute(
        f"SELECT min(end_s) FROM ({lately})", (run, newest_s - ONE_AFTER_THE_OTHER_S)
    ).fetchone()[0]
    return until_s


class StackReader:
    """Remembers the stacks it has read: a hash has the same meaning in every file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: dict[int, Frame] = {}
        self._stacks: dict[int, tuple[int, ...]] = {}
        self._remembered_frames = 0  # of all stacks

    def read(self, files: Sequence[sqlite3.Connection], lo: float, hi: float, run: str) -> StackColumns:
        """The run's spans that touch the window, cut to it, from all files of the machine."""
        covered: list[tuple[float, float]] = []
        found: list[tuple[ProfileRow, ProcessSpans]] = []
        if sum(spans for db in files for _, _, spans in counted(db, lo, hi, run)) > MAX_SPANS:
            raise TooMuch(f"the window holds more than {MAX_SPANS:,} looks at stacks; choose a shorter one")
        with holding(self._lock):
            self._trim()
            for db in files:
                mine: list[tuple[ProfileRow, ProcessSpans]] = []
                for row in map(ProfileRow._make, db.execute(_TOUCHING, {"run": run, "lo": lo, "hi": hi})):
                    check()
                    covered.append((max(row.start_s, lo), min(row.end_s, hi)))
                    if (spans := row.within(lo, hi)) is not None:
                        mine.append((row._replace(data=b""), spans))
                self._load(db, [spans.stack for _, spans in mine])
                found += mine
            samples = round(sum(row.samples * row.share(lo, hi) for row, _ in found))
            return self._columns(found, samples, _union(covered))

    def _trim(self) -> None:
        if len(self._stacks) > REMEMBERED or self._remembered_frames > REMEMBERED_FRAMES:
            self._stacks.clear()
            self._frames.clear()
            self._remembered_frames = 0

    def _load(self, db: sqlite3.Connection, columns: Sequence[NDArray[np.int64]]) -> None:
        seen = np.unique(np.concatenate([_NONE, *columns])).tolist()
        stacks = {stack: _frames(stack, data) for stack, data in _rows(db, "stack", seen, self._stacks)}
        frames = {frame for stack in stacks.values() for frame in stack}
        self._frames |= {frame: Frame(*about) for frame, *about in _rows(db, "frame", frames, self._frames)}
        self._stacks |= stacks
        self._remembered_frames += sum(map(len, stacks.values()))

    def _columns(
        self, found: list[tuple[ProfileRow, ProcessSpans]], samples: int, covered: list[tuple[float, float]]
    ) -> StackColumns:
        processes: dict[Process, int] = {}
        threads: dict[tuple[int, int], str] = {}
        for row, _ in found:
            processes.setdefault(row.process(), len(processes))
            threads |= {(row.pid, int(tid)): name for tid, name in orjson.loads(row.threads).items()}
        spans = ProcessSpans(
            *(np.concatenate([_NONE, *(spans[i] for _, spans in found)]) for i in range(len(ProcessSpans._fields)))
        )
        process = np.repeat(
            [processes[row.process()] for row, _ in found], [len(spans.tid) for _, spans in found]
        ).astype(np.int32)
        hashes, index = np.unique(spans.stack, return_inverse=True)
        frames, stacks = self._tables(hashes.tolist())
        order = np.argsort(spans.start_ns, kind="stable")
        return StackColumns(
            frames,
            stacks,
            list(processes),
            threads,
            time_s=spans.start_ns[order] / NS,
            duration_s=spans.duration_ns[order] / NS,
            process=process[order],
            tid=spans.tid[order],
            stack=index[order].astype(np.int32),
            resolved=spans.resolved[order] == 1,
            gil=spans.gil[order].astype(np.int8),
            cpu_s=np.where(spans.cpu_ns == UNKNOWN, np.nan, spans.cpu_ns / NS)[order],
            samples=samples,
            hz=max((row.hz for row, _ in found), default=0.0),
            covered=covered,
        )

    def _tables(self, hashes: list[int]) -> tuple[list[Frame], list[tuple[int, ...]]]:
        """The frames, and the stacks as places in that list."""
        places: dict[int, int] = {}
        stacks = [tuple(places.setdefault(frame, len(places)) for frame in self._stacks[stack]) for stack in hashes]
        return [self._frames.get(frame, DAMAGED) for frame in places], stacks


def _frames(stack: int, data: bytes) -> tuple[int, ...]:
    """From the root to the leaf; one that is nowhere, for a damaged stack."""
    if content_hash(data) == stack:
        return tuple(np.frombuffer(data, "<i8", offset=len(data) % 8).tolist())  # the oldest have no version byte
    log.error("stack %d is left out: damaged", stack)
    return (NOWHERE,)


def _spans(profile: StackRecording, stacks: list[int]) -> ProcessSpans:
    wall_ns = round(profile.start_s * NS) - profile.start_mono_ns
    rows = [
        (
            sample.mono_ns + wall_ns,
            sample.duration_ns,
            sample.tid,
            stack,
            _or_unknown(sample.gil),
            _or_unknown(sample.cpu_ns),
            sample.resolved,
        )
        for sample, stack in zip(profile.samples, stacks, strict=True)
    ]
    return ProcessSpans(*np.array(rows, np.int64).reshape(-1, len(ProcessSpans._fields)).T)


def _sizes(profile: StackRecording) -> ResidentSizes:
    wall_ns = round(profile.start_s * NS) - profile.start_mono_ns
    rows = [(size.mono_ns + wall_ns, size.kib) for size in profile.resident]
    return ResidentSizes(*np.array(rows, np.int64).reshape(-1, 2).T)


def _ns(time_s: float) -> int:
    """The nearest time that 64 bits of nanoseconds can hold."""
    return round(min(max(time_s, -MAX_S), MAX_S) * NS)


def _or_unknown(value: int | None) -> int:
    return UNKNOWN if value is None else int(value)


def _rows(
    db: sqlite3.Connection, table: str, ids: Iterable[int], known: Mapping[int, object], columns: str = "*"
) -> list[tuple[Any, ...]]:
    missing = orjson.dumps([number for number in ids if number not in known]).decode()
    return db.execute(
        f"SELECT {columns} FROM {table} WHERE id IN (SELECT value FROM json_each(?))", (missing,)
    ).fetchall()


def _union(ranges: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1] + WITHOUT_A_GAP_S:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def frame_hash(frame: Frame) -> int:
    return content_hash(f"{frame.name}\0{frame.file}\0{frame.line}".encode("utf-8", "surrogatepass"))


def content_hash(data: bytes) -> int:
    """The name of a stack's row, which also shows whether a bit of it is wrong."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1
