"""The interface of a store, the types it returns, and the limits of a query."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..records import (
    Event,
    Finding,
    Frame,
    Labels,
    LogLine,
    Offset,
    ProgressBar,
    Record,
    Sample,
    SampleKind,
    Searched,
    SourceText,
)

STEPS = 20_000  # of SQLite's machine between two looks: some hundred microseconds
MAX_SPANS = 1_000_000  # of stacks that are read at once: 250 bytes each, with what is made of them
LOCK_S = 0.05  # between two looks while another question holds a lock


class QueryAborted(Exception):
    """The question was given up; the text is one sentence with the remedy."""


class TooMuch(Exception):
    """The answer, or what it takes to find it, would be too large; the text is one sentence with the remedy."""


class QueryDeadline:
    """Time runs from its making. May be ended from any thread."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._until_s = time.monotonic() + most_s
        self._reason = ""

    def end(self, reason: str) -> None:
        self._reason = reason

    @property
    def over(self) -> bool:
        return bool(self._reason) or time.monotonic() > self._until_s

    def check(self) -> None:
        """Raises QueryAborted when it is over."""
        if self.over:
            late = f"this took longer than {self._most_s:g} s and was given up; ask for a shorter window or for fewer series"
            raise QueryAborted(self._reason or late)


asked: ContextVar[QueryDeadline | None] = ContextVar("asked", default=None)
"""The question that the calling thread works on; None where there is no limit."""


def check() -> None:
    """Raises QueryAborted. Cheap enough for each row."""
    question = asked.get()
    if question is not None:
        question.check()


def is_over() -> bool:
    """For SQLite, which asks now and then while it works."""
    question = asked.get()
    return question is not None and question.over


@contextmanager
def holding(lock: threading.Lock) -> Iterator[None]:
    """The lock, or QueryAborted while another question has it."""
    while not lock.acquire(timeout=LOCK_S):
        check()
    try:
        yield
    finally:
        lock.release()


# Limits of a store: what is deleted, paused or made coarser, by age and by size.


class Thinning(NamedTuple):
    """How samples of the machine become coarser with age. Sums, counts, least and greatest values of each cell stay; runs are left alone."""

    after_s: float  # age
    kept: Callable[
        [float, float], Sequence[tuple[float, float]]
    ]  # of a range, the windows whose samples stay as they are
    whole: Collection[str] = ()  # series that have no mean, such as bit masks: all of their points stay
    counters: Collection[str] = ()  # series whose last value stands for a cell, not their mean


class Limits(NamedTuple):
    """Limits of age and size. Runs are never deleted."""

    retention_s: float | None = None  # age of the machine's samples
    max_bytes: int | None = None  # of all files of the store
    pause: bool = True  # collection, where they are larger and nothing is left to delete
    thinning: Thinning | None = None  # None: nothing is thinned


NO_LIMITS = Limits()


# Lines of text logs as the store returns them to those who count, filter and search: columns, texts and templates.

UNKNOWN_TEMPLATE = 0  # of lines from before version 7 of the schema, until the writer has grouped them


class LineColumns(NamedTuple):
    """Some lines of one run, by arrival. All columns have one entry per line."""

    run: str
    files: list[str]  # names, to which `file` is an index
    number: NDArray[np.int64]
    time_s: NDArray[np.float64]
    level: NDArray[np.int64]
    file: NDArray[np.int64]
    rank: NDArray[np.int64]  # -1 where it is not known
    template: NDArray[np.int64]  # an id, or UNKNOWN_TEMPLATE

    def where(self, kept: NDArray[np.bool_]) -> LineColumns:
        columns: list[NDArray[Any]] = [column[kept] for column in self[2:]]
        return LineColumns(self.run, self.files, *columns)


class LineTexts(NamedTuple):
    """The texts of some lines of one run, by arrival, joined by line ends: UTF-8 that may contain surrogates."""

    number: NDArray[np.int64]
    texts: bytes

    def text(self, at: int) -> str:
        return self.texts.split(b"\n")[at].decode("utf-8", "surrogatepass")


