"""What the tail remembers of one run: run.json, its starts and ends, how often it writes."""

from __future__ import annotations

import statistics
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..process import RunActivity
from ..records import Event, LogLine, Points, Record
from .formats.jsonl import Events, Names
from .rivals import Rivals

INTERVALS = 100  # between lines, for a run's median


class RunFolder:
    """A run is a folder, or a single file that lies in the log folder itself."""

    def __init__(self, name: str, folder: Path, single_file: bool, host: str) -> None:
        self.name, self.folder, self.single_file = name, folder, single_file
        self.info: dict[str, Any] = {}
        self.events: dict[str, Events] = {}  # by file name
        self.rivals = Rivals(folder, name if single_file else "")
        self.last_line_s: float | None = None
        self._host = host
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._activity: RunActivity | None = None
        self._names: weakref.ref[Names] | None = None

    @property
    def host(self) -> str:
        """The host that the run names, else the one that we read it on."""
        return str(self.info.get("host") or self._host)

    def names(self) -> Names:
        """The names of its series, shared by the files that are being read."""
        names = self._names() if self._names else None
        if names is None:
            names = Names()
            self._names = weakref.ref(names)
        return names

    def starts_of(self, rank: int) -> list[float]:
        """When the rank started, in order; those that are forgotten come first, at no time."""
        forgotten = sum(events.forgotten.get(rank, 0) for events in self.events.values())
        starts = sorted(event.time_s for event in self._lifetimes() if event.kind == "start" and event.rank == rank)
        return [0.0] * forgotten + starts

    def take_info(self, fields: dict[str, Any]) -> bool:
        """What run.json says; whether that is new."""
        if fields == self.info:
            return False
        self.info, self._activity = fields, None
        return True

    def take_config(self, fields: dict[str, Any]) -> bool:
        """What another file says of the run's configuration; whether that is new. `run.json` says more, and keeps its place."""
        return set(self.info) <= set(fields) and self.take_info(fields)

    def noticed(self, records: Sequence[Record]) -> None:
        """`records` are new; of a backlog, the last ones tell enough."""
        self._activity = None
        for record in records[-INTERVALS:]:
            if isinstance(record, (Points, LogLine)) and record.time_s is not None:
                if isinstance(record, Points) and self.last_line_s is not None and record.time_s > self.last_line_s:
                    self._intervals.append(record.time_s - self.last_line_s)
                self.last_line_s = max(record.time_s, self.last_line_s or record.time_s)

    def activity(self) -> RunActivity:
        """The same object again while nothing is new: it is asked for every second, and there may be 10,000 runs."""
        if self._activity is None:
            lifetimes = self._lifetimes()
            self._activity = RunActivity(
                self.name,
                self.folder,
                self.info,
                [event for event in lifetimes if event.kind == "start"],
                [event for event in lifetimes if event.kind == "end"],
                self.last_line_s,
                statistics.median(self._intervals) if len(self._intervals) >= 3 else None,
                single_file=self.single_file,
            )
        return self._activity

    def _lifetimes(self) -> list[Event]:
        return [event for events in list(self.events.values()) for event in events.lifetimes]
