"""The ledger against the exact truth of simulated jobs that no rule was made with: seeds are drawn anew each time.

python -m benchmarks.ledger_truth                                 20 minutes of one core
LEDGER_JOBS=20 LEDGER_SEED=7 python -m benchmarks.ledger_truth    fewer, or the same ones again

All of it is a simulation: nothing here says what a real driver's counter reads.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tests.ledger_simulator.job import Job
from tests.ledger_simulator.jobs import healthy_job, random_job
from tests.ledger_simulator.judged import Judged, judged, whole
from tests.ledger_simulator.observed import known_of
from tests.ledger_simulator.training import simulated
from tests.ledger_simulator.truth import Truth

from .report import Row, run

JOBS = int(os.environ.get("LEDGER_JOBS", "200"))
HEALTHY = max(10, JOBS // 10)
SEED = int(os.environ.get("LEDGER_SEED", "0")) or secrets.randbelow(2**31)
WINDOWS = 3  # of a job, of each length
TIERS = ("A", "B")
LOSES = 2.0  # points: a job that loses fewer has no largest cause
QUIET = 1.0  # points


class Length(NamedTuple):
    name: str
    seconds: float | None  # None for the whole run
    within_3: float  # must, percent
    within_5: float | None


LENGTHS = (Length("whole run", None, 93.0, 96.0), Length("60 s", 60.0, 93.0, 96.0), Length("10 s", 10.0, 88.0, None))


class Found(NamedTuple):
    tier: str
    length: str
    judged: Judged


def measure() -> list[Row]:
    print(f"seed {SEED}", flush=True)
    seeds = np.random.default_rng(SEED).integers(1, 2**31, JOBS + HEALTHY).tolist()
    found: list[Found] = []
    for done, seed in enumerate(seeds[:JOBS], 1):
        found += [Found(tier, length, its) for tier, length, its in _windows(random_job(seed), seed)]
        if done % 10 == 0:
            print(f"{done} jobs", [round(row.value, 1) for row in _rows(found)], flush=True)
    healthy = [
        judged
        for seed in seeds[JOBS:]
        for tier, length, judged in _windows(healthy_job(seed), seed)
        if length == "10 s"
    ]
    quiet = 100 * float(np.mean([window.loudest <= QUIET for window in healthy]))
    seeded = Row("jobs", JOBS, "", spread=f"seed {SEED}, and {HEALTHY} healthy ones")
    return [seeded, *_rows(found), Row(f"healthy, 10 s: no kind above {QUIET:g} point", quiet, "%", 95.0, True)]


def _windows(job: Job, seed: int) -> Iterator[tuple[str, str, Judged]]:
    machine = simulated(job, seed)
    truth, random = Truth(machine), np.random.default_rng(seed)
    lo, hi = whole(truth)
    windows = [(LENGTHS[0].name, lo, hi)]
    for length in LENGTHS[1:]:
        seconds = length.seconds or 0.0
        windows += [(length.name, at, at + seconds) for at in random.uniform(lo, hi - seconds, WINDOWS).tolist()]
    for tier in TIERS:
        known = known_of(machine, truth, seed, tier)
        yield from ((tier, name, judged(known, truth, (begin, end))) for name, begin, end in windows)


def _rows(found: list[Found]) -> list[Row]:
    return [row for tier in TIERS for length in LENGTHS for row in _of(tier, length, found)]


def _of(tier: str, length: Length, found: list[Found]) -> list[Row]:
    chosen = [row.judged for row in found if (row.tier, row.length) == (tier, length.name)]
    errors = np.array([window.error for window in chosen])
    name = f"tier {tier}, {length.name}"
    median = 0.5 if tier == "B" and length.name != "10 s" else None
    spread = "p90 {:.1f}, p95 {:.1f}, max {:.1f}".format(*np.percentile(errors, [90, 95, 100]))
    rows = [
        Row(f"{name}: worst kind, median", float(np.median(errors)), "points", median, spread=spread),
        Row(f"{name}: within 3 points", 100 * float(np.mean(errors <= 3)), "%", length.within_3, True),
        Row(f"{name}: within 5 points", 100 * float(np.mean(errors <= 5)), "%", length.within_5, True),
    ]
    losing = [window for window in chosen if window.lost >= LOSES]
    if length.seconds is None and losing:
        right = 100 * float(np.mean([window.names_the_largest for window in losing]))
        rows.append(
            Row(
                f"{name}: largest cause named right",
                right,
                "%",
                97.0,
                True,
                spread=f"of {len(losing)} that lose {LOSES:g} points",
            )
        )
    return rows


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
