"""Follow the files of a log folder and turn their lines into records, resuming from stored offsets.

Nothing is lost and nothing comes twice: every batch ends with the `Offset` of the file it came from, and the store commits both together.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from .formats import MAX_LINE_BYTES, Format, Tally
from .formats.jsonl import Events, Metrics
from .formats.text import Text
from .processes import RunActivity
from .records import LogLine, Offset, Points, Record, RunInfo, labels_of
from .watch import FolderWatch

BATCH_BYTES = 2 << 20  # read from one file before the next one has its turn: about 0.1 s of work
BATCH_RECORDS = 5_000  # handed on at once
IDLE_S = 60.0  # a file that did not change for so long is closed
HEAD_BYTES = 64  # what is remembered of a file's start, to notice that it was written anew
PERIOD_S = 1.0  # at the latest; `wake` is set as soon as a file changes
RANK = re.compile(r"\.rank(\d+)\.jsonl$")
INTERVALS = 100  # between lines, for a run's median

RUN_INFO, EVENTS = "run.json", "events.jsonl"


class Tail:
    """The collector of everything that stands in the log folder."""

    name = "tail"

    def __init__(
        self, root: Path, host: str, offsets: Mapping[str, Offset], wake: threading.Event, *, poll_only: bool = False
    ) -> None:
        """`offsets` are those of the store, by path relative to `root`."""
        self._root, self._host, self._wake = root.resolve(), host, wake
        self._offsets = dict(offsets)
        self._runs: dict[str, _Run] = {}
        self._files: dict[str, _File] = {}
        self._waiting: dict[Path, None] = {}  # changed, not read yet; in order
        self._watch = FolderWatch(self._root, is_followed, wake, poll_only=poll_only)
        there = self._watch.take()
        self._backlog = {self._key(path) for path in there}  # was there before we were: its lines have no arrival time
        self._queue(there)

    def collect(self) -> list[Record]:
        """The records of the files that changed, about a batch."""
        self._queue(self._watch.take())
        records: list[Record] = []
        while self._waiting and len(records) < BATCH_RECORDS:
            path = next(iter(self._waiting))
            del self._waiting[path]
            records += self._read(path)
        return records

    @property
    def period_s(self) -> float:
        return 0.0 if self._waiting else PERIOD_S

    def live_runs(self) -> list[RunActivity]:
        """What the files say of each run's life, for whoever looks for its processes."""
        return [run.activity() for run in list(self._runs.values())]

    def close(self) -> None:
        self._watch.close()
        for file in self._files.values():
            file.close()

    def _queue(self, paths: Iterable[Path]) -> None:
        self._waiting |= dict.fromkeys(sorted(paths, key=reading_order))

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self._root))

    def _read(self, path: Path) -> list[Record]:
        run = self._run_of(path)
        if path.name == RUN_INFO:
            return run.read_info(path)
        file = self._file(path, run)
        lines = file.next_lines()
        # A metrics line must find the start event that it follows: the events are read after its bytes and before its meaning.
        events = self._read_events(run) if lines and path.suffix == ".jsonl" and path.name != EVENTS else []
        records = file.parse(lines)
        if file.behind:
            self._waiting[path] = None
        run.noticed(records)
        return events + records

    def _read_events(self, run: _Run) -> list[Record]:
        path = run.folder / EVENTS
        if run.single_file or not path.exists():
            return []
        file = self._file(path, run)
        return file.parse(file.next_lines())

    def _run_of(self, path: Path) -> _Run:
        """A run is a folder; a file that lies in the log folder itself is a run of its own, named like it."""
        single = path.parent == self._root
        name = path.name.removesuffix(".jsonl").removesuffix(".log") if single else self._key(path.parent)
        if name not in self._runs:
            self._runs[name] = _Run(name, path.parent, single, self._host)
        return self._runs[name]

    def _file(self, path: Path, run: _Run) -> _File:
        key = self._key(path)
        if key not in self._files:
            self._files[key] = _File(path, key, run, self._offsets.pop(key, None), live=key not in self._backlog)
        return self._files[key]


