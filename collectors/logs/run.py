"""A run of a log folder: its files, its life as they tell it, and which of two writers it belongs to."""

from __future__ import annotations

import os
import re
import stat
import statistics
import time
import weakref
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from ..machine.run_state import RunActivity, is_text
from ..queue_events import moves_of
from ..records import Event, LogLine, Points, ProgressBar, Record, Sample
from .formats import Tally
from .formats.fields import STEPS, TIMES
from .formats.jsonl import HEAD_BYTES, SeriesNames, check_head, flat, objects
from .formats.text import PendingPoints
from .formats.text.steps import STEP
from .open_files import NotRead, open_file

RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"


class RunLifetime:
    """The start and the end of one run."""

    def __init__(self, run: str, kept: Sequence[Sequence[Any]] = ()) -> None:
        """`kept` is an earlier `state`."""
        self._run = run
        self.lifetimes: list[Event] = [Event(run, *event) for event in kept]
        self.forgotten: dict[int, int] = {}

    def state(self) -> list[list[Any]]:
        return [list(event)[1:] for event in self.lifetimes]

    def take(self, status: str, started_s: float | None, ended_s: float | None) -> list[Event]:
        """The events that are new. A run that is over may go on: then it starts again, now."""
        known = self.lifetimes
        starts = [event for event in known if event.kind == "start"]
        if status == RUNNING:
            is_over = len(starts) < len(known)
            began_s = time.time() if is_over else started_s
            if began_s is not None and (is_over or not starts):
                self.lifetimes = [Event(self._run, "start", began_s)]
        elif ended_s is not None:
            if not starts and started_s is not None:
                starts = [Event(self._run, "start", started_s)]
            self.lifetimes = [*starts, Event(self._run, "end", ended_s, fields={"status": status, "reason": ""})]
        return [event for event in self.lifetimes if event not in known]


# Which kind of file a run's series come from, so that what two files say is counted once.
#
# JSONL comes first. Of the others the first file that brings a name keeps it, and the name is left out of the rest.

ENDS_BYTES = HEAD_BYTES  # of a JSONL file that are looked at for names, at its start and at its end
MAX_JSONL_FILES = 8  # of a folder, one a rank
LOOK_EVERY_S = 2.0
WRITES_S = 2.0  # from what a script prints to the same in a file that it writes line by line
FLUSHES_S = 130.0  # and in one of a library: TensorBoard's SummaryWriter flushes every 120 s
ANNOUNCES = re.compile(
    r"events\.(rank\d{1,9}\.)?jsonl|events\.out\.tfevents\..*|.*\.wandb"
)  # there from the start, with numbers later
TIMELESS = ("trainer_state.json", "all_results.json")
RANK_OF_TEXT = re.compile(r"\.rank\d{1,9}(?=\.(?:log|out|err|txt)$)")


class SourcePriority:
    """The kinds of file of one run, and the names of their series."""

    def __init__(self, folder: Path, single_file: str = "") -> None:
        """`single_file` is the stem that the files of a run in the log folder itself have."""
        self._folder, self._single_file = folder, single_file
        self._file_of: dict[str, str] = {}  # by name of the series
        self._jsonl: set[str] = set()
        self._texts: dict[str, dict[str, PendingPoints]] = {}  # by source and file
        self._read_bytes: dict[Path, int] = {}  # how large a JSONL file was when its names were read
        self._looked_s = self._listed_s = -LOOK_EVERY_S
        self._is_announced = False

    def why_left_out(self, name: str, file: str) -> str:
        """Why this file's series of that name is left out; "" where it is kept, and then it belongs to this file."""
        if name in self.in_jsonl():
            return "is left out: the run's JSONL has it"
        file = _source(file)
        owner = self._file_of.setdefault(name, file)
        if file not in self._texts and self._waits(owner):
            owner = self._file_of[name] = file
        return "" if owner == file else f"is left out: {owner} has it"

    def keep(self, names: Iterable[str], file: str) -> None:
        """This file had these names before a restart."""
        for name in names:
            self._file_of.setdefault(name, _source(file))

    def take_jsonl(self, names: Iterable[str]) -> None:
        """The run's JSONL has them, also where a name stands on few lines in its middle."""
        self._jsonl.update(names)

    def is_a_text(self, file: str, early: PendingPoints) -> None:
        """Its metrics are read unless another kind of file brings some before it has told any; until then others take their names."""
        self._texts.setdefault(_source(file), {})[file] = early

    def wants(self, text: str, *, is_new: bool) -> bool:
        """Whether the metrics of a text are read. Those of one that `is_new` are, too, beside a file that has no times."""
        return self._has_told(_source(text)) or not self.has_numbers(TIMELESS if is_new else ())

    def has_told_text(self) -> bool:
        """Whether a text has told metrics of the run."""
        return any(map(self._has_told, self._texts))

    def _has_told(self, source: str) -> bool:
        texts = self._texts.get(source, {}).values()
        return any(early.is_told for early in texts) and source in self._file_of.values()

    def _waits(self, source: str) -> bool:
        """Whether it is a text that has told nothing yet."""
        texts = self._texts.get(source, {}).values()
        return bool(texts) and not any(early.is_told for early in texts)

    def wait_s(self) -> float:
        """How long the first metrics of a text wait for another file that brings them, seconds: it may be there already, without any.

        Every 2 s the folder is listed.
        """
        if time.monotonic() - self._listed_s >= LOOK_EVERY_S and not self._single_file:
            self._listed_s = time.monotonic()
            with suppress(OSError), os.scandir(self._folder) as entries:
                self._is_announced = any(ANNOUNCES.fullmatch(entry.name) for entry in entries)
        return FLUSHES_S if self._is_announced else WRITES_S

    def has_numbers(self, beside: Collection[str] = ()) -> bool:
        """Whether a file that is not text brings metrics of the run, other than these files."""
        return bool(self.in_jsonl()) or any(
            file not in self._texts and file not in beside and not is_text(file) for file in self._file_of.values()
        )

    def in_jsonl(self) -> set[str]:
        """Names of which the JSONL has series. Every 2 s the folder is listed; files are read that are new, or twice as large as when they were read."""
        if time.monotonic() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = time.monotonic()
            for path in self.jsonl_files():
                if (size := size_of(path)) >= 2 * self._read_bytes.get(path, 0) and size:
                    self._jsonl |= names_of(path)
                    self._read_bytes[path] = size
        return self._jsonl

    def jsonl_files(self) -> list[Path]:
        """Those whose names are looked at."""
        if self._single_file:
            return [self._folder / f"{self._single_file}.jsonl"]
        try:
            with os.scandir(self._folder) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False)
                ]
        except OSError:
            return []
        return [self._folder / name for name in sorted(names) if not name.startswith((".", "events"))][:MAX_JSONL_FILES]


