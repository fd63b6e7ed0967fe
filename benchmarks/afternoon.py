"""A real afternoon in minutes: twelve tiny trainings of the trainer's four tasks on this machine's cores, by `deepseek-jobs` and first in, first out.

python -m benchmarks.afternoon     about two minutes a policy on two idle cores

Each core is a slot; how many steps a training makes follows from how long a step takes on this machine. One job makes room for one of the high class and goes on; two allow each other as neighbours, slow each other, and one
leaves. The rules are those of docs/jobs.md with hours made seconds (RULES), and the floor for neighbours that were never measured together is left
out, so that they try at all. The losses of all twelve jobs must be the same, bit for bit, under both.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.support.jobs_house import OVER, QUICK, JobsHouse, as_user
from tests.support.running import ROOT

from .report import Row, run

TRAIN = "-m trainer --size tiny --device cpu --precision fp32 --threads 1 --workers 0"
RULES = {
    **QUICK, "look_s": 0.5, "measured_s": 8, "check_s": 6, "check_steps": 10, "least_run_s": 8, "unmeasured_floor": 0, "least_gain": 0,
    "least_patience_s": 60,
}  # fmt: skip
MAX_S = 1500.0
MIN_STEPS = 5


class Training(NamedTuple):
    """`at_s` is when it is submitted, `seconds` how long its steps take alone on a core."""

    name: str
    at_s: float
    task: str
    seconds: float
    seed: int = 0
    high: bool = False
    shares: bool = False

    def words(self, step_s: Mapping[str, float]) -> list[str]:
        """With so many seconds a step, by task."""
        steps = max(MIN_STEPS, round(self.seconds / step_s[self.task]))
        return [*TRAIN.split(), "--task", self.task, "--seed", str(self.seed), "--steps", str(steps)]


AFTERNOON = (
    Training("gpt-long", 0, "gpt", 50),
    Training("unet3d-long", 0, "unet3d", 50),
    Training("bert-a", 1, "bert", 12),
    Training("resnet50-a", 2, "resnet50", 25, shares=True),
    Training("unet3d-a", 3, "unet3d", 8),
    Training("gpt-a", 4, "gpt", 8),
    Training("urgent", 20, "bert", 12, seed=7, high=True),
    Training("bert-b", 22, "bert", 12, seed=1),
    Training("resnet50-b", 24, "resnet50", 25, seed=1, shares=True),
    Training("resnet50-c", 26, "resnet50", 25, seed=2, shares=True),
    Training("gpt-b", 28, "gpt", 8, seed=1),
    Training("unet3d-b", 30, "unet3d", 8, seed=1),
)


class Afternoon(NamedTuple):
    makespan_s: float
    waits_s: dict[str, float]
    losses: dict[str, dict[int, float]]
    preempted: int = 0
    rolled_back: int = 0


def seconds_a_step(folder: Path) -> dict[str, float]:
    """By task, alone on a core: the median of a few."""
    found = {}
    for task in dict.fromkeys(job.task for job in AFTERNOON):
        command = [*TRAIN.split(), "--task", task, "--steps", "12", "--log-dir", str(folder), "--run", task]
        core = str(min(os.sched_getaffinity(0)))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(
            ["taskset", "-c", core, sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        rows = map(json.loads, (folder / task / "metrics.jsonl").read_text().splitlines())
        times = [row["time_s"] for row in rows if "train/loss" in row]
        found[task] = statistics.median(later - earlier for earlier, later in pairwise(times))
    return found


def first_in_first_out(folder: Path, step_s: Mapping[str, float]) -> Afternoon:
    """Each on the first core that is free, in the order of submission, alone."""
    house = JobsHouse(folder)
    begun_s, waiting, waits_s = time.monotonic(), [*AFTERNOON], dict[str, float]()
    free, running = sorted(os.sched_getaffinity(0)), dict[int, subprocess.Popen[bytes]]()
    environment = {**house.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    while waiting or running:
        for core in [core for core, process in running.items() if process.poll() is not None]:
            assert running.pop(core).returncode == 0
            free.append(core)
        now_s = time.monotonic() - begun_s
        if waiting and free and waiting[0].at_s <= now_s:
            job, core = waiting.pop(0), free.pop(0)
            waits_s[job.name] = now_s - job.at_s
            command = [
                *as_user(house.uid),
                "taskset",
                "-c",
                str(core),
                sys.executable,
                *job.words(step_s),
                "--log-dir",
                str(house.logs),
                "--run",
                job.name,
            ]
            running[core] = subprocess.Popen(command, cwd=house.work, env=environment, stdout=subprocess.DEVNULL)
        time.sleep(0.05)
    return Afternoon(
        time.monotonic() - begun_s, waits_s, {job.name: _losses(house.logs / job.name) for job in AFTERNOON}
    )


def by_the_queue(folder: Path, step_s: Mapping[str, float]) -> Afternoon:
    house = JobsHouse(folder, rules=RULES)
    try:
        house.start()
        begun_s, jobs = time.monotonic(), dict[str, int]()
        for job in AFTERNOON:
            time.sleep(max(0.0, begun_s + job.at_s - time.monotonic()))
            words = [sys.executable, *job.words(step_s)]
            jobs[job.name] = house.submit(
                *words, name=job.name, priority="high" if job.high else "normal", share=job.shares, resume_with=" ".join([*words, "--resume"]),
                env=[f"PYTHONPATH={ROOT}"],
            )  # fmt: skip
        while any(row["state"] not in OVER for row in house.rows().values()):
            assert time.monotonic() - begun_s < MAX_S, house.said()
            time.sleep(0.2)
        makespan_s, rows = time.monotonic() - begun_s, house.rows()
        print(house.said(), file=sys.stderr)
        assert all(row["state"] == "finished" for row in rows.values()), rows
        attempts = [attempt for job in jobs.values() for attempt in house.row(job)["attempt_rows"]]
        return Afternoon(
            makespan_s, {name: rows[job]["waited_s"] for name, job in jobs.items()}, {name: _losses(house.logs / name) for name in jobs},
            sum(attempt["why"] == "preempted" for attempt in attempts), sum(attempt["why"] == "rolled back" for attempt in attempts),
        )  # fmt: skip
    finally:
        house.close()


def measure() -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="afternoon-"))
    folder.chmod(0o755)
    try:
        step_s = seconds_a_step(folder / "alone")
        ours, fifo = by_the_queue(folder / "queue", step_s), first_in_first_out(folder / "fifo", step_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    same = sum(ours.losses[job.name] == fifo.losses[job.name] != {} for job in AFTERNOON)
    waits = [sum(each.waits_s.values()) / len(AFTERNOON) for each in (ours, fifo)]
    return [
        Row("makespan", ours.makespan_s, "s", baseline=fifo.makespan_s),
        Row("mean waiting, of all", waits[0], "s", baseline=waits[1]),
        Row("waiting of the urgent job", ours.waits_s["urgent"], "s", baseline=fifo.waits_s["urgent"]),
        Row("longest waiting", max(ours.waits_s.values()), "s", baseline=max(fifo.waits_s.values())),
        Row("jobs that made room and went on", ours.preempted, "", 1, at_least=True),
        Row("jobs that left a neighbour that they slowed", ours.rolled_back, "", 1, at_least=True),
        Row("jobs with the same losses, bit for bit", same, f"of {len(AFTERNOON)}", len(AFTERNOON), at_least=True),
    ]


def _losses(run: Path) -> dict[int, float]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


if __name__ == "__main__":
    raise SystemExit(run(measure, __doc__ or ""))
