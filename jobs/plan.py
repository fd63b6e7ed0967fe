"""Plans which jobs start where: `plan(state, now_s) -> JobPlan(actions, reasons, ...)`. Pure, and the same in the daemon and in the replay.

1. Of two jobs that slow each other on one GPU, the newer one leaves (`checked`).
2. Jobs get the slots that were promised to them.
3. The others in order: what first-in-first-out would have started by now (`overdue`), then by class and response ratio (`ClassOrder`).
   A job starts on free slots, unless that would delay the first job that is overdue (its `Reservation`, as in EASY backfilling);
   else beside a neighbour (`neighbourhood`); else, for the high class within its 70 %, jobs that can resume make room (`victims`).
4. A job that waits has a reason in words (`Reasons`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from .fifo import Fifo, FifoEntry

STOPPING_S = 60.0  # to save and end
LATE_S = (
    60.0  # a job that started so much later than first in, first out has waited; less is the time that a start takes
)


def plan(state: QueueState, now_s: float) -> JobPlan:
    """Costs under 10 ms with 1,000 jobs in the queue."""
    return _Planner(state, now_s).plan()


class _Planner:
    """The working memory of one plan."""

    def __init__(self, state: QueueState, now_s: float) -> None:
        self.state, self.now_s = state, now_s
        jobs = state.jobs.values()
        self.usual_s, self.usually_long_s = usual(state.families)
        self.by_family: dict[str, float] = {}
        self.predicted = {job.id: self._predicted(job) for job in jobs}
        self.placed = {job.id: job for job in jobs if job.placed}
        self.remaining = {
            job.id: STOPPING_S if job.state == "stopping" else max(1.0, self.predicted[job.id] - job.done(now_s))
            for job in jobs
        }
        self.layout = Layout(state, self.remaining, now_s)
        self.usage = state.carried.usage.at(now_s)
        some, most = len(state.slots), high_slots(len(state.slots))
        entries = [FifoEntry(job.submitted_s, job.id, job.slots) for job in jobs if job.state != "held"]
        self.fifo = (state.carried.fifo or Fifo(some)).of(some).advanced(entries, self._length, now_s)
        high = [entry for entry in entries if state.jobs[entry.job].high and entry.slots <= most]
        self.fifo_high = (state.carried.fifo_high or Fifo(most)).of(most).advanced(high, self._length, now_s)
        self.actions: list[Action] = []
        self.started: set[int] = set()
        self.promised: dict[int, Job] = {}
        self.reservation: Reservation | None = None
        self.doubt = 1.0
        self.gate: tuple[int, float] | None = None
        self.stopping = {job.id for job in jobs if job.state == "stopping"}
        self.sharing: set[int] = set()
        self.cannot_share: set[tuple[str, int, bool, bool]] = set()
        self.possible: dict[tuple[int, float | None], bool] = {}

    def plan(self) -> JobPlan:
        found = checked(self.state, self.now_s)
        self.actions += found
        self.stopping |= {action.job for action in found if isinstance(action, StopJob)}
        may = (job for job in self.placed.values() if job.id not in self.stopping)
        self.sharing = {job.id for job in may if may_share(job, self.state.rules)}
        waiting = [job for job in self.state.jobs.values() if job.waiting]
        for job in waiting:
            if job.promised and not any(self.layout.jobs.get(slot) for slot in job.promised):
                self._start(job, job.promised)
            elif job.promised:
                self.promised[job.id] = job
        order = self._in_order([job for job in waiting if not job.promised and self._is_possible(job)])
        usage = self.usage.using(self.placed.values())
        reasons, blocked = self._reasons(order)
        return JobPlan(tuple(self.actions), reasons, blocked, PlannerState(usage, self.fifo, self.fifo_high, self.gate))

    def _in_order(self, queue: list[Job]) -> list[Job]:
        """Start what can be started; the queue as it was gone through."""
        late = overdue(queue, self.fifo, self.fifo_high, self.state.rules.overdue_share, self.now_s)
        lets_pass: Job | None = None
        for job in late:
            if self.reservation is None and self._lets_pass(job):
                lets_pass = job
            elif not self._placed(job) and self.reservation is None:
                self.reservation = self.layout.reserve(job, _need(job))
                self.doubt = self._doubt(job)
        ids, order = {job.id for job in late}, late
        rest = ClassOrder([job for job in queue if job.id not in ids], self.predicted, self.usage, self.now_s)
        for job in rest:
            order.append(job)
            if self._placed(job):
                rest.started(job)
        if lets_pass and len(free := self.layout.free(_need(lets_pass))) >= lets_pass.slots:
            self._start(lets_pass, tuple(free[: lets_pass.slots]))
        return order

    def _lets_pass(self, job: Job) -> bool:
        """An overdue job that could start now waits a little longer for jobs that should end within a tenth of its own length."""
        free = self.layout.free(_need(job))
        if len(free) < job.slots:
            return False
        gate = self.state.carried.gate
        since_s = gate[1] if gate and gate[0] == job.id else self.now_s
        until_s = since_s + self.state.rules.passing_share * self.remaining[job.id]
        self.gate = job.id, since_s
        if until_s <= self.now_s:
            return False
        self.reservation = Reservation(job.id, until_s, len(free) - job.slots)
        return True

    def _placed(self, job: Job) -> bool:
        """Whether it starts now, or others make room for it."""
        reservation, free = self.reservation, self.layout.free(_need(job))
        in_time = reservation is None or self.now_s + self.doubt * self._longest_s(job) <= reservation.at_s
        if len(free) >= job.slots and (in_time or (reservation is not None and job.slots <= reservation.spare)):
            return self._start(job, tuple(free[: job.slots]))
        return self._shares(job, free if in_time else [], in_time) or self._preempts(job, free)

    def _shares(self, job: Job, free: list[str], in_time: bool) -> bool:
        """Beside neighbours, on free slots as far as there are some: only where it cannot start alone."""
        state, kind = self.state, (job.family, job.slots, job.high, job.resumes)
        if not self.sharing or kind in self.cannot_share or len(free) >= job.slots or not may_share(job, state.rules):
            return False
        single = self.layout.single(self.sharing)
        if not in_time and self.reservation:  # it may hold up those slots only that are busy then anyway
            single = [row for row in single if self.layout.ends_s[row[0].id] > self.reservation.at_s]
        chosen = neighbourhood(job, single, len(free), state) if len(single) + len(free) >= job.slots else None
        if chosen is None or not cores_suffice(state.families.get(job.family, NOTHING), self.placed.values(), state):
            self.cannot_share.add(kind)
            return False
        beside = tuple(dict.fromkeys(self.layout.jobs[slot.id][0].id for slot in chosen))
        return self._start(job, (*free, *(slot.id for slot in chosen)), beside)

    def _preempts(self, job: Job, free: list[str]) -> bool:
        spared = self._spared(job.slots) if job.high else set()
        found = victims(job, free[: job.slots], self.layout, self.state, spared, self.stopping) if job.high else None
        if found is None:
            return False
        stopped, slots = found
        self.actions += [StopJob(other.id, "preempted", job.id) for other in stopped]
        self.sharing -= {other.id for other in stopped}
        self.stopping |= {other.id for other in stopped}
        self.actions.append(Promise(job.id, tuple(slots)))
        self.layout.keep(job, slots)
        self.promised[job.id] = replace(job, promised=tuple(slots))
        return True

    def _spared(self, slots: int) -> set[int]:
        """Jobs that started later than first-in-first-out would have started them make no room for a job on so many slots: as long as the
        longest of their family ran, once they have made room, and where they would lose more than twice as many slots."""
        starts, never = self.fifo.starts_s, float("inf")
        late = [
            job
            for job in self.placed.values()
            if job.id in self.state.jobs and starts.get(job.id, never) + LATE_S < job.started_s
        ]
        families, usually_s = self.state.families, self.usually_long_s
        lengths_s = {job.id: longest_s(families.get(job.family, NOTHING), usually_s) for job in late}
        return {
            job.id
            for job in late
            if job.stops or job.slots > 2 * slots or self.now_s - job.started_s < lengths_s[job.id] - job.ran_s
        }

    def _start(self, job: Job, slots: tuple[str, ...], beside: tuple[int, ...] = ()) -> bool:
        self.actions.append(StartJob(job.id, slots, beside))
        self.started.add(job.id)
        end_s = self.now_s + self.remaining[job.id]
        if self.reservation and not beside and end_s > self.reservation.at_s:
            self.reservation = self.reservation._replace(spare=self.reservation.spare - job.slots)
        placed = self.placed[job.id] = replace(job, state="running", on=slots, started_s=self.now_s)
        self.layout.put(placed, slots, end_s)
        return True

    def _doubt(self, job: Job) -> float:
        """How many times as long as predicted others may take without delaying this job: more, once it has waited long."""
        rules = self.state.rules
        patience_s = rules.patience * max(self.fifo.longest_s, rules.least_patience_s)
        return rules.doubt if job.waited(self.now_s) > patience_s else 1.0

    def _reasons(self, order: Iterable[Job]) -> tuple[dict[int, str], frozenset[int]]:
        reasons = Reasons(self.state.slots, self.layout, self.reservation, self.now_s, self._expected_s)
        left = [job for job in order if job.id not in self.started and job.id not in self.promised]
        found = {job.id: reasons.waits(job, _need(job), ahead) for ahead, job in enumerate(left)}
        found |= {job.id: reasons.promised(job) for job in self.promised.values()}
        others = (job for job in self.state.jobs.values() if job.id not in found and job.id not in self.started)
        for job in others:
            if job.state == "held":
                found[job.id] = "by its owner"
            elif job.waiting:
                found[job.id] = reasons.impossible(job, _need(job))
        return found, frozenset(reasons.blocked)

    def _is_possible(self, job: Job) -> bool:
        key = job.slots, _need(job)
        if key not in self.possible:
            self.possible[key] = sum(slot.holds(key[1]) for slot in self.state.slots) >= job.slots
        return self.possible[key]

    def _longest_s(self, job: Job) -> float:
        whole_s = longest_s(self.state.families.get(job.family, NOTHING), self.usually_long_s)
        return max(self.remaining[job.id], whole_s - job.ran_s)

    def _predicted(self, job: Job) -> float:
        if (whole_s := self.by_family.get(job.family)) is None:
            whole_s = self.by_family[job.family] = predicted_s(
                self.state.families.get(job.family, NOTHING), self.usual_s
            )
        return outlived(whole_s, job.done(self.now_s))

    def _expected_s(self, job: Job) -> float | None:
        """By jobs of its own family."""
        record = self.state.families.get(job.family, NOTHING)
        return predicted_s(record, 0.0) if record.durations_s else None

    @property
    def _length(self) -> Callable[[int], float]:
        predicted, ended = self.predicted, self.state.ended_s
        return lambda job: predicted[job] if job in predicted else ended.get(job, 0.0)


def _need(job: Job) -> float | None:
    """MiB a slot."""
    return job.needs_mib or job.declared_mib


# What jobs are placed on: a GPU, or a share of the cores of a host without GPUs.

CORES = "cores-"  # before the number of a core slot, which is its id then


@dataclass(frozen=True, slots=True)
class Slot:
    """Its memory is a card's, or of a core slot its share of the host's; None where that is not known, and then it is never shared."""

    id: str  # a GPU's UUID, "cores-0"
    memory_mib: float | None = None
    free_mib: float | None = None  # as the driver says now; None: not known, and the slot is not shared
    foreign: bool = False  # has a process that is not the queue's, or another queue's lease
    cores: int = 0  # of a core slot; 0 is a GPU
    absent: bool = False  # it is foreign since the driver does not name it, or has lost it

    def holds(self, need_mib: float | None) -> bool:
        """Whether a job that needs so much fits when it is alone there."""
        return need_mib is None or self.memory_mib is None or need_mib <= self.memory_mib


def core_slots(cores: int, a_slot: int, memory_mib: float | None = None) -> list[Slot]:
    """A host without GPUs and with so much memory: `core_slots(8, 4, 16384) -> [cores-0, cores-1]` with 8192 MiB each"""
    a_slot = min(max(1, a_slot), max(1, cores))
    number = max(1, cores // a_slot)
    share = None if memory_mib is None else memory_mib / number
    return [Slot(f"{CORES}{place}", share, share, cores=a_slot) for place in range(number)]


# What was measured of a family of jobs, and how long its next one is likely to run.

UNKNOWN_S = 3600.0  # where no job has ended yet


class FamilyRecord(NamedTuple):
    """Of the jobs of one family on one kind of card; None is not measured."""

    peak_mib: float | None = None  # a slot
    activity: float | None = None  # of the SMs alone, 0 to 1
    data_bound: float = 0.0  # share of a step that waits for data, alone
    loader_cores: float = 0.0  # that its data loaders keep busy, a job
    units_per_s: float | None = None  # alone
    durations_s: tuple[float, ...] = ()  # of work, of jobs that ended by themselves, the newest last


NOTHING = FamilyRecord()


def predicted_s(record: FamilyRecord, usual_s: float) -> float:
    """Seconds of work: the mean of the last two (Tsafrir, Etsion, Feitelson 2007), else what is usual of all jobs. At least a second."""
    last = record.durations_s[-2:]
    return max(1.0, sum(last) / len(last) if last else usual_s)


def outlived(predicted: float, done_s: float) -> float:
    """A job that has outlived its prediction goes on for as long as it has run: durations have long tails."""
    return predicted if done_s < predicted else 2 * done_s


def longest_s(record: FamilyRecord, usually_long_s: float) -> float:
    """How long the next one may take, if it may not be late: as long as any before, where at least two are known."""
    return max(record.durations_s) if len(record.durations_s) > 1 else max(usually_long_s, *record.durations_s, 0.0)


def usual(records: Mapping[str, FamilyRecord]) -> tuple[float, float]:
    """The median of all durations that are known, and the length that one in ten exceeds."""
    durations = sorted(seconds for record in records.values() for seconds in record.durations_s)
    if not durations:
        return UNKNOWN_S, UNKNOWN_S
    return durations[len(durations) // 2], durations[int(0.9 * len(durations))]


# A job as the plan sees it: what its user asked for, what was done with it so far, and what is measured of it now.

JobState = Literal["queued", "held", "running", "stopping"]
MAX_OUT_OF_MEMORY = 2  # attempts that may end so; the next one is a failure
MORE_AFTER_OUT_OF_MEMORY = 1.25


@dataclass(frozen=True, slots=True)
class Job:
    """Times are Unix seconds. A job that is over is not among the plan's jobs."""

    id: int
    family: str  # jobs that resemble each other: user, script, arguments without seeds and rates, number of slots
    slots: int  # GPUs, or core slots on a host without GPUs
    submitted_s: float
    high: bool = False
    shares: bool = False  # its user allows a neighbour on its GPUs
    resumes: bool = False  # has `--resume-with`: the only jobs that are ever stopped for others
    declared_mib: float | None = None  # a slot, as its user says
    state: JobState = "queued"
    queued_s: float = 0.0  # since when it is queued, this time
    waited_s: float = 0.0  # in the queue before that
    ran_s: float = 0.0  # seconds of its own work that earlier attempts kept
    out_of_memory: int = 0
    stops: int = 0  # how often it was stopped for others
    needs_mib: float | None = None  # a slot, after an attempt ran out of memory; it runs alone then
    promised: tuple[str, ...] = ()  # slots that are kept for it
    on: tuple[str, ...] = ()  # slots that it holds
    started_s: float = 0.0
    shared_s: float | None = None  # since when it has the neighbours that it has now
    speed: float | None = None  # its units/s now, of its own baseline alone; None: not measured yet
    steps: int = 0  # that `speed` is measured over

    @property
    def waiting(self) -> bool:
        return self.state == "queued"

    @property
    def placed(self) -> bool:
        return self.state in ("running", "stopping")

    def waited(self, now_s: float) -> float:
        """Seconds in the queue since it was submitted."""
        return self.waited_s + (now_s - self.queued_s if self.state == "queued" else 0.0)

    def done(self, now_s: float) -> float:
        """Seconds of work behind it, at most."""
        return self.ran_s + (now_s - self.started_s if self.placed else 0.0)


