"""A job is a run of the dashboard from when it is submitted, through all its attempts."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from collectors import rights
from collectors.machine.run_state import RunActivity, state_of
from collectors.records import Event, LogLine, Points
from tests.support.following import Follower, until
from tests.support.jobs_house import jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import ROOT
from tests.support.two_users import (
    narrow as narrow,
)  # a fixture: root reads what the job's user has written, and no longer after the test

LOGGED = """
import os, signal, sys, time
from deepseek.log import RunLog
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
saved = os.environ["DEEPSEEK_RUN_FOLDER"] + "/step"
first = int(open(saved).read()) if "--resume" in sys.argv else 0
with RunLog("logs") as log:
    for step in range(first, 30):
        log.scalars(step, {"train/loss": 1 / (1 + step)})
        time.sleep(0.05)
        if stop:
            open(saved, "w").write(str(step + 1))
            log.close("finished", "stopped by SIGTERM")
            sys.exit(75)
"""
PRINTED = """
import os, signal, sys, time
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
saved = os.environ["DEEPSEEK_RUN_FOLDER"] + "/step"
first = int(open(saved).read()) if "--resume" in sys.argv else 0
for step in range(first, 30):
    print(f"step {step}: loss {1 / (1 + step):.4f}")
    time.sleep(0.05)
    if stop:
        open(saved, "w").write(str(step + 1))
        sys.exit(75)
"""


@pytest.mark.parametrize(("script", "segments"), [(LOGGED, [1, 2]), (PRINTED, None)], ids=["logged", "printed"])
def test_a_job_that_made_room_is_one_run_with_all_that_happened_to_it(
    script: str, segments: list[int] | None, place: Path, narrow: None
) -> None:
    cores = str(len(os.sched_getaffinity(0)))
    with jobs_house(place / "house", rules={"look_s": 0.1, "least_run_s": 0}, flags=("--cores-a-slot", cores)) as house:
        (house.work / "train.py").write_text(script)
        rights.look_at_others()
        follower = Follower(house.logs)
        words = [sys.executable, "train.py"]
        job = house.submit(*words, resume_with=" ".join([*words, "--resume"]), env=[f"PYTHONPATH={ROOT}"])
        run = house.row(job)["run"]
        until(follower, lambda: len(values(follower, run)) > 4)
        assert state(follower, run) == "running"
        high = house.submit("sleep", "2.5", priority="high")
        house.wait(high, "running")
        until(follower, lambda: state(follower, run) == "queued")
        row = house.wait(job, "running")
        until(follower, lambda: state(follower, run) == "running")
        assert house.wait(job)["state"] == "finished" and row["attempts"] == 2
        until(follower, lambda: state(follower, run) == "finished" and len(values(follower, run)) >= 30)
        steps = [point.step for point in points(follower, run)]
        assert steps == list(range(30)), "each step once"
        assert {name for point in points(follower, run) for name in point.names} <= {"train/loss", "loss"}, (
            "the queue's events are no series"
        )
        if segments:
            assert sorted({point.segment for point in points(follower, run)}) in ([0, 1], segments)
        kinds = [record.kind for record in follower.records if isinstance(record, Event) and record.run == run]
        assert [kind for kind in kinds if kind not in ("start", "end", "process", "checkpoint")] == [
            "submitted", "queued", "preempted", "stopping", "requeued", "queued",
        ]  # fmt: skip
        waited = [record for record in follower.records if isinstance(record, Event) and record.kind == "queued"]
        assert all(0 <= (event.seconds or 0) < 60 for event in waited) and (waited[-1].seconds or 0) > 1
        follower.tail.close()


def points(follower: Follower, run: str) -> list[Points]:
    return [record for record in follower.records if isinstance(record, Points) and record.run == run]


def values(follower: Follower, run: str) -> list[object]:
    found = points(follower, run)
    return list(found) or [record for record in follower.records if isinstance(record, LogLine) and record.run == run]


def state(follower: Follower, run: str) -> str:
    found: list[RunActivity] = [activity for activity in follower.tail.live_runs() if activity.run == run]
    return state_of(found[0], time.time()).state if found else ""
