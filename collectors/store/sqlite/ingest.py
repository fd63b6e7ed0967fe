"""The write side of one file: records become head rows, catalogue rows, log rows and offsets in one transaction."""

from __future__ import annotations

import itertools
import statistics
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from ...records import (
    Event,
    Finding,
    Labels,
    LogLine,
    Offset,
    Points,
    ProgressBar,
    Record,
    RunInfo,
    Sample,
    SourceText,
    StackRecording,
)
from ...step_axis import MAX_COUNTED, StepAxis
from ..store import series_id
from . import chunks, files, logs, runs, schema, stacks
from .chunks import NO_STEP, PLACE_BITS, RowGroup
from .codec import decoded
from .logs import TemplateWriter

SHAPES = 20_000  # sets of names that are remembered before starting afresh,
SHAPE_NAMES = 500_000  # or so many names in all of them
INTERVALS = 100
FEW_LINES = 3
STEP_LIMIT = 2**62
NAME_BITS = 16  # of `born`: names that one line may hold before they share a place in the order of appearance
BULK_ROWS = chunks.ROWS

_ShapeKey: TypeAlias = tuple[str | None, Labels, tuple[str, ...]]


class _RowShape(NamedTuple):
    """The shared part of points of one source with the same names."""

    run: str | None
    labels: Labels
    names: tuple[str, ...]
    stream: int
    ids: NDArray[np.int64]

    @property
    def key(self) -> _ShapeKey:
        return self[:3]


@dataclass
class RecordsByKind:
    """The records of one commit to one file, by kind."""

    points: list[Points] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    bars: list[ProgressBar] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    infos: list[RunInfo] = field(default_factory=list)
    offsets: list[Offset] = field(default_factory=list)
    profiles: list[StackRecording] = field(default_factory=list)
    texts: list[SourceText] = field(default_factory=list)


def by_file(records: Iterable[Record], now_s: float) -> dict[str, RecordsByKind]:
    """By the file that they belong to. What the machine reports stands in the week of its own time."""
    from_log, machine = RecordsByKind(), defaultdict[str, RecordsByKind](RecordsByKind)
    for record in records:
        match record:
            case Points() if record.run is None:
                machine[files.week_file(record.time_s or now_s)].points.append(record)
            case Points():
                from_log.points.append(record)
            case LogLine():
                from_log.lines.append(record)
            case ProgressBar():
                from_log.bars.append(record)
            case Event():
                from_log.events.append(record)
            case Finding():
                from_log.findings.append(record)
            case Sample():
                from_log.samples.append(record)
            case RunInfo():
                from_log.infos.append(record)
            case Offset():
                from_log.offsets.append(record)
            case SourceText():
                from_log.texts.append(record)
            case StackRecording():
                machine[files.week_file(record.start_s)].profiles.append(record)
    return {**machine, **({files.RUNS_FILE: from_log} if any(vars(from_log).values()) else {})}


@dataclass
class _PendingRows:
    """Rows of one stream that stand in head only."""

    groups: list[RowGroup] = field(default_factory=list)
    rows: int = 0
    since_s: float = 0.0


class _RehearsalDone(Exception):
    """All of the batch would have been stored."""


