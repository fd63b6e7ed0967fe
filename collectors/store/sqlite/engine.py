"""The default store: SQLite files in one folder, one writing process, any number of reading ones."""

from __future__ import annotations

import fnmatch
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from ...records import Event, Finding, LogLine, Offset, ProgressBar, Record, Sample, SourceText
from .. import buckets as bucketing
from ..batches import unstored
from ..store import (
    NO_LIMITS,
    Axis,
    Buckets,
    Delta,
    LastPoint,
    Limits,
    LineColumns,
    LineExtent,
    LineTemplate,
    LineTexts,
    LogPage,
    LogQuery,
    Outcomes,
    Process,
    RawPoints,
    ResidentMemory,
    Run,
    SampleNames,
    SampleQuery,
    Series,
    StackColumns,
    StoreError,
)
from . import files, logs, schema, stacks
from . import points as points_module
from .codec import store_errors
from .compact import Compactor
from .files import APPLY_LIMITS_S, TOO_LARGE, apply_limits
from .ingest import BULK_ROWS, FileWriter, by_file
from .points import SeriesHits, SeriesQuery
from .runs import (
    RunRows,
    read_events,
    read_events_after,
    read_finding,
    read_findings,
    read_findings_after,
    read_kinds_after,
    read_offset,
    read_offsets,
    read_run,
    read_sample_names,
    read_samples,
    read_size,
    read_sources,
)
from .thinning import Thinner

UNREADABLE, AGAIN = "the store cannot be read", "ask again; if it stays, run: deepseek-dashboard store check"

MAX_COMMITS = 3000  # that a delta may span: at ten a second five minutes


