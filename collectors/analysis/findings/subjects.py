"""What a rule looks at: a run, or the machine, as known at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...gpu.inventory import Gpu
from ...process.activity import RunActivity, RunProcess, RunState, began_s
from ...records import Event, Labels
from ..dumps.allocations import MemorySnapshot
from ..dumps.flight import FlightRank
from ..history import History
from ..ledger.shares import Ledger
from ..stacks.traces import Floats, Range
from ..stacks.trust import LineOf, no_source
from .recent import CAPACITY, RecentPoints

STEPS = "steps"  # the name of a rank's own track: the time of each new step, its value the step


@dataclass
class MachineSubject:
    """Tracks are by name and card (or other labels); everything is of this host."""

    now_s: float
    tracks: Mapping[tuple[str, Labels], RecentPoints] = field(default_factory=dict)
    gpus: Sequence[Gpu] = ()
    owners: Mapping[int, Sequence[str]] = field(default_factory=dict)  # by pid, the runs that it is of
    trouble: Mapping[str, tuple[float, str]] = field(default_factory=dict)  # by collector: since when it fails, and why

    def named(self, name: str) -> Iterator[tuple[dict[str, str], RecentPoints]]:
        """Of each card, or of the host."""
        return ((dict(labels), track) for (known, labels), track in self.tracks.items() if known == name and len(track))

    def one(self, name: str, **labels: str) -> RecentPoints | None:
        """The series with these labels, among others."""
        return next((track for has, track in self.named(name) if has.items() >= labels.items()), None)

    def label_of(self, labels: Mapping[str, str]) -> str:
        """`GPU 3`."""
        return f"GPU {labels.get('gpu', '?')}"


@dataclass
class RunSubject:
    """`tracks` are by name and rank; `events` the newest of the run, by arrival."""

    run: str
    now_s: float
    history: History
    machine: MachineSubject
    tracks: Mapping[tuple[str, int], RecentPoints] = field(default_factory=dict)
    events: Sequence[Event] = ()
    activity: RunActivity | None = None
    state: RunState | None = None
    processes: Sequence[RunProcess] = ()
    awake_since_s: float = 0.0  # since when it is looked at
    ledger_of: Callable[[int, float], Ledger | None] = lambda rank, seconds: None
    last_lines: Callable[[], Sequence[str]] = list
    flight: Callable[[float], list[FlightRank]] = lambda since_s: []  # by dumps written since then
    snapshot: Callable[[float, float], MemorySnapshot | None] = lambda since_s, until_s: (
        None
    )  # of a card's memory, written then
    line_of: LineOf = no_source
    memory: dict[str, Any] = field(default_factory=dict)  # what rules remember from one look to the next
    is_behind: Callable[[], bool] = lambda: False  # whether its files hold records that are not known yet, and may come
    _by_kind: dict[str, list[Event]] = field(default_factory=dict)

    def named(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, RecentPoints]]:
        return ((name, rank, track) for (name, rank), track in self.tracks.items() if wanted(name) and len(track))

    def ranks(self) -> list[int]:
        return sorted({rank for _, rank in self.tracks} | {process.rank for process in self.processes})

    def steps(self, rank: int = 0) -> RecentPoints | None:
        return self.tracks.get((STEPS, rank))

    def interval_s(self, rank: int = 0) -> float | None:
        """The usual time between two steps."""
        track = self.steps(rank)
        times = unique_steps(track)[0] if track is not None else None
        return float(_median_gap(times)) if times is not None and len(times) >= 4 else None

    def of_kind(self, *kinds: str) -> list[Event]:
        """In the order of arrival, of each kind."""
        if not self._by_kind:
            for event in self.events:
                self._by_kind.setdefault(event.kind, []).append(event)
        return [event for kind in kinds for event in self._by_kind.get(kind, ())]

    @property
    def info(self) -> Mapping[str, Any]:
        """Its run.json."""
        return self.activity.info if self.activity is not None else self.history.info

    @property
    def newest_begin(self) -> Event | None:
        """The event that says that its newest attempt had begun."""
        return max(self.of_kind("start") or self.of_kind("process"), key=lambda event: event.time_s, default=None)

    @property
    def begun_s(self) -> float | None:
        """When its newest attempt began."""
        return began_s(self.newest_begin, self.info) if self.newest_begin else None

    def stepping_since_s(self, after: float = 0.0) -> float | None:
        """Since when the newest attempt has made steps, so many of them; None where it has not, or none are known."""
        track = self.steps(min(self.ranks(), default=0))
        if track is None or not len(track):
            return None
        begun_s = self.begun_s if self.begun_s is not None else -np.inf
        times, steps = unique_steps(track, begun_s)
        is_full = len(track) >= CAPACITY
        enough = (
            np.arange(len(steps)) if is_full else np.flatnonzero(steps - steps[0] >= after) if len(steps) else steps
        )
        known = self.memory.get(f"stepping {after}") if not np.any(np.diff(track.step) < 0) else None
        since_s = float(times[enough[0]]) if len(enough) else None
        if is_full and since_s is not None and known is not None and known[0] == begun_s:
            since_s = min(since_s, known[1])  # a fast run's track holds a few minutes
        if since_s is not None:
            self.memory[f"stepping {after}"] = begun_s, since_s
        return since_s

    def during(self, *kinds: str) -> list[Range]:
        return [(event.time_s - (event.seconds or 0.0), event.time_s) for event in self.of_kind(*kinds)]

    @property
    def planned_steps(self) -> float | None:
        """How many steps the run means to make, as its configuration names them."""
        config = self.history.info.get("config")
        named = config if isinstance(config, dict) else {}
        found = (
            named.get(name) for name in ("steps", "max_steps", "total_steps", "num_steps", "max_iters", "train_steps")
        )
        return next(
            (
                float(value)
                for value in found
                if isinstance(value, int | float) and not isinstance(value, bool) and value > 0
            ),
            None,
        )

    def gpus(self) -> list[Gpu]:
        """Those on which a process of the run has a context."""
        pids = {process.pid for process in self.processes}
        return [gpu for gpu in self.machine.gpus if any(user.pid in pids for user in gpu.processes)]


def unique_steps(track: RecentPoints, since_s: float = -np.inf) -> tuple[Floats, Floats]:
    """When each step was first logged, and its number; of steps that go back, those since."""
    known = np.isfinite(track.time_s) & np.isfinite(track.step) & ~(track.time_s < since_s)
    step, time_s = track.step[known], track.time_s[known]
    turns = np.flatnonzero(np.diff(step) < 0)
    first = int(turns[-1]) + 1 if len(turns) else 0
    new = np.diff(step[first:], prepend=-np.inf) > 0
    return time_s[first:][new], step[first:][new]


def _median_gap(times: Floats) -> float:
    return float(np.median(np.diff(times)))


def on_rank(text: str, rank: int, ranks: Iterable[int]) -> str:
    """Names the rank where there are several."""
    return f"{text} on rank {rank}" if len(set(ranks)) > 1 else text
