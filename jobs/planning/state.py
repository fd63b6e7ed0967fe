"""What the plan is made from, and what it says is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .family import FamilyRecord
from .fifo import Fifo
from .job import Job
from .slot import Slot
from .usage import NOTHING_USED, Usage

Pair = tuple[str, str]  # two families, in order


class PlanRules(NamedTuple):
    """What may be set; the defaults are what the replays were made with."""

    share_floor: float = 0.85  # of its own baseline, measured: below it the newest neighbour leaves
    unmeasured_floor: float = 0.90  # where a speed is predicted only
    high_floor: float = 0.95  # of jobs of the high class
    least_gain: float = 0.3  # of a GPU, by which a neighbour must raise the throughput
    check_s: float = 300.0
    check_steps: int = 50
    least_run_s: float = 3600.0  # before a job may be stopped for others
    most_stops: int = 3  # for others, of one job
    memory_margin: float = 1.1
    memory_margin_mib: float = 512.0
    # Of the longest wait of first-in-first-out: how much later than there a job may start before it goes first, and after which wait
    # jobs that might delay it are expected to take `doubt` times as long as predicted.
    overdue_share: float = 0.1
    patience: float = 0.5
    least_patience_s: float = 4 * 3600.0
    doubt: float = 2.0
    passing_share: float = 0.1  # of its own length, that an overdue job waits for shorter ones when it could start


USUAL = PlanRules()


class Carried(NamedTuple):
    """What goes from plan to plan."""

    usage: Usage = NOTHING_USED
    fifo: Fifo | None = None  # None: it begins anew
    fifo_high: Fifo | None = None  # of the high class alone, on its 70 %
    gate: tuple[int, float] | None = None  # the overdue job that lets others pass, and since when it could have started


NOTHING_CARRIED = Carried()


@dataclass(frozen=True)
class QueueState:
    """Everything that the plan may know. The caller keeps it; `carried` is what the last plan left."""

    slots: tuple[Slot, ...]
    jobs: Mapping[int, Job]  # all that are not over
    families: Mapping[str, FamilyRecord] = field(default_factory=dict)
    pairs: Mapping[Pair, tuple[float, float]] = field(
        default_factory=dict
    )  # measured speeds of both, of their baselines
    ended_s: Mapping[int, float] = field(
        default_factory=dict
    )  # how long jobs ran that are over and that `fifo` still knows
    carried: Carried = NOTHING_CARRIED
    cores: int = 0  # of the host; 0: data-bound jobs share no host
    rules: PlanRules = USUAL


class StartJob(NamedTuple):
    job: int
    slots: tuple[str, ...]
    beside: tuple[int, ...] = ()  # jobs that are its neighbours there


class StopJob(NamedTuple):
    """Ask a job to save and end; it is queued again."""

    job: int
    why: Literal["preempted", "rolled back"]
    because: int  # the job that gets its slots, or the neighbour that it slowed or was slowed by


class Promise(NamedTuple):
    """Keep these slots for a job; some are still to be emptied."""

    job: int
    slots: tuple[str, ...]


class Learned(NamedTuple):
    """Measured speeds of two families that share a slot, of their own baselines."""

    pair: Pair
    speeds: tuple[float, float]


Action = StartJob | StopJob | Promise | Learned


@dataclass(frozen=True)
class JobPlan:
    actions: tuple[Action, ...]
    reasons: Mapping[int, str]  # of each job that goes on waiting, in words
    blocked: frozenset[
        int
    ]  # those of them that no end of another job of the queue helps: others have what they need, or it is not there
    carried: Carried