def after_out_of_memory(job: Job, peak_mib: float, now_s: float, largest_mib: float) -> Job | None:
    """The job as it is queued again: alone, with a quarter more than the peak, or all of the largest card. None: it had its tries and has failed."""
    if job.out_of_memory >= MAX_OUT_OF_MEMORY:
        return None
    return replace(
        queued_again(job, now_s, kept_s=job.ran_s),
        out_of_memory=job.out_of_memory + 1,
        needs_mib=min(largest_mib, MORE_AFTER_OUT_OF_MEMORY * max(peak_mib, job.needs_mib or 0.0)),
    )


def queued_again(job: Job, now_s: float, kept_s: float) -> Job:
    """After an attempt that did not finish it; `kept_s` of work are in its checkpoint."""
    return replace(
        job,
        state="queued",
        queued_s=now_s,
        ran_s=kept_s,
        on=(),
        promised=(),
        started_s=0.0,
        shared_s=None,
        speed=None,
        steps=0,
    )


# 70 and 30 %: what each class had of the slots lately.

HALF_LIFE_S = 3600.0
HIGH_WEIGHT, NORMAL_WEIGHT = 0.7, 0.3


class Usage(NamedTuple):
    """Slot-seconds of each class, of which half are forgotten in an hour; a slot with two jobs counts half to each."""

    high_s: float = 0.0
    normal_s: float = 0.0
    at_s: float | None = None
    high_slots: float = 0.0  # in use since then
    normal_slots: float = 0.0

    def at(self, now_s: float) -> Usage:
        """As long as no plan changed it since `at_s`."""
        kept = 0.5 ** (max(0.0, now_s - (now_s if self.at_s is None else self.at_s)) / HALF_LIFE_S)
        more_s = HALF_LIFE_S / math.log(2) * (1 - kept)  # the integral of what is kept of each second
        return Usage(
            self.high_s * kept + self.high_slots * more_s, self.normal_s * kept + self.normal_slots * more_s, now_s, self.high_slots, self.normal_slots
        )  # fmt: skip

    def using(self, placed: Iterable[Job]) -> Usage:
        """With these jobs on the slots from `at_s` on."""
        high, normal = shares(placed)
        return self._replace(high_slots=high, normal_slots=normal)

    def of(self, high: bool) -> float:
        """Of its weight: the class with less is served first while both wait."""
        return self.high_s / HIGH_WEIGHT if high else self.normal_s / NORMAL_WEIGHT

    def plus(self, job: Job, seconds: float) -> Usage:
        """With a job that is about to run so long, or half-life if that is longer."""
        more = job.slots * min(seconds, HALF_LIFE_S)
        return self._replace(high_s=self.high_s + more) if job.high else self._replace(normal_s=self.normal_s + more)


