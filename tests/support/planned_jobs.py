"""Hosts and jobs for tests of the plan, and what must hold of every plan."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from benchmarks.replayed_cluster import Physics, ReplayedCluster, Submission
from jobs.plan import (
    Action,
    Job,
    JobPlan,
    PlannerState,
    PlanRules,
    Promise,
    QueueState,
    Slot,
    StartJob,
    StopJob,
    high_slots,
    pair_of,
    plan,
    with_margin,
)

GIB = 1024.0


def gpus(number: int, memory_gib: float = 80.0) -> tuple[Slot, ...]:
    return tuple(Slot(f"gpu-{each}", memory_gib * GIB, memory_gib * GIB) for each in range(number))


def queued(number: int, slots: int = 1, submitted_s: float = 1000.0, **more: object) -> Job:
    return replace(Job(number, "family", slots, submitted_s, queued_s=submitted_s), **more)  # type: ignore[arg-type]


def on_slots(number: int, on: Sequence[str], started_s: float, **more: object) -> Job:
    job = queued(number, len(on), started_s, **more)
    return replace(job, state=job.state if job.state == "stopping" else "running", on=tuple(on), started_s=started_s)


def state_of(jobs: Sequence[Job], slots: Sequence[Slot], **more: object) -> QueueState:
    return replace(QueueState(tuple(slots), {job.id: job for job in jobs}), **more)  # type: ignore[arg-type]


def starts(made: JobPlan) -> dict[int, tuple[str, ...]]:
    return {action.job: action.slots for action in made.actions if isinstance(action, StartJob)}


def stops(made: JobPlan) -> dict[int, str]:
    return {action.job: action.why for action in made.actions if isinstance(action, StopJob)}


class CheckedPlan:
    """Our plan in a replay; each is checked."""

    def __init__(self, rules: PlanRules | None = None) -> None:
        self.rules = rules or PlanRules()
        self.carried = PlannerState()
        self.plans = 0
        self.shared = 0
        self.stopped: list[StopJob] = []

    def decide(self, cluster: ReplayedCluster, now_s: float) -> Sequence[Action]:
        physics = cluster.physics
        state = QueueState(
            cluster.slots, cluster.jobs, cluster.records, cluster.pairs, cluster.ended_s,
            self.carried, physics.cores, self.rules,
        )  # fmt: skip
        before = deepcopy(state) if self.plans % 50 == 0 else None
        made = plan(state, now_s)
        if before:
            assert before == state, "a plan changes nothing"
            assert plan(before, now_s) == made, "a plan follows from its state"
        check(state, made)
        self.carried = made.carried
        self.plans += 1
        self.shared += sum(isinstance(action, StartJob) and bool(action.beside) for action in made.actions)
        self.stopped += [action for action in made.actions if isinstance(action, StopJob)]
        return made.actions


def check(state: QueueState, made: JobPlan) -> None:
    """What must hold of every plan."""
    on: dict[str, list[Job]] = {slot.id: [] for slot in state.slots}
    kept: dict[str, int] = {}
    for job in state.jobs.values():
        for slot in job.on:
            on[slot].append(job)
        kept.update((slot, job.id) for slot in job.promised)
    foreign = {slot.id for slot in state.slots if slot.foreign}
    started, stopped = set[int](), set[int]()
    for action in made.actions:
        if isinstance(action, StopJob):
            job = state.jobs[action.job]
            assert job.state == "running" and job.resumes and job.id not in stopped
            assert action.why == "rolled back" or (not job.high and state.jobs[action.because].high)
            stopped.add(job.id)
        elif isinstance(action, Promise):
            assert (
                not set(action.slots) & (kept.keys() | foreign)
                and len(set(action.slots)) == state.jobs[action.job].slots
            )
            assert any(on[slot] for slot in action.slots), "free slots are given at once, not promised"
            kept.update((slot, action.job) for slot in action.slots)
            high = {slot for job in state.jobs.values() if job.high for slot in (*job.on, *job.promised)} | set(
                action.slots
            )
            high |= {slot for slot, jobs in on.items() if any(job.high for job in jobs)}
            assert len(high) <= high_slots(len(state.slots)), "the high class takes no more back than its 70 %"
        elif isinstance(action, StartJob):
            job = state.jobs[action.job]
            assert job.waiting and job.id not in started
            started.add(job.id)
            _check_slots(job, action, state, on, kept)
            assert not set(action.slots) & foreign
            for slot in action.slots:
                on[slot].append(job)
    for job in state.jobs.values():
        waits = job.state in ("queued", "held") and job.id not in started
        assert waits == (job.id in made.reasons), f"each waiting job has a reason, and only those: {job}"
    assert all(reason and "\n" not in reason for reason in made.reasons.values())


def _check_slots(job: Job, action: StartJob, state: QueueState, on: dict[str, list[Job]], kept: dict[str, int]) -> None:
    assert len(set(action.slots)) == job.slots, "as many as were asked for, none twice"
    slots = {slot.id: slot for slot in state.slots}
    for slot in action.slots:
        assert kept.get(slot, job.id) == job.id, "kept for no other"
        assert slots[slot].holds(job.needs_mib or job.declared_mib)
        neighbours = on[slot]
        assert len(neighbours) <= 1 and {each.id for each in neighbours} <= set(action.beside), "two at most"
        for host in neighbours:
            assert job.shares and host.shares and host.state == "running", "with the consent of both"
            assert job.resumes or host.resumes or pair_of(job.family, host.family) in state.pairs, (
                "one can leave, or it is known"
            )
            assert not job.needs_mib and not host.needs_mib
            peaks = [state.families[each.family].peak_mib for each in (job, host)]
            assert sum(with_margin(peak or 0.0, state.rules) for peak in peaks) <= (slots[slot].memory_mib or 0.0)
            assert with_margin(peaks[0] or 0.0, state.rules) <= (slots[slot].free_mib or 0.0)


def replayed(
    submissions: Sequence[Submission], scheduler: CheckedPlan, slots: int = 8, seed: int = 0
) -> ReplayedCluster:
    return ReplayedCluster(submissions, Physics(slots=slots, seed=seed), scheduler).run()


def waits(cluster: ReplayedCluster) -> list[float]:
    """Seconds of each job that was on no slot."""
    return [each.ended_s - each.submission.submit_s - each.ran_s for each in cluster.attempts.values()]
