"""Waiting, activity and slow-downs of the plan of jobs, on replayed traces, beside first-in-first-out and others.

python -m benchmarks.scheduler                    traces that are drawn, 12 seeds
python -m benchmarks.scheduler --traces DIR       Philly's and Muri's (philly.csv.gz, muri-trace*.csv.gz)

Philly and Muri say when jobs came, how long they ran and on how many GPUs. Everything else is assumed: `Mix` and `Physics` hold it, and the
last tables vary it by half. No policy was fitted to the replays of the tables: it was tried on others (docs/jobs.md).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmarks.replayed_cluster import Physics, ReplayedCluster, Scheduler, Submission
from benchmarks.replayed_policies import FirstFit, OurPlan, SourceDocument, StrictFifo
from jobs.plan import plan
from jobs.planning.family import FamilyRecord
from jobs.planning.job import Job
from jobs.planning.slot import Slot
from jobs.planning.state import QueueState

from .report import Row, run

SLOWED = 0.85  # of its speed alone, over its time on GPUs, restarts included: below it a job is slowed by more than 15 %
SEEDS = range(101, 113)  # of drawn traces; none of them was looked at while the policy was made
POLICIES: dict[str, Callable[[], Scheduler]] = {
    "first-in-first-out": StrictFifo,
    "first fit": FirstFit,
    "source document, true memory": lambda: SourceDocument(1.0),
    "source document, 1.5 x declared": lambda: SourceDocument(1.5),
    "ours": OurPlan,
}


class Replay(NamedTuple):
    """One trace with everything that is drawn for it."""

    name: str
    submissions: Sequence[Submission]
    physics: Physics


class Figures(NamedTuple):
    """Of one replay under one policy."""

    wait_s: float  # mean
    high_wait_s: float
    longest_s: float
    activity: float  # of a GPU, while a job waits
    work: float  # seconds of work a second and GPU, while a job waits
    completion_s: float  # mean, from submission to end
    slowed: float  # share of jobs
    stops: int
    out_of_memory: int
    mean_activity: float  # of the mix: over GPU-seconds


def replayed(replay: Replay, policy: str) -> Figures:
    cluster = ReplayedCluster(replay.submissions, replay.physics, POLICIES[policy]()).run()
    attempts = list(cluster.attempts.values())
    waits = [each.ended_s - each.submission.submit_s - each.ran_s for each in attempts]
    high = [wait for wait, each in zip(waits, attempts, strict=True) if each.submission.high]
    slowed = sum(each.ran_s * SLOWED > each.submission.duration_s + 1e-6 for each in attempts)
    totals, slots = cluster.totals, cluster.physics.slots
    seconds = [each.submission.duration_s * each.submission.slots for each in attempts]
    mean = sum(length * each.submission.activity for length, each in zip(seconds, attempts, strict=True)) / sum(seconds)
    waiting_s = max(1.0, totals.waiting_s) * slots
    return Figures(
        statistics.mean(waits), statistics.mean(high or [0.0]), max(waits), totals.activity_s / waiting_s, totals.work_s / waiting_s,
        statistics.mean(each.ended_s - each.submission.submit_s for each in attempts), slowed / len(attempts),
        sum(each.stops for each in attempts), sum(each.out_of_memory for each in attempts), mean,
    )  # fmt: skip


def crowded_state(jobs: int) -> QueueState:
    """Eight GPUs with a job each and so many that wait, of 40 families."""
    slots = tuple(Slot(f"gpu-{number}", 81920.0, 60000.0) for number in range(8))
    running = [
        Job(number, f"family-{number}", 1, 0.0, shares=True, resumes=True, state="running", on=(f"gpu-{number}",))
        for number in range(8)
    ]
    waiting = [
        Job(8 + number, f"family-{number % 40}", (1, 1, 2, 4, 8)[number % 5], 60.0 * number, number % 3 == 0, True, number % 2 == 0, queued_s=60.0 * number)
        for number in range(jobs)
    ]  # fmt: skip
    records = {f"family-{number}": FamilyRecord(30000.0, number / 40, durations_s=(600.0 * number, 3600.0)) for number in range(40)}
    state = QueueState(slots, {job.id: job for job in [*running, *waiting]}, records)
    made = plan(state, 80_000.0)
    return replace(state, usage=made.usage, fifo=made.fifo, fifo_high=made.fifo_high)


def measure() -> list[Row]:
    return []


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