NOTHING_USED = Usage()


def shares(placed: Iterable[Job]) -> tuple[float, float]:
    """Slots in use by the high and by the normal class."""
    jobs = list(placed)
    neighbours = Counter(slot for job in jobs for slot in job.on)
    sums = [0.0, 0.0]
    for job in jobs:
        sums[not job.high] += sum(1 / neighbours[slot] for slot in job.on)
    return sums[0], sums[1]


def high_slots(slots: int) -> int:
    """How many slots the high class may take back from others: 70%, at least one."""
    return max(1, int(HIGH_WEIGHT * slots + 1e-9))


# What the plan is made from, and what it says is to be done.

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


class PlannerState(NamedTuple):
    """What goes from plan to plan."""

    usage: Usage = NOTHING_USED
    fifo: Fifo | None = None  # None: it begins anew
    fifo_high: Fifo | None = None  # of the high class alone, on its 70 %
    gate: tuple[int, float] | None = None  # the overdue job that lets others pass, and since when it could have started


NOTHING_CARRIED = PlannerState()


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
    carried: PlannerState = NOTHING_CARRIED
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


class PairSpeeds(NamedTuple):
    """Measured speeds of two families that share a slot, of their own baselines."""

    pair: Pair
    speeds: tuple[float, float]


Action = StartJob | StopJob | Promise | PairSpeeds


