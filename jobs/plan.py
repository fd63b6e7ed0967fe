"""What is to be done now with the jobs of a host: pure, the same in the daemon and in the replay.

    plan(state, now_s) -> JobPlan(actions, reasons, ...)

1. Jobs that are slowed by a neighbour: the newer one leaves (`checking`).
2. Slots that were promised are given.
3. The others in order (`order`): what first-in-first-out would have started by now, then by class and response ratio.
   A job starts on free slots, unless that would delay the first job that is overdue (its reservation, as in EASY backfilling);
   else beside a neighbour (`sharing`); else, for the high class within its 70 %, jobs that can resume make room (`preemption`).
4. A job that waits has a reason in words (`reasons`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from .planning.checking import checked
from .planning.family import NOTHING, longest_s, outlived, predicted_s, usual
from .planning.fifo import Fifo
from .planning.job import Job
from .planning.layout import Layout, Reservation
from .planning.order import ByClass, overdue
from .planning.preemption import victims
from .planning.reasons import Reasons
from .planning.sharing import cores_suffice, may_share, neighbourhood
from .planning.state import Action, Carried, JobPlan, Promise, QueueState, StartJob, StopJob
from .planning.usage import high_slots

STOPPING_S = 60.0  # to save and end
LATE_S = (
    60.0  # a job that started so much later than first in, first out has waited; less is the time that a start takes
)


def plan(state: QueueState, now_s: float) -> JobPlan:
    """Costs under 10 ms with 1,000 jobs in the queue."""
    return _Planning(state, now_s).plan()


class _Planning:
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
        self.fifo = (state.carried.fifo or Fifo(some)).of(some).advanced(jobs, self._length, now_s)
        high = [job for job in jobs if job.high and job.slots <= most]
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
        return JobPlan(tuple(self.actions), reasons, blocked, Carried(usage, self.fifo, self.fifo_high, self.gate))

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
        rest = ByClass([job for job in queue if job.id not in ids], self.predicted, self.usage, self.now_s)
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
                found[job.id] = "is held by its user"
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
