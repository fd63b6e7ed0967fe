"""What the tail remembers of one run: run.json, its starts and ends, how often it writes."""

from __future__ import annotations

import statistics
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..process.activity import QUEUE, RunActivity
from ..records import Event, LogLine, Points, ProgressBar, Record, Sample
from .formats.jsonl import Names
from .formats.text.steps import STEP
from .rivals import Rivals

INTERVALS = 100  # between lines, for a run's median
MOST_FILES = 16  # by which its processes are found
MAX_CONFIGS = 100  # of files beside run.json, the newest


class Lifetimes(Protocol):
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
        self.events: dict[str, Lifetimes] = {}  # by file name
        self.rivals = Rivals(folder, name if single_file else "")
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
        self._names: weakref.ref[Names] | None = None

    @property
    def host(self) -> str:
        """The host that the run names, else this one."""
        return str(self.info.get("host") or self._host)

    def names(self) -> Names:
        """The names of its series, shared by the files that are being read."""
        names = self._names() if self._names else None
        if names is None:
            names = Names()
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
            self.files = (*self.files[-MOST_FILES + 1 :], name)
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
                queue=[event for event in lifetimes if event.kind in QUEUE],
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