class SqliteStore:
    """Implements `Store` of `store.py`. Any method may be called from any thread."""

    def __init__(self, data_dir: Path, *, write: bool, limits: Limits = NO_LIMITS) -> None:
        self._dir = data_dir
        self._limits = limits
        self._over = ""  # why nothing is stored at present
        self._limited_s = -APPLY_LIMITS_S
        self._readers = files.ReaderPool(data_dir, self._forget)
        self._of_file: dict[Path, points_module.FileReader] = defaultdict(points_module.FileReader)
        self._stacks = stacks.StackReader()
        self._runs = RunRows()
        self._watched: dict[Path, files.ChangeDetector] = {}
        self._watch_lock = threading.Lock()
        self._replaced = False  # other files lie in the folder than those that are watched
        self._write = write
        self._lock = threading.Lock()  # from the choice of a seq until its commit: seqs become visible in their order
        self._compacting = threading.Lock()
        self._writers: dict[str, FileWriter] = {}
        self._compactors: dict[str, Compactor] = {}
        self._seq = 0
        self._thinner = Thinner(data_dir, limits.thinning, self._writers.get) if limits.thinning else None
        if write:
            self._open_writers()

    # Writing

    def append(self, records: Iterable[Record]) -> int:
        return self._commit(self._unstored(list(records)), rehearse=False)

    def rehearse(self, records: Iterable[Record]) -> None:
        self._commit(records, rehearse=True)

    def _commit(self, records: Iterable[Record], *, rehearse: bool) -> int:
        if self._over:
            raise StoreError(self._over)
        now_s = time.time()
        batches = by_file(records, now_s)
        with store_errors(), ExitStack() as stack:
            writers = [(self._writer(name), batch) for name, batch in sorted(batches.items())]
            for writer, batch in writers:
                if len(batch.points) >= BULK_ROWS:
                    stack.enter_context(writer.packing)
            stack.enter_context(self._lock)
            for writer, batch in writers:
                writer.commit(batch, self._seq + 1, now_s, rehearse=rehearse)
                self._seq += not rehearse
            return self._seq

    def _unstored(self, records: list[Record]) -> Sequence[Record]:
        if self._over or not any(isinstance(record, Offset) for record in records):
            return records
        with store_errors():
            writer = self._writer(files.RUNS_FILE)
            with self._lock:
                return unstored(records, partial(read_offset, writer.db))

    def compact(self, deadline_s: float) -> bool:
        until_s = time.monotonic() + deadline_s
        with store_errors(), self._compacting:
            self._retire()
            more = [compactor.run(until_s) for compactor in list(self._compactors.values())]
            return any(more) or (self._thinner is not None and self._thinner.run(until_s))

    def in_place(self) -> bool:
        return all(writer.in_place() for writer in list(self._writers.values()))

    def settle(self) -> None:
        """Pack everything there is, in all files and however fresh; for `store compact`."""
        with store_errors(), self._compacting:
            for path in files.machine_files(self._dir):
                self._writer(path.name)
            for compactor in self._compactors.values():
                compactor.settle()

    def delete(self, run: str) -> None:
        """Remove a run from the store, offsets included: its folder, if it still exists, will be read again."""
        writer = self._writer(files.RUNS_FILE)
        with store_errors(), writer.packing, self._lock:
            writer.delete(run)

    def rename(self, run: str, new: str, paths: Mapping[str, str]) -> bool:
        writer = self._writer(files.RUNS_FILE)
        machines = [self._writer(path.name) for path in files.machine_files(self._dir)]
        with store_errors(), writer.packing, self._lock:
            if writer.has_read(new):
                return False
            for machine in machines:  # first: what is interrupted before the run has its new name is done again
                with schema.transaction(machine.db) as db:
                    db.execute("UPDATE profile SET run = ? WHERE run = ?", (new, run))
            writer.rename(run, new, paths)
        return True

    # Reading

    @store_errors(UNREADABLE, AGAIN)
    def offsets(self) -> dict[str, Offset]:
        return {path: offset for _, db in self._readers.runs() for path, offset in read_offsets(db).items()}

    @store_errors(UNREADABLE, AGAIN)
    def runs(self) -> list[Run]:
        return [run for _, db in self._readers.runs() for run in self._runs.read(db)]

    @store_errors(UNREADABLE, AGAIN)
    def run(self, name: str) -> Run | None:
        return next((run for _, db in self._readers.runs() if (run := read_run(db, name)) is not None), None)

    @store_errors(UNREADABLE, AGAIN)
    def size_of(self, run: str) -> int:
        return sum(read_size(db, run) for _, db in self._readers.runs())

    @store_errors(UNREADABLE, AGAIN)
    def series(self, run: str | None = None, match: str = "") -> list[Series]:
        found: dict[int, list[Series]] = {}
        for path, db in self._readers.machine() if run is None else self._readers.runs():
            for series in self._of_file[path].series(db, run):
                found.setdefault(series.id, []).append(series)
        return [points_module.joined(parts) for parts in found.values() if _matches(parts[0].name, match)]

    @store_errors(UNREADABLE, AGAIN)
    def range(
        self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time", buckets: int = 2000
    ) -> dict[int, Buckets]:
        low, high = -math.inf if lo is None else lo, math.inf if hi is None else hi
        sources = self._sources(ids, axis, low, high)
        windows = self._windows(sources, ids, axis, low, high, buckets)
        found = {number: SeriesHits([], []) for number in ids} | self._find(
            sources, windows
        )  # empty where no file of the range has it
        exact = {
            number: SeriesQuery(axis, low, high, -1.0)
            for number, part in found.items()
            if part.units and part.rows() <= buckets
        }
        found |= self._find(sources, exact)  # with no more points than buckets, each is its own
        return {
            number: bucketing.bucket(bucketing.join_points(part.points), part.units, buckets)
            for number, part in found.items()
        }

    @store_errors(UNREADABLE, AGAIN)
    def points(
        self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time", *, untimed: bool = False
    ) -> dict[int, RawPoints]:
        low, high = -math.inf if lo is None else lo, math.inf if hi is None else hi
        windows = {number: SeriesQuery(axis, low, high, -1.0, untimed) for number in ids}
        found = {number: SeriesHits([], []) for number in ids} | self._find(
            self._sources(ids, axis, low, high), windows
        )
        join, points_of = bucketing.join_points, bucketing.points_of
        return {number: join([*part.points, *map(points_of, part.units)]) for number, part in found.items()}

    @store_errors(UNREADABLE, AGAIN)
    def last(self, ids: Sequence[int]) -> dict[int, LastPoint]:
        found: dict[int, LastPoint] = {}
        for path, db in [*self._readers.runs(), *reversed(self._readers.machine())]:
            missing = [number for number in ids if number not in found]
            if missing:
                found |= self._of_file[path].last(db, missing)
        return found

    @store_errors(UNREADABLE, AGAIN)
    def outcomes(self, runs: Collection[str] | None = None, names: Collection[str] | None = None) -> Outcomes:
        rows = [row for path, db in self._readers.runs() for row in self._of_file[path].outcomes(db, runs, names)]
        return points_module.columns(rows)

    @store_errors(UNREADABLE, AGAIN)
    def names(self, runs: Collection[str] | None = None) -> dict[str, int]:
        return {
            name: count for _, db in self._readers.runs() for name, count in points_module.read_series_names(db, runs)
        }

    @store_errors(UNREADABLE, AGAIN)
    def configs(self, runs: Collection[str] | None = None) -> dict[str, dict[str, object]]:
        return {run: config for _, db in self._readers.runs() for run, config in points_module.read_configs(db, runs)}

    @store_errors(UNREADABLE, AGAIN)
    def logs(self, query: LogQuery) -> LogPage:
        for _, db in self._readers.runs():
            return logs.search(db, query)
        return LogPage([], 0, None)

    @store_errors(UNREADABLE, AGAIN)
    def line_extents(self, runs: Collection[str] | None = None) -> dict[str, LineExtent]:
        return {run: extent for _, db in self._readers.runs() for run, extent in logs.extents(db, runs).items()}

    @store_errors(UNREADABLE, AGAIN)
    def line_columns(self, run: str, after: int, take: Callable[[LineColumns], None]) -> None:
        for _, db in self._readers.runs():
            logs.columns(db, run, after, take)

    @store_errors(UNREADABLE, AGAIN)
    def line_texts(self, run: str, lo: int, hi: int, take: Callable[[LineTexts], bool]) -> None:
        for _, db in self._readers.runs():
            logs.texts(db, run, lo, hi, take)

    @store_errors(UNREADABLE, AGAIN)
    def lines(self, run: str, numbers: Sequence[int]) -> list[LogLine]:
        return [line for _, db in self._readers.runs() for line in logs.lines(db, run, numbers)]

    @store_errors(UNREADABLE, AGAIN)
    def templates(self, run: str) -> list[LineTemplate]:
        return [template for _, db in self._readers.runs() for template in logs.read_templates(db, run)]

    @store_errors(UNREADABLE, AGAIN)
    def bars(self, run: str) -> list[ProgressBar]:
        return [bar for _, db in self._readers.runs() for bar in logs.read_bars(db, run)]

    @store_errors(UNREADABLE, AGAIN)
    def events(
        self,
        run: str | None = None,
        lo: float | None = None,
        hi: float | None = None,
        kinds: Sequence[str] = (),
        most: int = -1,
    ) -> list[Event]:
        return [event for _, db in self._readers.runs() for event in read_events(db, run, lo, hi, kinds, most)]

    @store_errors(UNREADABLE, AGAIN)
    def findings(
        self,
        run: str | None = None,
        lo: float | None = None,
        hi: float | None = None,
        *,
        holding: bool = False,
        most: int = -1,
    ) -> list[Finding]:
        return [
            row for _, db in self._readers.runs() for row in read_findings(db, run, lo, hi, holding=holding, most=most)
        ]

    @store_errors(UNREADABLE, AGAIN)
    def finding(self, id_: str) -> Finding | None:
        return next((row for _, db in self._readers.runs() for row in read_finding(db, id_)), None)

    @store_errors(UNREADABLE, AGAIN)
    def sample_names(self, run: str) -> SampleNames:
        return next((read_sample_names(db, run) for _, db in self._readers.runs()), SampleNames([], 0, 0))

    @store_errors(UNREADABLE, AGAIN)
    def samples(self, query: SampleQuery) -> list[Sample]:
        return [sample for _, db in self._readers.runs() for sample in read_samples(db, query)]

    @store_errors(UNREADABLE, AGAIN)
    def events_after(self, seq: int, kinds: Sequence[str]) -> list[Event]:
        return [event for _, db in self._readers.runs() for event in read_kinds_after(db, seq, kinds)]

    @store_errors(UNREADABLE, AGAIN)
    def stacks(self, lo: float, hi: float, run: str) -> StackColumns:
        return self._stacks.read([db for _, db in self._readers.machine(lo, hi)], lo, hi, run)

    @store_errors(UNREADABLE, AGAIN)
    def stack_counts(self, lo: float, hi: float, run: str) -> list[tuple[float, float, int]]:
        return [row for _, db in self._readers.machine(lo, hi) for row in stacks.counted(db, lo, hi, run)]

    @store_errors(UNREADABLE, AGAIN)
    def resident(self, lo: float, hi: float, run: str) -> dict[Process, ResidentMemory]:
        return stacks.resident([db for _, db in self._readers.machine(lo, hi)], lo, hi, run)

    @store_errors(UNREADABLE, AGAIN)
    def profiled_from(self, run: str) -> float | None:
        starts = (stacks.profiled_from(db, run) for _, db in self._readers.machine())
        return next((start for start in starts if start is not None), None)

    @store_errors(UNREADABLE, AGAIN)
    def profiled_until(self, run: str) -> float | None:
        ends = (stacks.profiled_until(db, run) for _, db in reversed(self._readers.machine()))
        return next((end for end in ends if end is not None), None)

    @store_errors(UNREADABLE, AGAIN)
    def source_text(self, run: str, path: str) -> SourceText | None:
        return next((text for _, db in self._readers.runs() if (text := read_sources(db, run, path)) is not None), None)

    # Following

    @store_errors(UNREADABLE, AGAIN)
    def seq(self) -> int:
        return max((schema.meta(db, "seq") for _, db in self._readers.live()), default=0)

    @store_errors(UNREADABLE, AGAIN)
    def changed(self) -> bool:
        with self._watch_lock:
            live = self._readers.live_files()
            if self._replaced:
                self._unwatch()
            changes = [self._changed(path) for path in live]
            return any(changes)

    @store_errors(UNREADABLE, AGAIN)
    def since(self, seq: int, lines_of: Collection[str] | None = None) -> Delta:
        newest = self.seq()  # first: whatever has a seq up to this is visible by now, in files that are there by now
        if (
            seq > newest or newest - seq > MAX_COMMITS
        ):  # of a store that was removed, or too long ago to be worth sending
            return Delta(newest, False, [], [], [], [])
        self._readers.look()
        parts = [self._of_file[path].since(db, seq, newest) for path, db in self._readers.live()]
        found = [line for _, db in self._readers.runs() for line in logs.read_lines_after(db, seq, newest, lines_of)]
        events = [event for _, db in self._readers.runs() for event in read_events_after(db, seq, newest)]
        bars = [bar for _, db in self._readers.runs() for bar in logs.read_bars_after(db, seq, newest, lines_of)]
        points = [part for _, found in parts for part in found]
        judged = [row for _, db in self._readers.runs() for row in read_findings_after(db, seq, newest)]
        return Delta(newest, all(complete for complete, _ in parts), points, found, events, bars, judged)

    def close(self) -> None:
        with self._compacting:
            for compactor in self._compactors.values():
                compactor.close()
            for writer in self._writers.values():
                writer.close()
        with self._watch_lock:
            self._unwatch()
        self._readers.close()

    def _forget(self) -> None:
        """Forget files that are gone."""
        self._of_file.clear()
        self._stacks, self._runs = stacks.StackReader(), RunRows()
        self._replaced = True

    def _unwatch(self) -> None:
        for watched in self._watched.values():
            watched.db.close()
        self._watched.clear()
        self._replaced = False

    def _open_writers(self) -> None:
        self._dir.mkdir(parents=True, exist_ok=True)
        with store_errors():
            self._writer(files.RUNS_FILE)
            weeks = files.machine_files(self._dir)
            for path in weeks[: -files.LIVE_WEEKS]:
                self._seq = max(self._seq, schema.newest_seq(path))  # migrates it, too
            for path in weeks[-files.LIVE_WEEKS :]:
                self._writer(path.name)
        self._readers.look()

    def _writer(self, name: str) -> FileWriter:
        with self._lock:
            if name not in self._writers:
                if not self._write:
                    raise StoreError("this store was opened for reading; only the collector writes")
                writer = self._writers[name] = FileWriter(self._dir / name, self._lock)
                self._compactors[name] = Compactor(writer)
                self._seq = max(self._seq, writer.seq)
            return self._writers[name]

    def _retire(self) -> None:
        """Unlink machine files that are too old or too many; pause where that is not enough."""
        if time.monotonic() - self._limited_s < APPLY_LIMITS_S:
            return
        self._limited_s = time.monotonic()
        sizes = [(path, files.size_bytes(path)) for path in files.all_files(self._dir)]
        decision = apply_limits(sizes, self._limits, time.time())
        for path in decision.remove:
            with self._lock:
                writer, compactor = self._writers.pop(path.name, None), self._compactors.pop(path.name, None)
            if writer and compactor:
                compactor.close()
                writer.close()
            files.unlink(path)
        self._over = TOO_LARGE if decision.over else ""

    def _changed(self, path: Path) -> bool:
        if path not in self._watched:
            db = schema.open_reader(path)
            if db is None:
                return False
            self._watched[path] = files.ChangeDetector(db)
        return self._watched[path].changed()

    def _sources(self, ids: Collection[int], axis: Axis, lo: float, hi: float) -> list[files.StoreFile]:
        """The files that may hold these series; a year of machine files is left alone where only runs are asked for."""
        sources = self._readers.runs()
        elsewhere = set(ids)
        for path, db in sources:
            elsewhere -= self._of_file[path].extents(db, ids, axis).keys()
        if elsewhere:
            sources += self._readers.machine(lo, hi) if axis == "time" else self._readers.machine()
        return sources

    def _windows(
        self, sources: Sequence[files.StoreFile], ids: Collection[int], axis: Axis, lo: float, hi: float, buckets: int
    ) -> dict[int, SeriesQuery]:
        """A summary may stand for its points where it is at most a bucket wide, so that no bucket of the range stays empty."""
        low, high = dict.fromkeys(ids, math.inf), dict.fromkeys(ids, -math.inf)
        for path, db in sources:
            for number, extent in self._of_file[path].extents(db, ids, axis).items():
                low[number], high[number] = min(low[number], extent[0]), max(high[number], extent[1])
        widths = {number: min(hi, high[number]) - max(lo, low[number]) for number in ids}
        return {
            number: SeriesQuery(axis, lo, hi, width / buckets if width > 0 else -1.0)
            for number, width in widths.items()
        }

    def _find(self, sources: Sequence[files.StoreFile], windows: Mapping[int, SeriesQuery]) -> dict[int, SeriesHits]:
        found: dict[int, SeriesHits] = {}
        for path, db in sources:
            for number, part in self._of_file[path].find(db, windows).items():
                joined = found.setdefault(number, SeriesHits([], []))
                joined.points.extend(part.points)
                joined.units.extend(part.units)
        return found


def _matches(name: str, match: str) -> bool:
    pattern = match.lower()
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(name.lower(), pattern.replace("[", "[[]"))
    return pattern in name.lower()
