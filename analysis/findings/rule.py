"""A finding rule: what it looks at, when it holds, its words, and the source of its threshold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Floats
from collectors.machine.inventory import Gpu
from collectors.machine.run_state import RunActivity, RunProcess, RunState, began_s
from collectors.message import Message, Sentence, phrase
from collectors.records import Event, FindingWeight, Labels, Searched

from ..directions import direction_of
from ..dumps import FlightRank, MemorySnapshot
from ..history import History
from ..ledger.shares import Ledger
from ..stacks.spans import Interval
from ..stacks.trust import LineOf, no_source

RuleTopic: TypeAlias = Literal["training", "time", "memory", "ranks", "life", "requests", "card", "machine"]


class CodeLocation(NamedTuple):
    """A line of code."""

    function: Searched
    file: Searched
    line: int | None


class Detection(NamedTuple):
    """What a rule found at one look; several of one rule differ in their `key`: a rank, a card, a series, a step."""

    message: Sentence
    from_s: float  # Unix seconds
    to_s: float
    key: str = ""
    moment: bool = False  # it happened once; else it goes on for as long as looks find it
    rank: int | None = None
    step: int | None = None
    numbers: Mapping[str, float] = {}
    place: CodeLocation | None = None
    more: Mapping[str, Any] = {}  # JSON, beside numbers and place
    weight: FindingWeight | None = None  # where it is not that of the rule


class RunRule(NamedTuple):
    """A row of the table of rules. `look` may read the store; it is called every `every_s` while the run is awake."""

    name: str
    topic: RuleTopic
    title: str  # a few words
    weight: FindingWeight  # an alert leaves the machine unless it is muted, a note if its owner asked for it
    needs_s: float  # the least time of data after which it can hold, with the time until it is looked at
    needs: str  # in words
    holds: str  # when it holds, in words
    source: str  # of its thresholds
    look: Callable[[RunSubject], Iterable[Detection]]
    every_s: float = 2.0
    series: Callable[[str], bool] | None = None  # that it looks at beside losses, gradients, scales, memory and results


class MachineRule(NamedTuple):
    """As RunRule, of the machine."""

    name: str
    topic: RuleTopic
    title: str
    weight: FindingWeight
    needs_s: float
    needs: str
    holds: str
    source: str
    look: Callable[[MachineSubject], Iterable[Detection]]
    every_s: float = 2.0


AnyRule: TypeAlias = RunRule | MachineRule


# Which series of a run a rule looks at, by their names.

LOSS = re.compile(r"(?i)(?:^|[/._-])(?:loss|nll|perplexity|ppl|cross_?entropy|mse|elbo)(?:$|[/._-])|loss$")
NO_LOSS = re.compile(
    r"(?i)(?:^|[/._-])(?:time|times|weight|weights|coef|coeff|lr|seconds?|sec|ms|count|steps?)(?:$|[/._-])"
)  # of one
OF_VALIDATION = re.compile(r"(?i)(?:^|[/._-])(?:val|valid|validation|eval|test|dev)(?:$|[/._-])")
GRADIENT = re.compile(r"(?i)grad(?:ient)?s?[/._-]?(?:norm|l2)|(?:^|[/._-])g?norm[/._-]grad|(?:^|/)grads?/")
SCALE = re.compile(r"(?i)(?:^|[/._-])(?:grad|loss|amp|scaler)[/._-]?scale(?:r)?$")
MEMORY = re.compile(
    r"(?i)^memory/|(?:^|[/._-])(?:mem|memory|vram)[/._-]?(?:allocated|reserved|used|peak|max)|max_memory"
)
PAUSE = re.compile(r"(?i)^phase/(?:val|valid|validation|eval|evaluation|test|checkpoint|save|sample|generate)\w*_s$")
MAX_TRACKED = 200  # series of a run


@lru_cache(maxsize=20_000)
def is_loss(name: str) -> bool:
    return LOSS.search(name) is not None and NO_LOSS.search(name) is None and not is_scale(name)


@lru_cache(maxsize=20_000)
def is_validation(name: str) -> bool:
    return OF_VALIDATION.search(name) is not None


@lru_cache(maxsize=20_000)
def is_gradient(name: str) -> bool:
    """A norm, over all gradients or of a layer."""
    return GRADIENT.search(name) is not None and not is_scale(name)


@lru_cache(maxsize=20_000)
def is_scale(name: str) -> bool:
    """GradScaler's factor."""
    return SCALE.search(name) is not None


