"""Traces of jobs for replays: Philly's and Muri's from files, and some that are drawn.

What the traces lack is drawn, by seed: families, classes, consent, memory, activity.
"""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.replayed_cluster import Submission

DAY_S = 86400.0
MAX_SLOTS = 8


class TraceJob(NamedTuple):
    """What a trace says."""

    submit_s: float
    duration_s: float
    slots: int


class Mix(NamedTuple):
    """What is assumed of the jobs."""

    activity: float = 0.5  # mean over families
    spread: float = 4.0  # concentration of the Beta distribution around it
    small: float = 0.55  # share of families whose peak is at most half of a card (Perlmutter: 55 %)
    high: float = 0.3
    resumes: float = 0.5
    shares: float = 1.0
    family_spread: float = 1.0  # of the logarithm of durations inside a family
    family_jobs: int = 12


def philly(folder: Path, cluster: str, days: tuple[float, float] = (0, 200)) -> list[TraceJob]:
    """The jobs of one virtual cluster, or of "all"."""
    with gzip.open(folder / "philly.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if cluster == "all" or row["vc"].startswith(cluster)]
    jobs = [TraceJob(float(row["submit_s"]), float(row["duration_s"]), int(row["gpus"])) for row in rows]
    return [
        job
        for job in jobs
        if job.slots <= MAX_SLOTS and job.duration_s > 0 and days[0] <= job.submit_s / DAY_S < days[1]
    ]


def muri(folder: Path, number: int) -> list[TraceJob]:
    with gzip.open(folder / f"muri-trace{number}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    jobs = [
        TraceJob(float(row["submit_time"]) / 1000, float(row["duration"]) / 1000, int(row["num_gpu"])) for row in rows
    ]
    return [job for job in jobs if job.slots <= MAX_SLOTS and job.duration_s > 0]


def drawn(seed: int, days: float = 14.0, a_day: float = 40.0) -> list[TraceJob]:
    """A trace of the same kind: more by day than by night, most jobs short and on one GPU."""
    chance, jobs, time_s = random.Random(seed), list[TraceJob](), 0.0
    while time_s < days * DAY_S:
        pace = a_day / DAY_S * (1 + 0.8 * math.sin(2 * math.pi * time_s / DAY_S))
        time_s += chance.expovariate(pace)
        slots = chance.choices((1, 2, 4, 8), (0.72, 0.12, 0.1, 0.06))[0]
        jobs.append(TraceJob(time_s, min(6 * DAY_S, max(20.0, chance.lognormvariate(7.5, 2.0))), slots))
    return jobs


def loaded(jobs: Sequence[TraceJob], load: float, slots: int, seed: int) -> list[TraceJob]:
    """Some of the jobs, drawn so that they would keep that part of the slots busy."""
    span = max(job.submit_s for job in jobs) - min(job.submit_s for job in jobs)
    chance = random.Random(f"load {seed}")
    share = load * slots * span / sum(job.duration_s * job.slots for job in jobs)
    return [job for job in jobs if chance.random() < share]


def with_mix(jobs: Sequence[TraceJob], mix: Mix, memory_mib: float, seed: int) -> list[Submission]:
    """Neighbours by size and noisy length are a family; what is alike in it is drawn once."""
    chance = random.Random(f"mix {seed}")
    noisy = sorted(jobs, key=lambda job: (job.slots, math.log(job.duration_s) + chance.gauss(0.0, mix.family_spread)))
    families = list[list[TraceJob]]()
    for job in noisy:
        if not families or len(families[-1]) >= mix.family_jobs or families[-1][0].slots != job.slots:
            families.append([])
        families[-1].append(job)
    found = list[Submission]()
    for number, members in enumerate(families):
        activity = min(0.99, max(0.03, chance.betavariate(mix.activity * mix.spread, (1 - mix.activity) * mix.spread)))
        share = chance.uniform(0.05, 0.5) if chance.random() < mix.small else chance.uniform(0.5, 0.95)
        shares, resumes = chance.random() < mix.shares, chance.random() < mix.resumes
        for job in members:
            peak = min(0.98, share * math.exp(chance.gauss(0.0, 0.02))) * memory_mib
            found.append(
                Submission(
                    job.submit_s, job.duration_s, job.slots, f"family-{number}", chance.random() < mix.high, shares, resumes, peak, None, activity
                )
            )  # fmt: skip
    return sorted(found, key=lambda each: each.submit_s)
