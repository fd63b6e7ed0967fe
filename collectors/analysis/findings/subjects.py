"""What a rule looks at: a run, or the machine, as known at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...gpu.inventory import Gpu
from ...process.activity import RunActivity, RunProcess, RunState
from ...records import Event, Labels
from ..history import History
from ..ledger.shares import Ledger
from ..stacks.traces import Floats, Range
from .flight import FlightRank
from .recent import RecentPoints

STEPS = "steps"  # the name of a rank's own track: the time of each new step, its value the step


@dataclass
class MachineSubject:
    """Tracks are by name and card (or other labels); everything is of this host."""

    now_s: float
    tracks: Mapping[tuple[str, Labels], RecentPoints] = field(default_factory=dict)
    gpus: Sequence[Gpu] = ()
    owners: Mapping[int, str] = field(default_factory=dict)  # by pid, the run that it belongs to
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
    memory: dict[str, Any] = field(default_factory=dict)  # what rules remember from one look to the next

    def named(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, RecentPoints]]:
        return ((name, rank, track) for (name, rank), track in self.tracks.items() if wanted(name) and len(track))

    def ranks(self) -> list[int]:
        return sorted({rank for _, rank in self.tracks} | {process.rank for process in self.processes})

    def steps(self, rank: int = 0) -> RecentPoints | None:
        return self.tracks.get((STEPS, rank))

    def interval_s(self, rank: int = 0) -> float | None:
        """The usual time between two steps."""
        track = self.steps(rank)
        times = unique_steps(track) if track is not None else None
        return float(_median_gap(times)) if times is not None and len(times) >= 4 else None

    def of_kind(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event.kind in kinds]

    def during(self, *kinds: str) -> list[Range]:
        return [(event.time_s - (event.seconds or 0.0), event.time_s) for event in self.of_kind(*kinds)]

    @property
    def planned_steps(self) -> float | None:
        """How many steps the run means to make, as its configuration names them."""
        config = self.history.info.get("config")
        named = config if isinstance(config, dict) else {}
        found = (named.get(name) for name in ("steps", "max_steps", "total_steps", "num_steps", "max_iters", "train_steps"))
        return next(
            (float(value) for value in found if isinstance(value, int | float) and not isinstance(value, bool) and value > 0), None
        )

    def gpus(self) -> list[Gpu]:
        """Those on which a process of the run has a context."""
        pids = {process.pid for process in self.processes}
        return [gpu for gpu in self.machine.gpus if any(user.pid in pids for user in gpu.processes)]


def unique_steps(track: RecentPoints) -> Floats:
    """When each step was first logged; of steps that go back, those since."""
    step, time_s = track.step, track.time_s
    if not len(step):
        return time_s
    turns = np.flatnonzero(np.diff(step) < 0)
    first = int(turns[-1]) + 1 if len(turns) else 0
    new = np.concatenate([[True], np.diff(step[first:]) > 0])
    found: Floats = time_s[first:][new]
    return found[np.isfinite(found)]


def _median_gap(times: Floats) -> float:
    return float(np.median(np.diff(times)))


def on_rank(text: str, rank: int, ranks: Iterable[int]) -> str:
    """Names the rank where there are several."""
    return f"{text} on rank {rank}" if len(set(ranks)) > 1 else text