@dataclass(frozen=True)
class JobPlan:
    actions: tuple[Action, ...]
    reasons: Mapping[int, str]  # of each job that goes on waiting, in words
    blocked: frozenset[
        int
    ]  # those of them that no end of another job of the queue helps: others have what they need, or it is not there
    carried: PlannerState


# Which job is on which slot, and when slots should be free: as it is, and as a plan changes it.


class Reservation(NamedTuple):
    """A job that nothing may delay: its slots should be free at `at_s`, and `spare` others then."""

    job: int
    at_s: float
    spare: int


class Layout:
    """Mutable, for the time of one plan."""

    def __init__(self, state: QueueState, remaining_s: dict[int, float], now_s: float) -> None:
        self.now_s = now_s
        self.slots = {slot.id: slot for slot in state.slots}
        self.jobs: dict[str, list[Job]] = {slot.id: [] for slot in state.slots}
        self.ends_s = {slot.id: float("inf") if slot.foreign else now_s for slot in state.slots}
        self.kept_for: dict[str, int] = {}
        self._free: dict[float | None, list[str]] = {}  # by need, until something is put somewhere
        for job in state.jobs.values():
            if job.placed:
                self.put(job, job.on, now_s + remaining_s[job.id])
            self.keep(job, job.promised)

    def put(self, job: Job, slots: Iterable[str], end_s: float) -> None:
        self._free.clear()
        for slot in slots:
            if slot in self.jobs:  # else the card is gone
                self.jobs[slot].append(job)
                self.ends_s[slot] = max(self.ends_s[slot], end_s)

    def keep(self, job: Job, slots: Iterable[str]) -> None:
        self._free.clear()
        self.kept_for.update((slot, job.id) for slot in slots)

    def free(self, need_mib: float | None) -> list[str]:
        """Slots without a job that hold so much and are kept for none, the smallest first."""
        if (found := self._free.get(need_mib)) is None:
            empty = [
                slot
                for slot in self.slots.values()
                if not slot.foreign and not self.jobs[slot.id] and slot.holds(need_mib) and slot.id not in self.kept_for
            ]
            found = self._free[need_mib] = [slot.id for slot in sorted(empty, key=lambda slot: slot.memory_mib or 0.0)]
        return found

    def single(self, may_share: Iterable[int]) -> list[tuple[Slot, Job]]:
        """Slots with one running job that may share."""
        allowed = set(may_share)
        return [
            (self.slots[slot], jobs[0])
            for slot, jobs in self.jobs.items()
            if len(jobs) == 1 and jobs[0].id in allowed and not self.slots[slot].foreign and slot not in self.kept_for
        ]

    def usable(self, need_mib: float | None) -> int:
        """Slots that hold so much, busy or not, without those that others have."""
        return sum(not slot.foreign and slot.holds(need_mib) for slot in self.slots.values())

    def by_end(self, need_mib: float | None) -> list[tuple[float, str]]:
        """Slots that hold so much and are not others', in the order in which they should be free; those kept for a job last."""
        return sorted(
            (self.ends_s[slot.id] if slot.id not in self.kept_for else float("inf"), slot.id)
            for slot in self.slots.values()
            if not slot.foreign and slot.holds(need_mib)
        )

    def reserve(self, job: Job, need_mib: float | None) -> Reservation | None:
        """The earliest time at which enough slots should be free; None where that cannot be said."""
        ends = [end_s for end_s, _ in self.by_end(need_mib) if end_s < float("inf")]
        if len(ends) < job.slots:
            return None
        at_s = ends[job.slots - 1]
        return Reservation(job.id, at_s, sum(end_s <= at_s for end_s in ends) - job.slots)