@lru_cache(maxsize=20_000)
def is_memory(name: str) -> bool:
    return MEMORY.search(name) is not None


@lru_cache(maxsize=20_000)
def is_pause(name: str) -> bool:
    """What a step spent beside the training: RunLog's phases."""
    return PAUSE.search(name) is not None


def is_training_loss(name: str) -> bool:
    return is_loss(name) and not is_validation(name)


def is_result(name: str) -> bool:
    """What a validation measures, and is to become better."""
    return is_validation(name) and NO_LOSS.search(name) is None and direction_of(name) is not None


def is_tracked(name: str) -> bool:
    return is_loss(name) or is_gradient(name) or is_scale(name) or is_memory(name) or is_result(name) or is_pause(name)


# The newest points of a series, kept at hand for the rules.

CAPACITY = 2048  # points
NO_STEP = np.nan


class RecentPoints:
    """Points by arrival; columns have the same length. `ever` is how many came, `before` how many of them before the first look,
    `fresh` how many since the last look of the rule that looks."""

    __slots__ = ("_count", "_rows", "before", "ever", "fresh")

    def __init__(self) -> None:
        self._rows = np.empty((16, 3))
        self._count = 0
        self.fresh = self.ever = self.before = 0

    def __len__(self) -> int:
        return self._count

    def take(self, time_s: float | None, step: int | None, value: float) -> None:
        if self._count == len(self._rows):
            self._make_room()
        self._rows[self._count] = (np.nan if time_s is None else time_s, NO_STEP if step is None else step, value)
        self._count += 1
        self.fresh += 1
        self.ever += 1

    def take_all(self, rows: Iterable[tuple[float | None, int | None, float]]) -> None:
        for row in rows:
            self.take(*row)

    def rows(self) -> Iterator[tuple[float | None, int | None, float]]:
        """As `take_all` takes them."""
        for time_s, step, value in self._rows[: self._count].tolist():
            yield None if time_s != time_s else time_s, None if step != step else int(step), value

    @property
    def time_s(self) -> Floats:
        return self._rows[: self._count, 0]

    @property
    def step(self) -> Floats:
        return self._rows[: self._count, 1]

    @property
    def value(self) -> Floats:
        return self._rows[: self._count, 2]

    def since(self, from_s: float) -> tuple[Floats, Floats]:
        """Time and value of the points from then on."""
        late = self.time_s >= from_s
        return self.time_s[late], self.value[late]

    def last(self) -> float | None:
        return float(self._rows[self._count - 1, 2]) if self._count else None

    def looked_at(self) -> None:
        self.fresh, self.before = 0, self.ever

    def look_since(self, seen: int | None) -> None:
        """`seen` is what `ever` was when the rule last looked; None for its first look."""
        self.fresh = self.ever - (self.before if seen is None else seen)

    def _make_room(self) -> None:
        if self._count < 2 * CAPACITY:
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])[: 2 * CAPACITY]
            return
        self._rows[:CAPACITY] = self._rows[self._count - CAPACITY : self._count]
        self._count = CAPACITY


# What a rule looks at: a run, or the machine, as known at one moment.

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

    def label_of(self, labels: Mapping[str, str]) -> Message:
        """`GPU 3`."""
        return phrase("GPU {gpu}", gpu=labels.get("gpu", "?"))


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

    def during(self, *kinds: str) -> list[Interval]:
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


def on_rank(what: Sentence, rank: int, ranks: Iterable[int]) -> Sentence:
    """Names the rank where there are several."""
    return phrase("{what} on rank {rank}", what=what, rank=rank) if len(set(ranks)) > 1 else what


def at_step(step: int | None) -> Message | None:
    return phrase(" at step {step:,}", step=step) if step is not None else None