class _Run:
    """What the tail remembers of one run."""

    def __init__(self, name: str, folder: Path, single_file: bool, host: str) -> None:
        self.name, self.folder, self.single_file = name, folder, single_file
        self.info: dict[str, Any] = {}
        self.events: Events | None = None
        self.last_line_s: float | None = None
        self._host = host
        self._intervals: deque[float] = deque(maxlen=INTERVALS)

    @property
    def host(self) -> str:
        """The host that the run names, else the one that we read it on."""
        return str(self.info.get("host") or self._host)

    def starts_of(self, rank: int) -> list[float]:
        events = self.events.lifetimes if self.events else []
        return sorted(event.time_s for event in events if event.kind == "start" and event.rank == rank)

    def read_info(self, path: Path) -> list[Record]:
        try:
            info = json.loads(path.read_bytes())
        except (OSError, ValueError):  # half written: the watch tells of it again when it is whole
            return []
        if not isinstance(info, dict) or info == self.info:
            return []
        self.info = info
        return [RunInfo(self.name, info)]

    def noticed(self, records: Sequence[Record]) -> None:
        """`records` are new; of a backlog, the last ones tell enough."""
        for record in records[-INTERVALS:]:
            if isinstance(record, (Points, LogLine)) and record.time_s is not None:
                if isinstance(record, Points) and self.last_line_s is not None and record.time_s > self.last_line_s:
                    self._intervals.append(record.time_s - self.last_line_s)
                self.last_line_s = max(record.time_s, self.last_line_s or record.time_s)

    def activity(self) -> RunActivity:
        events = self.events.lifetimes if self.events else []
        return RunActivity(
            self.name,
            self.folder,
            self.info,
            [event for event in events if event.kind == "start"],
            [event for event in events if event.kind == "end"],
            self.last_line_s,
            statistics.median(self._intervals) if len(self._intervals) >= 3 else None,
            single_file=self.single_file,
        )