# Which job is next: what first-in-first-out would have started, then the class that had less, then the highest response ratio.


def overdue(waiting: Sequence[Job], fifo: Fifo, fifo_high: Fifo, share: float, now_s: float) -> list[Job]:
    """Jobs that first-in-first-out would have started, the earliest first. The high class has a queue of its own, too."""
    late_s, late_high_s, never = share * fifo.longest_s, share * fifo_high.longest_s, float("inf")
    found = list[tuple[float, int, Job]]()
    for job in waiting:
        due_s = fifo.starts_s.get(job.id, never) + late_s
        if job.high:
            due_s = min(due_s, fifo_high.starts_s.get(job.id, never) + late_high_s)
        if due_s <= now_s:
            found.append((due_s, job.id, job))
    return [job for _, _, job in sorted(found, key=lambda row: row[:2])]


class ClassOrder:
    """Each class by response ratio; while both wait, the one with less usage for its weight goes first."""

    def __init__(self, waiting: Sequence[Job], predicted: Mapping[int, float], usage: Usage, now_s: float) -> None:
        self._predicted, self._usage = predicted, usage
        ordered = sorted(
            waiting, key=lambda job: (-job.waited(now_s) / predicted[job.id], job.id)
        )  # of (waited + predicted) / predicted
        self._high = [job for job in ordered if job.high]
        self._normal = [job for job in ordered if not job.high]

    def __iter__(self) -> Iterator[Job]:
        high, normal = iter(self._high), iter(self._normal)
        first, second = next(high, None), next(normal, None)
        while first or second:
            if first and (second is None or self._usage.of(True) <= self._usage.of(False)):
                yield first
                first = next(high, None)
            elif second:
                yield second
                second = next(normal, None)

    def started(self, job: Job) -> None:
        """It counts to its class from now on, also for those that are still to come."""
        self._usage = self._usage.plus(job, self._predicted[job.id])