class LineExtent(NamedTuple):
    """How many lines a run has, and the numbers of the first and the last one; how many have no template yet."""

    lines: int
    first: int
    last: int
    ungrouped: int


class LineTemplate(NamedTuple):
    """Lines of a run that differ in their placeholders only; see collectors/lines/templates.py."""

    id: int  # stays as long as the run is stored
    text: str
    example: str  # its first line, at most 1,000 characters
    wide: bool  # whether its lines share their first words and about their length only
    level: int  # the highest
    lines: int
    first_time_s: float
    last_time_s: float


# The Store interface: for writing by the collectors and reading by the web, with any engine.

Axis = Literal["time", "step"]


def series_id(run: str | None, name: str, labels: Labels) -> int:
    """The identity of a series, the same in every file and on every host: 63 bits of BLAKE2b over run, name and labels."""
    text = "\0".join([run or "", name, *(part for pair in labels for part in pair)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class Series(NamedTuple):
    """One row of the catalogue of stored series."""

    id: int
    run: str | None
    name: str
    labels: Labels
    points: int
    first_time_s: float | None
    last_time_s: float | None
    first_step: int | None
    last_step: int | None


class Buckets(NamedTuple):
    """A range of one series in at most `buckets` buckets, in the order of the asked axis within each segment.

    All columns have the same length. `t` and `t_end` are the first and last point of a bucket on the asked axis. min, max and
    mean are over finite values (NaN where there are none), `last` is the last value whatever it is, `count` counts all.
    """

    t: NDArray[np.float64]
    t_end: NDArray[np.float64]
    step: NDArray[np.float64]  # of the bucket's last point; NaN where it has none
    segment: NDArray[np.int64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    mean: NDArray[np.float64]
    last: NDArray[np.float64]
    count: NDArray[np.int64]  # type: ignore[assignment]  # also the name of a method of tuples
    non_finite: NDArray[np.int64]
    points_total: int  # points of the series inside the asked range


class RawPoints(NamedTuple):
    """All points of one series in a range, by segment and then by their place on the asked axis. Columns have the same length."""

    place: NDArray[np.float64]  # on the asked axis
    step: NDArray[np.float64]  # NaN where a point has none
    segment: NDArray[np.int64]
    value: NDArray[np.float64]


class LastPoint(NamedTuple):
    """The newest point of a series, by arrival."""

    time_s: float | None
    step: int | None
    value: float


class Outcomes(NamedTuple):
    """What became of series of runs: one entry a series, in columns, in no order. Numbers are NaN where unknown.

    `least` and `most` are over finite values, the first of equal ones; `last` is the last to arrive, whatever it is.
    """

    run: list[str]
    name: list[str]
    labels: list[Labels]
    id: NDArray[np.int64]
    points: NDArray[np.int64]
    first_time_s: NDArray[np.float64]  # the earliest
    first_step: NDArray[np.float64]  # the least
    last_time_s: NDArray[np.float64]
    last_step: NDArray[np.float64]
    last: NDArray[np.float64]
    least: NDArray[np.float64]
    least_step: NDArray[np.float64]
    most: NDArray[np.float64]
    most_step: NDArray[np.float64]


class Run(NamedTuple):
    """The state of one run, from its files alone (no process is checked)."""

    name: str
    info: dict[str, object]  # run.json; {} where there is none
    first_time_s: float | None
    last_time_s: float | None
    last_step: int | None
    median_interval_s: float | None  # between the last lines of metrics, up to 100; None where fewer than 3
    series: int
    points: int
    timed: bool  # whether any of its points has a time; without one, a run has a step axis only
    lines_read: int
    lines_skipped: int
    fields_skipped: int
    files_aside: int = 0  # files that are set aside,
    trouble: str = ""  # and why one of them is


class LogQuery(NamedTuple):
    """A query for log lines. `before` is the cursor of an earlier page; the newest `limit` matches come back, oldest first."""

    run: str | None = None
    text: str = ""  # case-insensitive substring
    level: int = 0  # at least
    from_s: float | None = None
    to_s: float | None = None
    before: int | None = None
    limit: int = 200


class LogPage(NamedTuple):
    lines: list[LogLine]
    total: int  # lines that match, in all
    before: int | None  # cursor of the next older page; None at the beginning


MAX_SAMPLES = 50_000  # of a run, of each kind
MAX_SAMPLE_BYTES = 50_000_000  # of a run, of samples without a file
MAX_SAMPLE_NAMES = 5_000  # of an answer


class SampleName(NamedTuple):
    """What is stored of a run under one name."""

    name: Searched
    kinds: tuple[SampleKind, ...]
    count: int  # type: ignore[assignment]  # also the name of a method of tuples
    first_step: int | None
    last_step: int | None
    first_time_s: float | None
    last_time_s: float | None


class SampleNames(NamedTuple):
    names: list[SampleName]  # the first MAX_SAMPLE_NAMES
    more: int  # further names
    left_out: int  # samples beyond the limits of a run, which are counted and not stored


class SampleQuery(NamedTuple):
    """A query for the samples of a run: under one name by step and then by arrival, the last `limit` of them; or, without a name, all
    after a number, by arrival, the first `limit`. The bytes of samples without a file come only with `data`."""

    run: str
    name: str | None = None
    from_step: int | None = None
    to_step: int | None = None
    number: int | None = None  # only this one
    after: int = 0
    limit: int = 500
    data: bool = False


class Process(NamedTuple):
    """A process whose stacks are stored. `role` is "main" or "worker"."""

    run: str
    rank: int
    pid: int
    role: str


class StackColumns(NamedTuple):
    """Spans of stacks that touch a window, cut to it. All arrays have one entry per span.

    `stacks[stack[i]]` is span i's stack, from the root to the leaf, as indices into `frames`.
    """

    frames: list[Frame]
    stacks: list[tuple[int, ...]]
    processes: list[Process]
    threads: dict[tuple[int, int], str]  # (pid, tid) -> name
    time_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    process: NDArray[np.int32]  # index into processes
    tid: NDArray[np.int64]
    stack: NDArray[np.int32]
    resolved: NDArray[np.bool_]
    gil: NDArray[np.int8]  # 1 yes, 0 no, -1 unknown
    cpu_s: NDArray[np.float64]  # NaN where unknown
    samples: int
    hz: float
    covered: list[
        tuple[float, float]
    ]  # what of the window any process of the run was recorded in, `WITHOUT_A_GAP_S` joined
    serves: bool = False  # the run is a service, whose work is in all of its threads


class ResidentMemory(NamedTuple):
    """The memory of one process that is in RAM, from each time on: one entry where a look at its stacks found it changed."""

    time_s: NDArray[np.float64]
    bytes: NDArray[np.float64]


class LivePoints(NamedTuple):
    """New points of one series, by arrival."""

    run: str | None
    name: str
    labels: Labels
    time_s: NDArray[np.float64]  # NaN where the point has no time
    step: NDArray[np.float64]  # NaN where the point has no step
    segment: NDArray[np.int64]
    value: NDArray[np.float64]


class Delta(NamedTuple):
    """The records committed after a cursor."""

    seq: int  # the cursor to ask with next
    complete: bool  # False: the cursor is older than what is kept for deltas; read the range anew
    points: list[LivePoints]
    lines: list[LogLine]
    events: list[Event]
    bars: list[ProgressBar]  # the present state of those that changed
    findings: Sequence[Finding] = ()  # the present state of those that changed


class StoreError(Exception):
    """The store cannot be used; the text is one sentence with the remedy."""


class OffsetGap(Exception):
    """Records of a file that do not continue what is stored of it, and are not all stored either: some would be lost or come twice.

    Nothing was stored.
    """

    def __init__(self, path: str, after: tuple[int, int], stored: tuple[int, int]) -> None:
        """`after` and `stored` are an `Offset.reached`: where the records begin, and where those in the store end."""
        super().__init__(
            f"what was read of {path} begins at position {after[0]:,} (line {after[1]:,}), but the store ends at position {stored[0]:,}"
            f" (line {stored[1]:,})"
        )
        self.path = path


class Store(Protocol):
    """One writer, any number of readers in other processes. Readers see whole commits only."""

    def append(self, records: Iterable[Record]) -> int:
        """Commit records and offsets; return the cursor after them.

        What comes from the log folder (points and lines of runs, events, offsets) is one transaction; what the machine itself reports
        (points without a run, profiles) is another. Records of a file that are stored already (`Offset.after`) are dropped. Raises
        StoreError or OSError when nothing could be kept, e.g. on a full disk, OffsetGap when a file's offsets do not follow each
        other; any other exception means that one of the records cannot be stored.
        """

    def rehearse(self, records: Iterable[Record]) -> None:
        """Keep nothing, but raise what `append` would raise, except OffsetGap: to find the record of a batch that cannot be stored."""

    def delete(self, run: str) -> None:
        """Remove a run with all that was read of it, offsets included: its files, if they are still there, would be read again."""

    def rename(self, run: str, new: str, paths: Mapping[str, str]) -> bool:
        """Give a run another name, and the offsets of its files other paths; False, and nothing is changed, where there are points or lines of `new`."""

    def compact(self, deadline_s: float) -> bool:
        """Pack fresh records into chunks for about `deadline_s` seconds; True where there is more to do."""

    def in_place(self) -> bool:
        """Whether the written files are still in the data folder under their names; 20 us. They may have been removed or moved."""

    def offsets(self) -> dict[str, Offset]:
        """By path relative to the log folder."""

    def runs(self) -> list[Run]:
        """By name. A run that has not changed is the same object again; its `info` holds only the short fields of run.json."""

    def run(self, name: str) -> Run | None:
        """With all of run.json."""

    def size_of(self, run: str) -> int:
        """About how many bytes of the store are this run's: what `delete` frees for others."""

    def series(self, run: str | None = None, match: str = "") -> list[Series]:
        """Those of a run, or of the machine where `run` is None; `match` is a case-insensitive substring, with * or ? a glob."""

    def range(
        self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time", buckets: int = 2000
    ) -> dict[int, Buckets]:
        """Each of `ids`, a series without points in the range in no buckets at all.

        `lo` and `hi` are inclusive, None is open. With no more points than buckets, each point is its own bucket.
        """

    def points(
        self, ids: Sequence[int], lo: float | None, hi: float | None, axis: Axis = "time", *, untimed: bool = False
    ) -> dict[int, RawPoints]:
        """Each of `ids` with every point that it has in the range; `lo` and `hi` are inclusive, None is open.

        With `untimed`, on the axis of steps, only those that have no time."""

    def last(self, ids: Sequence[int]) -> dict[int, LastPoint]: ...

    def outcomes(self, runs: Collection[str] | None = None, names: Collection[str] | None = None) -> Outcomes:
        """Of the series of these runs, or of all runs, that have one of these names, or any. About 5 us a series; no points are read."""

    def names(self, runs: Collection[str] | None = None) -> dict[str, int]:
        """The names of the series of these runs, or of all, each with the number of its series."""

    def configs(self, runs: Collection[str] | None = None) -> dict[str, dict[str, object]]:
        """The configuration of these runs, or of all, of those that have one: its numbers, words and short texts, those of a table
        inside it as `optimizer.lr`; at most 1,000 a run."""

    def logs(self, query: LogQuery) -> LogPage: ...

    def line_extents(self, runs: Collection[str] | None = None) -> dict[str, LineExtent]:
        """How many lines these runs, or all, have; of those that have any. 0.2 ms for a run of five million lines."""

    def line_columns(self, run: str, after: int, take: Callable[[LineColumns], None]) -> None:
        """`take` gets all lines of a run behind a number, by arrival, some thousand at a time; no text is opened."""

    def line_texts(self, run: str, lo: int, hi: int, take: Callable[[LineTexts], bool]) -> None:
        """`take` gets the texts of lines with these numbers, the newest first, some thousand at a time (with some beyond both ends),
        until it returns False."""

    def lines(self, run: str, numbers: Sequence[int]) -> list[LogLine]:
        """Those of these lines that are stored, by number; long texts are cut."""

    def templates(self, run: str) -> list[LineTemplate]:
        """Of the run's lines, by id, with exact counts."""

    def bars(self, run: str) -> list[ProgressBar]:
        """The progress bars that stand at the end of a run's text logs, the newest last; at most 100."""

    def events(
        self,
        run: str | None = None,
        lo: float | None = None,
        hi: float | None = None,
        kinds: Sequence[str] = (),
        most: int = -1,
    ) -> list[Event]:
        """In order of time; of all runs where `run` is None, of all kinds where `kinds` is empty. With `most` the newest of them."""

    def findings(
        self,
        run: str | None = None,
        lo: float | None = None,
        hi: float | None = None,
        *,
        holding: bool = False,
        most: int = -1,
    ) -> list[Finding]:
        """Those that touch the range, in order of their start: of a run, of the machine where `run` is "", of all where it is None.

        With `holding` only those that are not over, with `most` the newest of them."""

    def finding(self, id_: str) -> Finding | None:
        """By its id, whatever its run."""

    def sample_names(self, run: str) -> SampleNames:
        """By name."""

    def samples(self, query: SampleQuery) -> list[Sample]:
        """Those without a step stand before all others."""

    def events_after(self, seq: int, kinds: Sequence[str]) -> list[Event]:
        """Those of later commits, of all runs, in order of arrival: to keep up with them at little cost."""

    def stacks(self, lo: float, hi: float, run: str) -> StackColumns: ...

    def stack_counts(self, lo: float, hi: float, run: str) -> list[tuple[float, float, int]]:
        """Stretches of the window and the number of stored spans in each, which `stacks` would have to read."""

    def resident(self, lo: float, hi: float, run: str) -> dict[Process, ResidentMemory]:
        """Of each process whose sampler knows it, in order of time."""

    def profiled_from(self, run: str) -> float | None:
        """Wall time from which on the run's stacks are stored."""

    def profiled_until(self, run: str) -> float | None:
        """Wall time up to which the stacks are stored of all processes of the run that were lately looked at."""

    def source_text(self, run: str, path: str) -> SourceText | None:
        """The text of a source file as loaded by the run's newest process that had it, or why it is not kept; None if unknown."""

    def seq(self) -> int:
        """The newest committed cursor."""

    def changed(self) -> bool:
        """Whether records were committed since the last call on this object; 5 us, or 20 after a write."""

    def since(self, seq: int, lines_of: Collection[str] | None = None) -> Delta:
        """Records committed after `seq`, for live pages: all points or, if too many, none and `complete` false; the newest few
        thousand lines (of these runs, or of all), events and progress bars (likewise)."""

    def close(self) -> None: ...


class FileGlance(NamedTuple):
    """A file of a store, as far as it could be looked at in a short time."""

    name: str
    size_bytes: int
    schema: int | None  # its version; None where it cannot be read
    trouble: str  # one sentence, "" where nothing is wrong
    whole: bool  # all of it was looked at


class Maintenance(Protocol):
    """Maintenance of a store while no dashboard uses it."""

    def exists(self) -> bool: ...

    def size_bytes(self) -> int: ...

    def glance(self, until_mono_s: float) -> list[FileGlance]:
        """Every file with its version and size; damage as far as it shows by then, CLOCK_MONOTONIC. Changes nothing, also beside a writer."""

    def backup(self, target: Path) -> None:
        """Copy all files into a folder, each as of one moment, also beside a writer, which does not wait. Raises StoreError, OSError."""

    def check(self) -> list[str]:
        """Read everything; yield one sentence per error."""

    def compact(self) -> None:
        """Pack everything as compactly as possible and free space. The collector must not be running.

        Raises StoreError, e.g. on a full disk or a damaged file.
        """
