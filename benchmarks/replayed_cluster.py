"""A host of GPUs on which a trace of jobs is replayed: who runs where, how fast, and what a scheduler makes of it.

What it assumes is in `Physics`; a scheduler sees nothing of it but what a dashboard can measure.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from jobs.plan import (
    NOTHING,
    Action,
    FamilyRecord,
    Job,
    Pair,
    PairSpeeds,
    Promise,
    Slot,
    StartJob,
    StopJob,
    after_out_of_memory,
    queued_again,
)

MEASURED_S = 600.0  # after which peak and activity of a family are known
CHECK_S = 300.0  # after which the speed beside a neighbour is known
TICK_S = 3600.0  # at least so often a scheduler is asked while a job waits
KEPT_DURATIONS = 8


class Submission(NamedTuple):
    """A job of a trace, with what only the replay knows."""

    submit_s: float
    duration_s: float  # alone
    slots: int
    family: str
    high: bool
    shares: bool
    resumes: bool
    peak_mib: float  # a slot
    declared_mib: float | None
    activity: float
    data_bound: float = 0.0
    loader_cores: float = 0.0


class Physics(NamedTuple):
    """What is assumed of the host."""

    slots: int = 8
    memory_mib: float = 81920.0
    cores: int = 96
    slowdown: float = 0.65  # speed of each of two = 1 / (1 + slowdown (u1 u2)^power)
    power: float = 1.5
    pair_noise: float = 0.08  # standard deviation of a pair's speed around that; mean error 0.067
    stop_s: float = 30.0  # from SIGTERM to the end
    restart_s: float = 60.0  # of a resumed job until its first new step
    seed: int = 0


@dataclass
class Attempt:
    """What the replay knows of a job beside what the plan does."""

    submission: Submission
    left_s: float  # of work alone, with restarts
    rate: float = 0.0
    since_s: float = 0.0  # `left_s` is as of then
    version: int = 0  # of its rate: events of older ones are void
    ran_s: float = 0.0  # on slots
    ended_s: float = float("nan")
    stops: int = 0
    out_of_memory: int = 0


class Scheduler(Protocol):
    def decide(self, cluster: ReplayedCluster, now_s: float) -> Sequence[Action]: ...


@dataclass
class Totals:
    """While a job waits: seconds, slot-seconds of activity, and of work done."""

    waiting_s: float = 0.0
    activity_s: float = 0.0
    work_s: float = 0.0
    ends_s: float = 0.0


class ReplayedCluster:
    """`run()` replays all submissions until the last job has ended."""

    def __init__(self, submissions: Sequence[Submission], physics: Physics, scheduler: Scheduler) -> None:
        self.physics, self._scheduler = physics, scheduler
        self.submissions = sorted(submissions, key=lambda each: each.submit_s)
        self.jobs: dict[int, Job] = {}
        self.waiting: dict[int, Job] = {}  # of them, in the order of submission
        self.attempts: dict[int, Attempt] = {}
        self.records: dict[str, FamilyRecord] = {}
        self.pairs: dict[Pair, tuple[float, float]] = {}
        self.ended_s: dict[int, float] = {}
        self.totals = Totals()
        self.on: dict[str, list[int]] = {f"gpu-{number}": [] for number in range(physics.slots)}
        self.slots = tuple(Slot(slot, physics.memory_mib, physics.memory_mib) for slot in self.on)
        self._pair_speeds: dict[Pair, float] = {}
        self._events: list[tuple[float, int, str, int, int]] = []
        self._number = 0
        self._activity = self._work = 0.0

    def run(self) -> ReplayedCluster:
        for number, submission in enumerate(self.submissions):
            self._push(submission.submit_s, "submit", number)
        now_s = tick_s = 0.0
        while self._events:
            time_s = self._events[0][0]
            if self.waiting:
                self.totals.waiting_s += time_s - now_s
                self.totals.activity_s += (time_s - now_s) * self._activity
                self.totals.work_s += (time_s - now_s) * self._work
            now_s, news = time_s, False
            while self._events and self._events[0][0] <= now_s:
                _, _, kind, job, version = heapq.heappop(self._events)
                news |= self._happens(kind, job, version, now_s)
            if news:
                self._act(self._scheduler.decide(self, now_s), now_s)
                if self.waiting and now_s >= tick_s:
                    tick_s = now_s + TICK_S
                    self._push(tick_s, "tick", 0)
        self.totals.ends_s = now_s
        return self

    def free(self) -> list[str]:
        return [slot for slot, jobs in self.on.items() if not jobs]

    def free_mib(self, slot: str) -> float:
        return self.physics.memory_mib - sum(self.attempts[job].submission.peak_mib for job in self.on[slot])

    def _happens(self, kind: str, number: int, version: int, now_s: float) -> bool:
        """Whether a scheduler must be asked."""
        if kind == "submit":
            submission = self.submissions[number]
            self.attempts[number] = Attempt(submission, submission.duration_s)
            self._set(
                Job(
                    number, submission.family, submission.slots, now_s, submission.high, submission.shares, submission.resumes,
                    submission.declared_mib, queued_s=now_s,
                )
            )  # fmt: skip
            return True
        if kind == "tick":
            return bool(self.waiting)
        if number not in self.jobs or self.attempts[number].version != version:
            return False
        job, attempt = self.jobs[number], self.attempts[number]
        if kind == "end":
            self._ends(job, attempt, now_s)
        elif kind == "stopped":
            self._leaves(job, attempt, now_s)
            attempt.left_s += self.physics.restart_s
            work_s = attempt.submission.duration_s - attempt.left_s
            self._set(replace(queued_again(job, now_s, max(0.0, work_s)), waited_s=job.waited_s, stops=job.stops + 1))
        elif kind == "measured":
            self._measured(attempt.submission)
        elif kind == "checked":
            self._set(replace(job, speed=attempt.rate, steps=1000))
        return True

    def _ends(self, job: Job, attempt: Attempt, now_s: float) -> None:
        self._leaves(job, attempt, now_s)
        self._measured(attempt.submission)
        record = self.records[job.family]
        durations = (*record.durations_s, attempt.submission.duration_s)[-KEPT_DURATIONS:]
        self.records[job.family] = record._replace(durations_s=durations)
        self.ended_s[job.id] = attempt.submission.duration_s
        attempt.ended_s = now_s
        del self.jobs[job.id]

    def _measured(self, submission: Submission) -> None:
        record = self.records.get(submission.family, NOTHING)
        self.records[submission.family] = record._replace(
            peak_mib=max(submission.peak_mib, record.peak_mib or 0.0), activity=submission.activity,
            data_bound=submission.data_bound, loader_cores=submission.loader_cores,
        )  # fmt: skip

    def _act(self, actions: Sequence[Action], now_s: float) -> None:
        for action in actions:
            if isinstance(action, PairSpeeds):
                self.pairs[action.pair] = action.speeds
            elif isinstance(action, Promise):
                self._set(replace(self.jobs[action.job], promised=action.slots))
            elif isinstance(action, StopJob):
                self._stops(self.jobs[action.job], now_s)
            elif isinstance(action, StartJob):
                self._starts(self.jobs[action.job], action.slots, now_s)
        self.slots = tuple(replace(slot, free_mib=self.free_mib(slot.id)) for slot in self.slots)

    def _starts(self, job: Job, slots: tuple[str, ...], now_s: float) -> None:
        assert job.waiting and len(set(slots)) == job.slots
        attempt = self.attempts[job.id]
        attempt.since_s = now_s
        for slot in slots:
            self.on[slot].append(job.id)
        waited_s = job.waited(now_s)
        self._set(replace(job, state="running", on=slots, promised=(), started_s=now_s, waited_s=waited_s))
        over = [slot for slot in slots if self.free_mib(slot) < 0]
        if over:
            attempt.out_of_memory += 1
            self._leaves(self.jobs[job.id], attempt, now_s)
            again = after_out_of_memory(self.jobs[job.id], attempt.submission.peak_mib, now_s, self.physics.memory_mib)
            assert again
            self._set(replace(again, waited_s=waited_s))
            self._push(now_s + 1, "tick", 0)
            return
        self._paced(slots, now_s)
        if self.records.get(job.family, NOTHING).activity is None:
            self._push(now_s + MEASURED_S, "measured", job.id, attempt.version)

    def _stops(self, job: Job, now_s: float) -> None:
        attempt = self.attempts[job.id]
        self._progress(attempt, now_s)
        attempt.rate, attempt.version, attempt.stops = 0.0, attempt.version + 1, attempt.stops + 1
        self._set(replace(job, state="stopping"))
        self._push(now_s + self.physics.stop_s, "stopped", job.id, attempt.version)
        self._paced(job.on, now_s)

    def _leaves(self, job: Job, attempt: Attempt, now_s: float) -> None:
        self._progress(attempt, now_s)
        attempt.rate, attempt.version = 0.0, attempt.version + 1
        for slot in job.on:
            self.on[slot].remove(job.id)
        self._paced(job.on, now_s)

    def _progress(self, attempt: Attempt, now_s: float) -> None:
        attempt.left_s -= attempt.rate * (now_s - attempt.since_s)
        attempt.ran_s += now_s - attempt.since_s
        attempt.since_s = now_s

    def _paced(self, slots: Sequence[str], now_s: float) -> None:
        """The jobs on these slots go on at the speed that their neighbours leave them."""
        for number in dict.fromkeys(job for slot in slots for job in self.on[slot]):
            job, attempt = self.jobs[number], self.attempts[number]
            if job.state != "running":
                continue
            rate = min(self._speed(number, slot) for slot in job.on)
            shared = any(len(self.on[slot]) > 1 for slot in job.on)
            if rate == attempt.rate and shared == (job.shared_s is not None):
                continue
            self._progress(attempt, now_s)
            attempt.rate, attempt.version = rate, attempt.version + 1
            self._set(replace(job, shared_s=now_s if shared else None, speed=None, steps=0))
            self._push(now_s + max(0.0, attempt.left_s) / rate, "end", number, attempt.version)
            if shared:
                self._push(now_s + CHECK_S, "checked", number, attempt.version)
        self._activity = self._work = 0.0
        for number_on in self.on.values():
            paces = [(self.attempts[number].rate, self.attempts[number].submission.activity) for number in number_on]
            self._activity += min(1.0, sum(rate * activity for rate, activity in paces))
            self._work += sum(rate for rate, _ in paces)

    def _speed(self, number: int, slot: str) -> float:
        """Beside all that run on that slot."""
        ours = self.attempts[number].submission
        slowdown = 0.0
        for other in self.on[slot]:
            if other != number and self.jobs[other].state == "running":
                theirs = self.attempts[other].submission
                slowdown += 1 / self._pair_speed(ours, theirs) - 1
        return 1 / (1 + slowdown)

    def _pair_speed(self, ours: Submission, theirs: Submission) -> float:
        pair = (ours.family, theirs.family)
        if pair not in self._pair_speeds:
            physics = self.physics
            speed = 1 / (1 + physics.slowdown * (ours.activity * theirs.activity) ** physics.power)
            noise = random.Random(f"{physics.seed} {pair}").gauss(0.0, physics.pair_noise)
            self._pair_speeds[pair] = min(1.0, max(0.2, speed + noise * (1 - speed > 0.01)))
        return self._pair_speeds[pair]

    def _set(self, job: Job) -> None:
        self.jobs[job.id] = job
        if job.waiting:
            if job.id not in self.waiting or self.waiting[job.id] is not job:
                self.waiting[job.id] = job
        else:
            self.waiting.pop(job.id, None)

    def _push(self, time_s: float, kind: str, number: int, version: int = 0) -> None:
        self._number += 1
        heapq.heappush(self._events, (time_s, self._number, kind, number, version))