# Two jobs on one GPU: whether their memory fits, how fast both are likely to be, and what is gained.

SLOWDOWN, POWER = 0.65, 1.5  # of 1,388 measured pairs: speed = 1 / (1 + 0.65 (u1 u2)^1.5), mean error 0.067


def pair_of(first: str, second: str) -> Pair:
    return (first, second) if first <= second else (second, first)


def speeds(first: str, second: str, state: QueueState) -> tuple[float, float, bool] | None:
    """Of two families side by side, of their speeds alone, and whether that is measured; None where an activity is not known."""
    if measured := state.pairs.get(pair_of(first, second)):
        return (*(measured if first <= second else measured[::-1]), True)
    one, other = state.families.get(first, NOTHING).activity, state.families.get(second, NOTHING).activity
    if one is None or other is None:
        return None
    speed = 1 / (1 + SLOWDOWN * (one * other) ** POWER)
    return speed, speed, False


def with_margin(peak_mib: float, rules: PlanRules) -> float:
    return rules.memory_margin * peak_mib + rules.memory_margin_mib


def fit(host: FamilyRecord, guest: FamilyRecord, slot: Slot, rules: PlanRules) -> bool:
    """By both measured peaks, and by what the driver says is free now."""
    if host.peak_mib is None or guest.peak_mib is None or slot.memory_mib is None or slot.free_mib is None:
        return False
    need = with_margin(guest.peak_mib, rules)
    return with_margin(host.peak_mib, rules) + need <= slot.memory_mib and need <= slot.free_mib


def may_share(job: Job, rules: PlanRules) -> bool:
    """With its user's consent, unless memory or neighbours have failed it before."""
    return job.shares and job.needs_mib is None and job.stops < rules.most_stops


def cores_suffice(guest: FamilyRecord, placed: Iterable[Job], state: QueueState) -> bool:
    """A guest that waits for data needs cores of its own for it."""
    if guest.data_bound <= 0 or guest.loader_cores <= 0:
        return True
    busy = sum(state.families.get(job.family, NOTHING).loader_cores for job in placed)
    return busy + guest.loader_cores <= state.cores


def neighbourhood(job: Job, single: list[tuple[Slot, Job]], free: int, state: QueueState) -> list[Slot] | None:
    """Of slots with one job each those on which `job` costs least, so many that with `free` free ones it has enough.

    None where they are too few or it gains too little. The loss of a host with several slots counts once for each.
    """
    rules, guest, need = state.rules, state.families.get(job.family, NOTHING), job.slots - free
    places: dict[int, list[Slot]] = {}  # by host
    costs: dict[int, tuple[float, float]] = {}  # by host: what it loses, in slots; the guest's speed
    for slot, host in single:
        if host.id not in costs and (both := _bearable(job, host, state)):
            costs[host.id] = ((1 - both[1]) * host.slots, both[0])
        if host.id in costs and fit(state.families.get(host.family, NOTHING), guest, slot, rules):
            places.setdefault(host.id, []).append(slot)
    chosen, loss, speed = list[Slot](), 0.0, 1.0
    for host_id in sorted(places, key=lambda host_id: (costs[host_id][0] / min(len(places[host_id]), need), host_id)):
        if len(chosen) < need:
            chosen += places[host_id][: need - len(chosen)]
            loss, speed = loss + costs[host_id][0], min(speed, costs[host_id][1])
    gain = job.slots * speed - free - loss
    return chosen if len(chosen) == need and gain > rules.least_gain else None


def _bearable(guest: Job, host: Job, state: QueueState) -> tuple[float, float] | None:
    """The speeds of both, if neither should fall below its floor, and one can leave if it does."""
    if (both := speeds(guest.family, host.family, state)) is None:
        return None
    rules, (ours, theirs, measured) = state.rules, both
    floor = rules.share_floor if measured else rules.unmeasured_floor
    if not measured and not guest.resumes and (not host.resumes or host.slots > guest.slots):
        return None  # neither could leave again, or it would be the larger
    if ours < max(floor, rules.high_floor * guest.high) or theirs < max(floor, rules.high_floor * host.high):
        return None
    return ours, theirs