class FileWriter:
    """`lock` (the store's) guards the connection and the rows that wait; `packing`, taken before it, the turning of rows into chunks."""

    def __init__(self, path: Path, lock: threading.Lock) -> None:
        self.path = path
        self.holds_runs = path.name == schema.RUNS_FILE  # else what the machine reports
        self.lock = lock
        self.packing = threading.Lock()
        self.db = schema.open_writer(path)
        self.seq = schema.meta(self.db, "seq")
        self._pending: dict[int, _PendingRows] = {}
        self.grown: set[int] = set()  # series with new chunks, of which pages are made
        self._shapes: dict[_ShapeKey, _RowShape] = {}
        self._shape_names = 0
        self._stored: set[_ShapeKey] = set()
        self._stacks = stacks.StackWriter()
        self.templates = TemplateWriter()
        self._recent: dict[int, deque[float]] = {}  # stream -> times of its last lines
        self._axes: dict[str, StepAxis] = {}  # by run
        self._restore()
        self._identity = schema.identity(path)

    def commit(self, batch: RecordsByKind, seq: int, now_s: float, *, rehearse: bool = False) -> None:
        """All of the batch or, on any error, nothing; with `rehearse` nothing either way.

        The caller holds `lock` and, for a batch of `BULK_ROWS` points, `packing`.
        """
        made = self._group(batch.points, seq)
        axes = self._axes_of({str(shape.run) for shape, _ in made} if self.holds_runs else ())
        bulk = _bulk(made)
        try:
            with schema.transaction(self.db) as db:
                new = self._register([shape for shape, _ in made], seq)
                for stream, grown in bulk.items():
                    self._seal(stream, grown, seq)
                small = [group for shape, group in made if shape.stream not in bulk]
                db.execute("INSERT INTO head VALUES (?, ?, ?)", (seq, now_s, chunks.encode(small)))
                schema.set_meta(db, "seq", seq)
                if bulk:
                    schema.set_meta(db, "live_from", seq)
                if self.holds_runs:
                    self._write_runs(batch, made, axes, new, seq)
                else:
                    self._stacks.write(db, batch.profiles)
                if rehearse:
                    raise _RehearsalDone
        except BaseException as error:
            self._shapes.clear()  # what was noted as stored may have been rolled back
            self._stored.clear()
            self._stacks.forget()
            self.templates.forget()
            self._recent.clear()
            self._axes.clear()
            if not isinstance(error, _RehearsalDone):
                raise
            return
        self.seq = seq
        for stream in bulk:
            self._pending.pop(stream, None)
        for shape, group in made:
            if shape.stream not in bulk:
                self._wait(shape.stream, group, now_s)

    def streams(self, rows: int, before_s: float) -> list[int]:
        """Those with at least so many rows that stand in head only, or with such rows from before that time. The caller holds `lock`."""
        return [
            stream for stream, waiting in self._pending.items() if waiting.rows >= rows or waiting.since_s < before_s
        ]

    def waiting(self, stream: int) -> list[RowGroup]:
        """The stream's rows that stand in head only, oldest first. The caller holds `lock`."""
        return list(self._pending[stream].groups) if stream in self._pending else []

    def first_waiting_seq(self) -> int:
        """The oldest commit with such rows, the next one where none has any. The caller holds `lock`."""
        firsts = (int(waiting.groups[0].arrival[0]) >> PLACE_BITS for waiting in self._pending.values())
        return min(firsts, default=self.seq + 1)

    def packed(self, stream: int, count: int, now_s: float) -> None:
        """The oldest `count` groups of a stream have left head. The caller holds `lock`."""
        waiting = self._pending[stream]
        rest = waiting.groups[count:]
        if rest:
            self._pending[stream] = _PendingRows(rest, sum(len(group.arrival) for group in rest), now_s)
        else:
            del self._pending[stream]

    def delete(self, run: str) -> None:
        """Remove a run. The caller holds `packing` and `lock`."""
        with schema.transaction(self.db) as db:
            streams = runs.remove(db, run)
        self.templates.forget(run)
        for stream in streams:
            self._pending.pop(stream, None)
        self._shapes.clear()
        self._stored.clear()
        self._axes.pop(run, None)

    def has_read(self, run: str) -> bool:
        """Whether there are points or lines of it. The caller holds `lock`."""
        rows = (
            self.db.execute(f"SELECT 1 FROM {table} WHERE run = ? LIMIT 1", (run,)).fetchone()
            for table in ("stream", "log")
        )
        return any(rows)

    def rename(self, run: str, new: str, paths: Mapping[str, str]) -> None:
        """See the protocol; nothing of `new` was read. The caller holds `packing` and `lock`."""
        with schema.transaction(self.db) as db:
            streams = [stream for (stream,) in db.execute("SELECT id FROM stream WHERE run = ?", (run,)).fetchall()]
            for stream in streams:  # head and packs name their series in blobs, which never change
                if self.waiting(stream) or chunks.packed(db, stream):
                    self._seal(stream, [], self.seq, everything=True)
            ids = runs.rename(db, run, new, paths)
        self.templates.forget(run)
        for stream in streams:
            self._pending.pop(stream, None)
        for kept in (self._shapes, self._stored, self._recent, self._axes):
            kept.clear()
        self.grown = {ids.get(series, series) for series in self.grown}

    def in_place(self) -> bool:
        """Whether the file and its write-ahead log are still those of that name."""
        return schema.identity(self.path) == self._identity

    def close(self) -> None:
        with self.packing, self.lock:
            self.db.close()

    def _restore(self) -> None:
        """Find the rows that were committed but not packed when the last writer ended."""
        packed: dict[int, int] = dict(self.db.execute("SELECT id, packed_seq FROM stream").fetchall())
        for seq, time_s, data in self.db.execute("SELECT seq, time_s, data FROM head ORDER BY seq").fetchall():
            for group in decoded("head", seq, chunks.decode, data) or []:
                row = self.db.execute("SELECT stream FROM series WHERE id = ?", (int(group.ids[0]),)).fetchone()
                if row and int(group.arrival[0]) >> PLACE_BITS > packed[row[0]]:  # no row: the run was removed
                    self._wait(row[0], group, time_s)

    def _wait(self, stream: int, group: RowGroup, now_s: float) -> None:
        waiting = self._pending.setdefault(stream, _PendingRows(since_s=now_s))
        waiting.groups.append(group)
        waiting.rows += len(group.arrival)

    def _group(self, points: Sequence[Points], seq: int) -> list[tuple[_RowShape, RowGroup]]:
        """Rows by shape, in order of arrival within each."""
        if len(self._shapes) > SHAPES or self._shape_names > SHAPE_NAMES:
            self._shapes.clear()
            self._stored.clear()
            self._shape_names = 0
        rows: dict[_ShapeKey, tuple[list[int], list[Points]]] = {}
        last: _ShapeKey | None = None
        for place, line in enumerate(points):
            key = line[:3]
            if key != last:  # mostly the line before has the same names, and a key is dear to hash
                places, same = rows.setdefault(key, ([], []))
                last = key
            places.append(place)
            same.append(line)
        return [
            (self._shape(key), _build(self._shape(key).ids, places, same, seq))
            for key, (places, same) in rows.items()
            if key[2]
        ]

    def _shape(self, key: _ShapeKey) -> _RowShape:
        shape = self._shapes.get(key)
        if shape is None:
            run, labels, names = key
            ids = np.array([series_id(run, name, labels) for name in names], np.int64)
            shape = self._shapes[key] = _RowShape(run, labels, names, series_id(run, "", labels), ids)
            self._shape_names += len(names)
        return shape

    def _register(self, shapes: Iterable[_RowShape], seq: int) -> Counter[str | None]:
        """Enter streams and series that are new; how many series each run gained."""
        gained: Counter[str | None] = Counter()
        for shape in shapes:
            if shape.key in self._stored:
                continue
            labels = orjson.dumps(shape.labels).decode()
            # What head may still hold of a run of this name that was removed lies before this commit.
            self.db.execute(
                "INSERT OR IGNORE INTO stream VALUES (?, ?, ?, ?)", (shape.stream, shape.run, labels, seq - 1)
            )
            born = range(seq << NAME_BITS, (seq << NAME_BITS) + len(shape.names))
            rows = [
                (i, shape.stream, name, at) for i, name, at in zip(shape.ids.tolist(), shape.names, born, strict=True)
            ]
            entered = self.db.executemany(
                "INSERT OR IGNORE INTO series (id, stream, name, born) VALUES (?, ?, ?, ?)", rows
            )
            gained[shape.run] += entered.rowcount
            self._stored.add(shape.key)
        return gained

    def _seal(self, stream: int, grown: list[RowGroup], seq: int, *, everything: bool = False) -> None:
        """Many rows at once go straight into chunks, behind those of the stream that still wait."""
        fresh = chunks.partition([*self.waiting(stream), *grown])
        chunks.note_packed(self.db, stream, fresh, seq)
        sealed, rest = chunks.plan(chunks.partition([*chunks.packed(self.db, stream), *fresh]), everything)
        self.grown |= chunks.store(self.db, stream, sealed, rest)

    def _axes_of(self, names: Collection[str]) -> dict[str, StepAxis]:
        """As they are before this commit."""
        if sum(map(len, self._axes.values())) > SHAPE_NAMES:
            self._axes.clear()
        for run in names:
            if run not in self._axes:
                self._axes[run] = self._axis_of(run)
        return {run: self._axes[run] for run in names}

    def _axis_of(self, run: str) -> StepAxis:
        axis, series = runs.step_axis(self.db, run)
        streams = [stream for (stream,) in self.db.execute("SELECT id FROM stream WHERE run = ?", (run,))]
        for group in sorted(
            (group for stream in streams for group in self.waiting(stream)), key=lambda one: one.arrival[0]
        ):
            _advance(axis, group, [series[one] for one in group.ids[:MAX_COUNTED].tolist()])
        return axis

    def _write_runs(
        self,
        batch: RecordsByKind,
        made: list[tuple[_RowShape, RowGroup]],
        axes: Mapping[str, StepAxis],
        new: Counter[str | None],
        seq: int,
    ) -> None:
        db = self.db
        intervals = [self._interval(shape.stream, group) for shape, group in made]
        for (shape, group), interval_s in sorted(
            zip(made, intervals, strict=True), key=lambda pair: runs.newest_step(pair[0][1])[0]
        ):
            run = str(shape.run)
            _advance(axes[run], group, shape.names)
            runs.note_points(db, run, group, axes[run].step, interval_s, new.pop(shape.run, 0))
        logs.write(db, batch.lines, seq, self.templates)
        logs.write_bars(db, batch.bars, seq)
        runs.write_samples(db, batch.samples)
        runs.note_lines(db, [*batch.lines, *batch.bars, *batch.samples])
        runs.write_events(db, batch.events, seq)
        runs.write_findings(db, batch.findings, seq)
        runs.write_infos(db, batch.infos)
        runs.write_offsets(db, batch.offsets)
        runs.write_sources(db, batch.texts)

    def _interval(self, stream: int, group: RowGroup) -> float | None:
        """Median distance of the stream's last lines."""
        recent = self._recent.setdefault(stream, deque(maxlen=INTERVALS + 1))
        recent.extend(time_s for time_s in group.time_s[-INTERVALS - 1 :].tolist() if time_s == time_s)
        if len(recent) < FEW_LINES:
            return None
        return statistics.median(after - before for before, after in itertools.pairwise(recent))


