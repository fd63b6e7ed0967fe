"""Waiting, activity and slow-downs of the plan of jobs, on replayed traces, beside first-in-first-out and others.

python -m benchmarks.scheduler                    traces that are drawn, 12 seeds
python -m benchmarks.scheduler --traces DIR       Philly's and Muri's (philly.csv.gz, muri-trace*.csv.gz)

Philly and Muri say when jobs came, how long they ran and on how many GPUs. Everything else is assumed: `Mix` and `Physics` hold it, and the
last tables vary it by half. The rules were tried on other replays than those of the tables (docs/jobs.md).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.replayed_cluster import Physics, ReplayedCluster, Scheduler, Submission
from benchmarks.replayed_policies import FirstFit, OurPlan, SourceDocument, StrictFifo
from benchmarks.replayed_traces import Mix, drawn, loaded, muri, philly, with_mix
from jobs.plan import FamilyRecord, Job, QueueState, Slot, plan

from .report import Row, paired, run

SLOWED = (
    0.85  # of its speed alone, over its time on GPUs, restarts included: below it a job is slowed by more than 15 %
)
SEEDS = range(301, 313)  # of drawn traces; none of them was looked at while the rules were made
CLUSTERS = ("6214e9", "11cb48", "6c71a0", "b436b2", "103959", "0e4a51", "ee9e8c", "7f04ca", "2869ce")
LOAD, MAX_JOBS = 0.6, 1500  # of a trace: the share of eight GPUs that its jobs would keep busy; a longer one is cut
USUAL_MIX, USUAL_HOST = Mix(), Physics()
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
    records = {
        f"family-{number}": FamilyRecord(30000.0, number / 40, durations_s=(600.0 * number, 3600.0))
        for number in range(40)
    }
    state = QueueState(slots, {job.id: job for job in [*running, *waiting]}, records)
    made = plan(state, 80_000.0)
    return replace(state, carried=made.carried)


def of_drawn_traces(
    seeds: Sequence[int] = SEEDS, mix: Mix = USUAL_MIX, physics: Physics = USUAL_HOST, days: float = 21.0
) -> Iterator[Replay]:
    for seed in seeds:
        jobs = with_mix(drawn(seed, days, a_day=20.0), mix, physics.memory_mib, seed)
        yield Replay(f"drawn {seed}", jobs, physics._replace(seed=seed))


def of_files(folder: Path) -> Iterator[Replay]:
    """Philly's virtual clusters but the two on which the plan was tried, twice each; all of them together in other days; Muri's four traces."""
    traces = [(f"{name} {seed}", philly(folder, name), LOAD, seed) for name in CLUSTERS for seed in (41, 42)]
    traces += [(f"all, load {load}", philly(folder, "all", (60, 110)), load, 43) for load in (0.4, 0.6, 0.8)]
    traces += [(f"muri {number}", muri(folder, number), LOAD, 44) for number in (1, 2, 3, 4)]
    for name, jobs, load, seed in traces:
        some = loaded(jobs, load, USUAL_HOST.slots, seed)[:MAX_JOBS]
        yield Replay(name, with_mix(some, USUAL_MIX, USUAL_HOST.memory_mib, seed), USUAL_HOST._replace(seed=seed))


def compared(replays: Iterable[Replay], policies: Sequence[str]) -> list[dict[str, Figures]]:
    """A row a replay; one in which nothing waits under first-in-first-out says nothing and is left out."""
    rows = list[dict[str, Figures]]()
    for replay in replays:
        row = {"first-in-first-out": replayed(replay, "first-in-first-out")}
        if row["first-in-first-out"].wait_s > 0:
            row |= {policy: replayed(replay, policy) for policy in policies}
            rows.append(row)
            print(
                f"{replay.name}, {len(replay.submissions)} jobs:",
                *(_short(row, name) for name in policies),
                file=sys.stderr,
                flush=True,
            )
    return rows


def _short(row: Mapping[str, Figures], policy: str) -> str:
    fifo, other = row["first-in-first-out"], row[policy]
    ratios = f"{_change(other.wait_s, fifo.wait_s):+.0f} % longest {other.longest_s / fifo.longest_s:.2f}"
    return (
        f"{policy} {ratios} activity {_change(other.activity, fifo.activity):+.0f} % slowed {100 * other.slowed:.1f} %;"
    )


def _change(value: float, before: float) -> float:
    """In percent."""
    return 100 * (value / before - 1) if before else 0.0


class Quantity(NamedTuple):
    """What is compared with first-in-first-out, and the bound for ours."""

    name: str
    of: Callable[[Figures, Figures], float]
    unit: str
    budget: float | None = None
    at_least: bool = False


QUANTITIES = (
    Quantity("mean waiting", lambda each, fifo: _change(each.wait_s, fifo.wait_s), "%", -60.0),
    Quantity("waiting of the high class", lambda each, fifo: _change(each.high_wait_s, fifo.high_wait_s), "%"),
    Quantity("time to completion", lambda each, fifo: _change(each.completion_s, fifo.completion_s), "%"),
    Quantity("activity while a job waits", lambda each, fifo: _change(each.activity, fifo.activity), "%"),
    Quantity("work done while a job waits", lambda each, fifo: _change(each.work, fifo.work), "%"),
    Quantity("jobs slowed by more than 15 %", lambda each, fifo: 100 * each.slowed, "% of jobs", 2.0),
)


def _rows(rows: Sequence[Mapping[str, Figures]], policy: str, traces: str) -> list[Row]:
    """Medians over replays with their 95 % intervals, and all of the range."""
    found, ours = list[Row](), policy == "ours"
    for quantity in QUANTITIES:
        values = [quantity.of(row[policy], row["first-in-first-out"]) for row in rows]
        median, low, high = paired(values)
        spread = f"95 % interval {low:.3g} to {high:.3g}; all {min(values):.3g} to {max(values):.3g}"
        budget = quantity.budget if ours else None
        found.append(
            Row(f"{traces}: {quantity.name}, {policy}", median, quantity.unit, budget, quantity.at_least, spread=spread)
        )
    longest = [row[policy].longest_s / row["first-in-first-out"].longest_s for row in rows]
    near, slowed = (
        100 * sum(ratio <= 1.25 for ratio in longest) / len(longest),
        max(100 * row[policy].slowed for row in rows),
    )
    spread = f"median {statistics.median(longest):.2f}"
    return [
        *found,
        Row(f"{traces}: most jobs slowed in a replay, {policy}", slowed, "% of jobs", 5.0 if ours else None),
        Row(
            f"{traces}: longest wait of the worst replay, {policy}",
            max(longest),
            "x",
            1.5 if ours else None,
            spread=spread,
        ),
        Row(
            f"{traces}: replays with a longest wait within 1.25 x, {policy}",
            near,
            "%",
            90.0 if ours else None,
            at_least=True,
        ),
    ]


def main_rows(rows: Sequence[Mapping[str, Figures]], traces: str) -> list[Row]:
    """All policies; then activity where the mix leaves room for it."""
    found = [row for policy in list(POLICIES)[1:] for row in _rows(rows, policy, traces)]
    for policy in list(POLICIES)[1:]:
        room = [row for row in rows if row["first-in-first-out"].mean_activity <= 0.6]
        values = [_change(row[policy].activity, row["first-in-first-out"].activity) for row in room]
        median, low, high = paired(values)
        reached = sum(value >= 35 for value in values)
        spread = f"{len(room)} of {len(rows)} replays; 95 % interval {low:.3g} to {high:.3g}; +35 % in {reached}"
        budget = 20.0 if policy == "ours" else None
        found.append(
            Row(
                f"{traces}: activity where the mix's mean is <= 0.6, {policy}",
                median,
                "%",
                budget,
                at_least=True,
                spread=spread,
            )
        )
    ours = [row["ours"] for row in rows]
    stops, memory = sum(each.stops for each in ours), sum(each.out_of_memory for each in ours)
    return [
        *found,
        Row(
            f"{traces}: stops for others and roll-backs, ours",
            stops / len(rows),
            "a replay",
            spread=f"{memory} out of memory in all",
        ),
    ]


def varied(name: str, mix: Mix = USUAL_MIX, physics: Physics = USUAL_HOST) -> Row:
    """Ours with an assumption changed, on drawn traces."""
    rows = compared(of_drawn_traces(mix=mix, physics=physics), ["first fit", "ours"])
    waits, fit = (
        [_change(row[policy].wait_s, row["first-in-first-out"].wait_s) for row in rows]
        for policy in ("ours", "first fit")
    )
    activity = [_change(row["ours"].activity, row["first-in-first-out"].activity) for row in rows]
    longest = max(row["ours"].longest_s / row["first-in-first-out"].longest_s for row in rows)
    slowed = [100 * row["ours"].slowed for row in rows]
    spread = (
        f"activity {statistics.median(activity):+.0f} %, slowed {statistics.median(slowed):.1f} % (at most {max(slowed):.1f} %), "
        f"longest wait at most {longest:.2f} x"
    )
    return Row(
        f"mean waiting, ours, {name}", statistics.median(waits), "%", baseline=statistics.median(fit), spread=spread
    )


def variations() -> Iterator[Row]:
    """The curve over the mix, then each assumption by half; the baseline is first fit's waiting."""
    for mean in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        yield varied(f"mean activity {mean}", USUAL_MIX._replace(activity=mean))
    for share in (0.0, 0.5):
        yield varied(f"{100 * share:.0f} % of families say --share", USUAL_MIX._replace(shares=share))
    for share in (0.25, 0.75, 1.0):
        yield varied(f"{100 * share:.0f} % of families can resume", USUAL_MIX._replace(resumes=share))
    for share in (0.275, 0.825):
        yield varied(
            f"{100 * share:.3g} % of families need at most half of the memory", USUAL_MIX._replace(small=share)
        )
    for slowdown in (0.325, 0.975):
        yield varied(f"slow-down of pairs {slowdown}", physics=USUAL_HOST._replace(slowdown=slowdown))
    for high in (0.15, 0.45):
        yield varied(f"{100 * high:.0f} % of jobs are of the high class", USUAL_MIX._replace(high=high))
    for spread in (0.05, 0.5, 1.5, 4.0):
        yield varied(f"durations inside a family spread by {spread} (ln)", USUAL_MIX._replace(family_spread=spread))


def cost() -> list[Row]:
    state, taken = crowded_state(1000), list[float]()
    for _ in range(50):
        begun_s = time.process_time()
        plan(state, 90_000.0)
        taken.append(1e3 * (time.process_time() - begun_s))
    spread = f"least {min(taken):.1f}, most {max(taken):.1f}"
    return [Row("a plan with 1,000 jobs in the queue", statistics.median(taken), "ms of CPU", 10.0, spread=spread)]


def measure(folder: Path | None) -> list[Row]:
    found = cost()
    if folder:
        found += main_rows(compared(of_files(folder), list(POLICIES)[1:]), "Philly and Muri")
    found += main_rows(compared(of_drawn_traces(), list(POLICIES)[1:]), "drawn")
    return [*found, *variations()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--traces", type=Path)
    options, sys.argv[1:] = parser.parse_known_args()
    sys.exit(run(lambda: measure(options.traces), __doc__ or ""))