def kept_names(state: Mapping[str, Any]) -> Sequence[str]:
    """The series that a file with this state has brought; none of a text whose first numbers wait, or were dropped."""
    metrics = state.get("metrics")
    held = metrics if isinstance(metrics, dict) else state  # of an events file that holds metrics
    return () if "early" in held else held.get("names", ())


def _source(file: str) -> str:
    """A program that is started again writes another event file, and each rank its own text, with the same names."""
    return "events.out.tfevents.*" if ".tfevents." in file else RANK_OF_TEXT.sub("", file)


def size_of(path: Path) -> int:
    """0 for what is no file, or one that is reached through a link."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def names_of(path: Path) -> set[str]:
    """The series that stand in the first and last lines of a JSONL file; none where it is data, or cannot be read."""
    try:
        with os.fdopen(open_file(path, path.parent), "rb") as file:
            data = file.read(ENDS_BYTES)
            check_head(path.name, data)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(len(data), size - ENDS_BYTES))
            data += b"\n" + file.read(ENDS_BYTES)
    except (OSError, NotRead):
        return set()
    return {name for name in _fields(data) if name not in STEPS and name not in TIMES}


def _fields(data: bytes) -> Iterator[str]:
    for fields in objects(data.split(b"\n"), Tally()):
        yield from (name for name, _ in flat(fields, Tally()))


# What the tail remembers of one run: run.json, its starts and ends, how often it writes.

INTERVALS = 100  # between lines, for a run's median
MAX_FILES = 16  # by which its processes are found
MAX_CONFIGS = 100  # of files beside run.json, the newest


class LifetimeSource(Protocol):
    """What a file says of the starts and ends of a run."""

    lifetimes: list[Event]
    forgotten: dict[int, int]  # by rank, starts that are no longer among them


class RunFolder:
    """A run is a folder, or a single file that lies in the log folder itself."""

    def __init__(
        self,
        name: str,
        folder: Path,
        single_file: bool,
        host: str,
        configs: Mapping[str, Any] | None = None,
        files: Sequence[str] = (),
        before_s: float | None = None,
    ) -> None:
        """`configs` are those read from its files before, by file; `files` are named where not all of its folder are the run's.

        `before_s` is the time of the last line that an earlier collector has read, Unix seconds.
        """
        self.name, self.folder, self.single_file = name, folder, single_file
        self.files = tuple(files)
        self.info: dict[str, Any] = {}
        self.events: dict[str, LifetimeSource] = {}  # by file name
        self.source_priority = SourcePriority(folder, name if single_file else "")
        self.last_line_s: float | None = None
        self.parts: set[str] = set()  # names of the folders in it whose files are the run's, too
        self.kind: dict[str, Any] = {}  # and its unit, where a file is of one kind only
        self._host, self._before_s = host, before_s
        self._described: dict[str, Any] = {}  # by run.json
        self._configs: dict[str, Any] = dict(configs or {})
        self.ran: dict[str, Any] = {}  # what was seen of its processes
        self._counted: dict[str, str] = {}  # what its texts count by, by file
        self.is_told = True  # that is stored, or on its way
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._changes = 0
        self._activity: tuple[int, RunActivity] | None = None  # and the changes up to which it is true
        self._names: weakref.ref[SeriesNames] | None = None

    @property
    def host(self) -> str:
        """The host that the run names, else this one."""
        return str(self.info.get("host") or self._host)

    def names(self) -> SeriesNames:
        """The names of its series, shared by the files that are being read."""
        names = self._names() if self._names else None
        if names is None:
            names = SeriesNames()
            self._names = weakref.ref(names)
        return names

    def starts_of(self, rank: int) -> list[float]:
        """When the rank started, in order; forgotten ones come first, without a time."""
        forgotten = sum(events.forgotten.get(rank, 0) for events in self.events.values())
        starts = sorted(event.time_s for event in self._lifetimes() if event.kind == "start" and event.rank == rank)
        return [0.0] * forgotten + starts

    @property
    def has_ended(self) -> bool:
        """Whether its files say that it has ended, and not that it has started again."""
        in_order = sorted(self._lifetimes(), key=lambda event: event.time_s)
        return bool(in_order) and in_order[-1].kind == "end"

    def take_info(self, fields: dict[str, Any]) -> dict[str, Any] | None:
        """Take the fields of run.json; return what is known of the run now, None if that is not new."""
        self._described = fields
        return self._news()

    def take_config(self, file: str, config: dict[str, Any]) -> dict[str, Any] | None:
        """Take another file's configuration; run.json overrides each of its fields."""
        self._configs.pop(file, None)
        self._configs[file] = config
        for oldest in list(self._configs)[:-MAX_CONFIGS]:
            del self._configs[oldest]
        return self._news()

    def take_unit(self, file: str, unit: str) -> dict[str, Any] | None:
        """Take what the lines of a text log count by, "" for nothing: steps, where any of the run's does. run.json overrides it."""
        self._counted.pop(file, None)
        if unit:
            self._counted[file] = unit
        of_run = STEP if STEP in self._counted.values() else next(iter(self._counted.values()), STEP)
        if self.kind.get("unit", STEP) == of_run:
            return None
        self.kind = {**self.kind, "unit": of_run}
        return self._news()

    def is_coarse(self, unit: str) -> bool:
        """Whether another text of the run counts steps, and this one epochs or the like."""
        return unit not in ("", STEP) and STEP in self._counted.values()

    def take_ran(self, what: dict[str, Any]) -> dict[str, Any] | None:
        """Take what was seen of its processes; its files override each field, and any configuration of theirs the one seen here."""
        self.ran = what
        return self._news()

    def part_of(self, path: Path) -> str:
        """The name of the file's folder, where that is a part of this one; "" for a file of this folder itself."""
        if path.parent == self.folder or path.parent.parent != self.folder:
            return ""
        if path.parent.name not in self.parts:
            self.parts.add(path.parent.name)
            self._changes += 1
        return path.parent.name

    def note_file(self, path: Path) -> None:
        """One of the files that are the run's, where not all of its folder are."""
        name = str(path.relative_to(self.folder))
        if name not in self.files:
            self.files = (*self.files[-MAX_FILES + 1 :], name)
            self._changes += 1

    def noticed(self, records: Sequence[Record]) -> None:
        """`records` are new; of a backlog, the last ones are enough."""
        self._changes += 1
        last_line = next(
            (record for record in reversed(records) if isinstance(record, LogLine)), None
        )  # points stand behind them
        for record in [*([last_line] if last_line else []), *records[-INTERVALS:]]:
            if isinstance(record, (Points, LogLine, ProgressBar, Sample)) and record.time_s is not None:
                if isinstance(record, Points) and self.last_line_s is not None and record.time_s > self.last_line_s:
                    self._intervals.append(record.time_s - self.last_line_s)
                self.last_line_s = max(record.time_s, self.last_line_s or record.time_s)

    def activity(self) -> RunActivity:
        """The same object while nothing is new: it is read every second, and there may be 10,000 runs. From any thread."""
        changes, known = self._changes, self._activity
        if known is None or known[0] != changes:
            lifetimes = self._lifetimes()
            activity = RunActivity(
                self.name,
                self.folder,
                self.info,
                [event for event in lifetimes if event.kind == "start"],
                [event for event in lifetimes if event.kind == "end"],
                self._before_s if self.last_line_s is None else self.last_line_s,
                statistics.median(self._intervals) if len(self._intervals) >= 3 else None,
                single_file=self.single_file,
                parts=tuple(sorted(self.parts)),
                files=self.files,
                queue=moves_of(lifetimes),
            )
            self._activity = known = changes, activity
        return known[1]

    def _news(self) -> dict[str, Any] | None:
        config = {
            name: value
            for part in [*self._configs.values(), self._described.get("config", {})]
            for name, value in part.items()
        }
        config = config or self.ran.get("config", {})
        info = self.ran | self.kind | self._described | ({"config": config} if config or self._configs else {})
        if info == self.info and self.is_told:
            return None
        self.info, self.is_told = info, True
        self._changes += 1
        return info

    def _lifetimes(self) -> list[Event]:
        return [event for events in list(self.events.values()) for event in events.lifetimes]
