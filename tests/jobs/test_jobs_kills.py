"""Random kills of the daemon, of keepers and of programs: no job is lost, none runs twice at once, none is orphaned.

`KILLS_SEED=7` repeats a run. Each job appends to a file of its own when it starts; jobs can resume, so that a kill costs none of them.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from collectors.machine.proc import start_ticks
from tests.support.jobs_house import OVER, JobsHouse, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

PROGRAM = """
import fcntl, os, sys, time
number, seconds = sys.argv[1], float(sys.argv[2])
lock = open(f"{number}.lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open("twice", "a").write(number + "\\n")
until = time.monotonic() + seconds
while time.monotonic() < until:
    time.sleep(0.02)
    print("on", flush=True)
open(f"{number}.done", "a").write("done\\n")
"""


@pytest.mark.timeout(170)
def test_a_dozen_kills(place: Path) -> None:
    kills(place, 12)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_hundred_kills(place: Path) -> None:
    kills(place, 200)


def kills(place: Path, number: int) -> None:
    seed = int(os.environ.get("KILLS_SEED") or random.randrange(1 << 30))
    print(f"KILLS_SEED={seed}")
    chance = random.Random(seed)
    with jobs_house(place / "house", rules={"look_s": 0.2, "stop_s": 2}) as house:
        (house.work / "job.py").write_text(PROGRAM)
        submitted = list[int]()
        for _ in range(number):
            while open_jobs(house) < 4:
                submitted.append(submit(house, len(submitted), chance.uniform(0.2, 1.5)))
            time.sleep(chance.uniform(0.0, 0.4))
            kill_one(house, chance)
            if house.daemon is None:
                time.sleep(chance.uniform(0.0, 0.3))
                house.start()
        rows = {}

        def over() -> bool:
            rows.clear()
            rows.update(house.rows())
            return all(row["state"] in OVER for row in rows.values())

        wait_for(over, 120, "a job does not end")
        assert sorted(rows) == sorted(submitted), "none is lost"
        ended = {job: (row["state"], row["reason"]) for job, row in rows.items() if row["state"] != "finished"}
        said = ("ended with signal 9", "its keeper was killed")
        killed = {job for job, (state, reason) in ended.items() if state == "failed" and reason.startswith(said)}
        others = {job: how for job, how in ended.items() if job not in killed}
        assert others == {}, "a job fails only where its program was killed"
        for place_, job in enumerate(submitted):
            done = house.work / f"{place_}.done"
            assert done.exists() or job in killed
        assert not (house.work / "twice").exists(), "none ran twice at once"
        assert house.left() == [], "none is orphaned"


def submit(house: JobsHouse, number: int, seconds: float) -> int:
    words = (sys.executable, "job.py", str(number), f"{seconds:.2f}")
    return house.submit(*words, resume_with=" ".join(words))


def open_jobs(house: JobsHouse) -> int:
    return sum(row["state"] not in OVER for row in house.rows().values())


def kill_one(house: JobsHouse, chance: random.Random) -> None:
    """The daemon, a keeper, a program, or two of them at once."""
    kinds = chance.choice(
        [("daemon",), ("keeper",), ("program",), ("daemon", "keeper"), ("keeper", "program"), ("daemon", "program")]
    )
    if "daemon" in kinds:
        house.kill_daemon()
    attempts = sorted((house.state / "attempts").iterdir())
    living = [
        folder for folder in attempts if (folder / "started.json").exists() and not (folder / "exit.json").exists()
    ]
    if not living:
        return
    job, attempt = map(int, chance.choice(living).name.split("."))
    for kind in set(kinds) & {"keeper", "program"}:
        pid = house.keeper(job, attempt) if kind == "keeper" else house.pid(job, attempt)
        if start_ticks(pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