def _build(ids: NDArray[np.int64], places: list[int], points: list[Points], seq: int) -> RowGroup:
    _, _, _, values, times, steps, segments = zip(*points, strict=True)
    time_s = np.array(times, np.float64)  # None becomes NaN
    time_s[~np.isfinite(time_s)] = np.nan
    step = np.array(
        [NO_STEP if step is None or not -STEP_LIMIT < step < STEP_LIMIT else step for step in steps], np.int64
    )
    arrival = np.array(places, np.int64) + (seq << PLACE_BITS)
    return RowGroup(
        ids, arrival, time_s, step, np.array(segments, np.int64), np.ascontiguousarray(np.array(values, np.float64).T)
    )


def _advance(axis: StepAxis, group: RowGroup, names: Sequence[str]) -> None:
    step = runs.newest_step(group)[1]
    if step is not None:
        axis.take(group.ids[:MAX_COUNTED].tolist(), names, len(group.arrival), step)


def _bulk(made: list[tuple[_RowShape, RowGroup]]) -> dict[int, list[RowGroup]]:
    """The streams with so many new rows that they bypass head."""
    streams: dict[int, list[RowGroup]] = {}
    for shape, group in made:
        streams.setdefault(shape.stream, []).append(group)
    return {
        stream: grown for stream, grown in streams.items() if sum(len(group.arrival) for group in grown) >= BULK_ROWS
    }