class _File:
    """One file, read from where it was left. It stays open, so that the rest of a rotated file is still read."""

    def __init__(self, path: Path, key: str, run: _Run, offset: Offset | None, *, live: bool) -> None:
        """`live`: what is in the file was written while we were looking, so that it has an arrival time."""
        self._path, self._key, self._run = path, key, run
        self._live = live
        self._handle: BinaryIO | None = None
        self._identity = (offset.device, offset.inode) if offset else (0, 0)
        self._offset = offset.offset if offset else 0
        state = dict(offset.state) if offset else {}
        self._head: str = state.pop("head", "")
        self._cutting: bool = state.pop("cutting", False)  # inside a line that is too long
        self._host: str = state.pop("host", run.host)  # a run's series keep their host
        self._format = self._new_format(state)
        if offset:
            self._format.tally = Tally(offset.lines_read, offset.lines_skipped, offset.fields_skipped, offset.first_skip)
        self._used = 0  # bytes of the batch that is being parsed
        self.behind = False  # whether there was more than one batch to read

    def next_lines(self) -> list[bytes]:
        """One batch of whole lines. A half-written last line waits for its newline."""
        lines, self._used = self._split(self._next_bytes())
        return lines

    def parse(self, lines: list[bytes]) -> list[Record]:
        """The records of the lines of `next_lines`, and the offset behind them; [] where nothing was read."""
        records: list[Record] = []
        if self._used:
            self._offset += self._used
            self._used = 0
            records = self._format.parse(lines, time.time() if self._live else None)
            records.append(self._as_record())
        if not self.behind:
            self._live = True  # the backlog is read; what comes now, comes live
            self._let_go_when_idle()
        return records

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _let_go_when_idle(self) -> None:
        if self._handle is not None and time.time() - os.fstat(self._handle.fileno()).st_mtime > IDLE_S:
            self.close()

    def _next_bytes(self) -> bytes:
        if self._handle is not None and self._was_rewritten():
            self.close()
        data = self._pread() if self._handle is not None or self._reopen() else b""
        if not data and self._has_successor():  # asked only when nothing is left in the file that we hold
            self.close()
            data = self._pread() if self._reopen() else b""
        return data

    def _pread(self) -> bytes:
        assert self._handle is not None
        data = os.pread(self._handle.fileno(), BATCH_BYTES + 1, self._offset)
        self.behind = len(data) > BATCH_BYTES
        return data[:BATCH_BYTES]

    def _was_rewritten(self) -> bool:
        """Truncated in place, and perhaps longer again than what was read."""
        assert self._handle is not None
        return os.fstat(self._handle.fileno()).st_size < self._offset or (bool(self._head) and self._read_head() != self._head)

    def _has_successor(self) -> bool:
        try:
            now = self._path.stat()
        except OSError:
            return False  # rotated away, and no new file yet
        return (now.st_dev, now.st_ino) != self._identity

    def _reopen(self) -> bool:
        """Open the file of that name; from its start when it is another one than the one that was read."""
        try:
            self._handle = self._path.open("rb")
        except OSError:
            return False
        stat = os.fstat(self._handle.fileno())
        known = (stat.st_dev, stat.st_ino) == self._identity and stat.st_size >= self._offset
        if self._offset and not (known and self._read_head() == self._head):
            self._offset, self._head, self._cutting = 0, "", False
            self._live = True
            tally = self._format.tally
            self._format = self._new_format(self._format.state())
            self._format.tally = Tally(0, tally.lines_skipped, tally.fields_skipped, tally.first_skip)
        self._identity = (stat.st_dev, stat.st_ino)
        return True

    def _read_head(self) -> str:
        """A fingerprint of the first bytes, as many as there were when it was first taken."""
        assert self._handle is not None
        length = int(self._head.partition(":")[0] or 0) or min(self._offset, HEAD_BYTES)
        return f"{length}:{zlib.crc32(os.pread(self._handle.fileno(), length, 0)):08x}"

    def _split(self, data: bytes) -> tuple[list[bytes], int]:
        """Whole lines, and how many bytes they took; what is too long for a line is dropped as it comes."""
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) <= MAX_LINE_BYTES - 1 and not self._cutting:
                return [], 0
            if not self._cutting:
                self._format.tally.lines_read += 1
                self._format.tally.skip_line("longer than 1 MiB")
            self._cutting = True
            return [], len(data)
        lines = data[: end - 1].split(b"\n")
        if self._cutting:
            del lines[0]
            self._cutting = False
        return [line.removesuffix(b"\r") for line in lines], end

    def _as_record(self) -> Offset:
        self._head = self._head or self._read_head()
        tally = self._format.tally
        state = {**self._format.state(), "head": self._head, "host": self._host}
        if self._cutting:
            state["cutting"] = True
        counts = asdict(tally)
        return Offset(self._key, self._run.name, *self._identity, self._offset, **counts, state=state)

    def _new_format(self, state: Mapping[str, Any]) -> Format:
        name = self._path.name
        if name == EVENTS:
            self._run.events = Events(self._run.name, state)
            return self._run.events
        if name.endswith(".jsonl"):
            rank = rank_of(name)
            labels = labels_of(host=self._host, rank=rank or None)
            return Metrics(self._run.name, labels, starts_of(self._run, rank), state)
        return Text(self._run.name, name, self._path.stat().st_mtime, state)


def starts_of(run: _Run, rank: int) -> Callable[[], list[float]]:
    return lambda: run.starts_of(rank)


def rank_of(name: str) -> int:
    """`metrics.rank3.jsonl -> 3`; 0 for all others."""
    found = RANK.search(name)
    return int(found[1]) if found else 0


def is_followed(name: str) -> bool:
    """Whether a file of that name is read at all."""
    return not name.startswith(".") and (name == RUN_INFO or name.endswith((".jsonl", ".log")))


def reading_order(path: Path) -> tuple[str, int, str]:
    """In each folder what describes the run comes first, then its events, its metrics, its text."""
    kinds = {RUN_INFO: 0, EVENTS: 1}
    return str(path.parent), kinds.get(path.name, 2 if path.suffix == ".jsonl" else 3), path.name