# After five minutes beside a neighbour: is each nearly as fast as alone?

NEWS = 0.02  # by which a measured speed must differ from the one that is known


def checked(state: QueueState, now_s: float) -> list[PairSpeeds | StopJob]:
    """What was measured of pairs, and which job leaves: of two the newer that can resume."""
    found, leaving = list[PairSpeeds | StopJob](), set[int]()
    neighbours = _neighbours(state)
    for job_id in sorted(neighbours):
        job = state.jobs[job_id]
        for other in neighbours[job_id]:
            if other.id < job.id or not _measured(job, state, now_s) or not _measured(other, state, now_s):
                continue
            to_blame = (
                _to_blame(job, neighbours[job.id], state) == other.id,
                _to_blame(other, neighbours[other.id], state) == job.id,
            )
            pair = pair_of(job.family, other.family)
            pace = (job.speed or 1.0, other.speed or 1.0)
            pace = pace if job.family <= other.family else pace[::-1]
            slow = (to_blame[0] and _slow(job, state)) or (to_blame[1] and _slow(other, state))
            change = max(abs(old - new) for old, new in zip(state.pairs.get(pair, (9.0, 9.0)), pace, strict=True))
            if all(to_blame) and (change > NEWS or (slow and change > 0)):
                found.append(PairSpeeds(pair, pace))
            newer, older = sorted((job, other), key=lambda each: (-each.started_s, -each.id))
            leaves = newer if newer.resumes else older
            if slow and leaves.resumes and leaves.id not in leaving:
                leaving.add(leaves.id)
                found.append(StopJob(leaves.id, "rolled back", older.id if leaves is newer else newer.id))
    return found


def _measured(job: Job, state: QueueState, now_s: float) -> bool:
    long_enough = job.shared_s is not None and now_s - job.shared_s >= state.rules.check_s
    return long_enough and job.speed is not None and job.steps >= state.rules.check_steps


def _slow(job: Job, state: QueueState) -> bool:
    return (job.speed or 1.0) < (state.rules.high_floor if job.high else state.rules.share_floor)


def _to_blame(job: Job, neighbours: list[Job], state: QueueState) -> int:
    """Of several neighbours the one beside which it is expected to be slowest; of equals the newest."""

    def expected(other: Job) -> tuple[float, float]:
        both = speeds(job.family, other.family, state)
        return (both[0] if both else 0.0, -other.started_s)

    return min(neighbours, key=expected).id


def _neighbours(state: QueueState) -> dict[int, list[Job]]:
    """By running job, those with which it has a slot in common."""
    on: dict[str, list[Job]] = {}
    for job in state.jobs.values():
        if job.state == "running":
            for slot in job.on:
                on.setdefault(slot, []).append(job)
    found: dict[int, dict[int, Job]] = {}
    for jobs in on.values():
        for job in jobs:
            found.setdefault(job.id, {}).update((other.id, other) for other in jobs if other.id != job.id)
    return {job: list(others.values()) for job, others in found.items() if others}


# Why a job waits, in words: "waits for 2 GPUs; job 12 should end 14:20". A time is said only where jobs like it have ended.

FAR_S = 20 * 3600.0  # from there on the day is named, too


def each_in_words(number: int, slots: tuple[Slot, ...]) -> str:
    """`each of 2 GPUs`, `1 core slot`."""
    return f"{'each of ' if number > 1 else ''}{slots_in_words(number, slots)}"


def slots_in_words(number: int, slots: tuple[Slot, ...]) -> str:
    noun = "core slot" if slots and all(slot.cores for slot in slots) else "GPU"
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_in_words(at_s: float, now_s: float) -> str:
    """`14:20`, `Thu 14:20`, `3 Dec 14:20`, in local time"""
    form = (
        "%H:%M"
        if at_s - now_s < FAR_S
        else "%a %H:%M"
        if at_s - now_s < 6 * 86400
        else f"{time.localtime(at_s).tm_mday} %b %H:%M"
    )
    return time.strftime(form, time.localtime(at_s))


class Reasons:
    """Sentences for the jobs that wait after a plan. What several jobs wait for alike is looked up once."""

    def __init__(
        self,
        slots: tuple[Slot, ...],
        layout: Layout,
        reservation: Reservation | None,
        now_s: float,
        expected_s: Callable[[Job], float | None] = lambda job: None,
    ) -> None:
        """`expected_s`: how long jobs like it take; None where none has ended."""
        self._slots, self._layout, self._reservation, self._now_s = slots, layout, reservation, now_s
        self._expected_s = expected_s
        self._known: dict[tuple[int, float | None, bool], tuple[str, str]] = {}
        self.blocked: set[int] = set()
        """Jobs that no end of another job of the queue helps."""

    def impossible(self, job: Job, need_mib: float | None) -> str:
        """Of a job that no waiting helps."""
        self.blocked.add(job.id)
        if job.slots > len(self._slots):
            return f"asks for {slots_in_words(job.slots, self._slots)}; this host has {len(self._slots)}"
        largest = max((slot.memory_mib or 0.0) for slot in self._slots) / 1024
        wanted = each_in_words(job.slots, self._slots)
        return f"needs {(need_mib or 0.0) / 1024:.1f} GiB on {wanted}; the largest has {largest:.1f} GiB"

    def promised(self, job: Job) -> str:
        stopping = sorted({other.id for slot in job.promised for other in self._layout.jobs.get(slot, [])})
        return f"starts when {_jobs(stopping)} {'have' if len(stopping) > 1 else 'has'} saved and stopped"

    def waits(self, job: Job, need_mib: float | None, ahead: int) -> str:
        """Behind so many others."""
        reserved = self._reservation is not None and self._reservation.job == job.id
        key = job.slots, need_mib, reserved
        if key not in self._known:
            self._known[key] = slots_in_words(job.slots, self._slots), self._until(job.slots, need_mib, reserved)
        wanted, until = self._known[key]
        if self._layout.usable(need_mib) < job.slots:
            self.blocked.add(job.id)
        behind = f" behind {ahead} job{'s' if ahead > 1 else ''}" if ahead else ""
        return f"waits for {wanted}{behind}; {until}"

    def _until(self, slots: int, need_mib: float | None, reserved: bool) -> str:
        free, reservation = len(self._layout.free(need_mib)), self._reservation
        if free < slots or reservation is None or reserved:
            return self._which_ends(slots, need_mib)
        at = time_in_words(reservation.at_s, self._now_s)
        return f"what is free is kept for job {reservation.job}, which should start {at}"

    def _which_ends(self, slots: int, need_mib: float | None) -> str:
        """The job whose end should make enough slots free."""
        layout = self._layout
        if (usable := layout.usable(need_mib)) < slots:
            absent = sum(slot.absent for slot in self._slots)
            used = len(self._slots) - usable - absent
            said = [f"others use {used}"] * (used > 0) + [f"the driver does not name {absent}"] * (absent > 0)
            return f"{' and '.join(said)} of {len(self._slots)}"
        end_s, slot = layout.by_end(need_mib)[slots - 1]
        if end_s == float("inf"):
            return f"some are kept for job {min(layout.kept_for.values())}"
        if not layout.jobs[slot]:
            return "it is next"
        last = max(layout.jobs[slot], key=lambda job: job.id)
        if last.state == "stopping":
            return (
                f"job {last.id} should have saved and stopped by {time_in_words(max(end_s, self._now_s), self._now_s)}"
            )
        expected_s = self._expected_s(last)
        if expected_s is None:
            return f"job {last.id} has to end, and no job like it has ended yet"
        if last.done(self._now_s) >= expected_s:
            return f"job {last.id} has to end, and has run longer than jobs like it"
        return f"job {last.id} should end {time_in_words(max(end_s, self._now_s), self._now_s)}"


def _jobs(ids: list[int]) -> str:
    names = [str(job) for job in ids]
    return (
        f"job {names[0]}"
        if len(names) == 1
        else f"jobs {', '.join(names[:-1])} and {names[-1]}"
        if names
        else "its neighbour"
    )


# Which jobs make room for a job of the high class: only within its 70 %, only those that can resume, never twice in short time.


def victims(
    job: Job, free: list[str], layout: Layout, state: QueueState, spared: set[int], stopping: set[int]
) -> tuple[list[Job], list[str]] | None:
    """The jobs to stop, and the slots that `job` gets with `free` of them; None where it may not, cannot, or need not.

    Those that are `stopping` anyway come first, then those that hold no more slots than are needed, the newest first.
    Only the normal class is stopped and only the high class stops, so that no two jobs can stop each other.
    """
    rules, high = state.rules, high_slots(len(state.slots))
    held = {slot for slot, jobs in layout.jobs.items() if slot in layout.kept_for or any(other.high for other in jobs)}
    if not job.high or len(held) + job.slots > high:
        return None

    def gives_way(other: Job) -> bool:
        return other.id in stopping or (
            not other.high
            and other.resumes
            and other.state == "running"
            and other.id not in spared
            and other.stops < rules.most_stops
            and layout.now_s - other.started_s >= rules.least_run_s
        )

    need = job.slots - len(free)
    if need <= 0:  # its slots are free, and kept from it for a job that is overdue
        return None
    places = list[tuple[bool, int, float, str]]()
    for slot, jobs in layout.jobs.items():
        holds = layout.slots[slot].holds(job.needs_mib or job.declared_mib) and not layout.slots[slot].foreign
        if jobs and holds and slot not in layout.kept_for and all(map(gives_way, jobs)):
            more = [other for other in jobs if other.id not in stopping]
            surplus = max((max(0, other.slots - need) for other in more), default=0)
            places.append((bool(more), surplus, -max(other.started_s for other in jobs), slot))
    if len(places) < need:
        return None
    slots = [slot for _, _, _, slot in sorted(places)[:need]]
    stopped = {other.id: other for slot in slots for other in layout.jobs[slot] if other.id not in stopping}
    return list(stopped.values()), [*free, *slots]
