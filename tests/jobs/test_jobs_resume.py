"""The project's own trainer makes room for a job of the high class, and goes on to the same loss, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.jobs_house import JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import ROOT

TRAIN = "-m trainer --task gpt --size tiny --device cpu --precision fp32 --threads 1 --batch 2"


def losses(run: Path) -> dict[int, float]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


def test_a_training_that_made_room_ends_with_the_same_loss(place: Path) -> None:
    rules = {"look_s": 0.2, "least_run_s": 0}
    with jobs_house(place / "house", rules=rules, flags=("--cores-a-slot", str(len(os.sched_getaffinity(0))))) as house:
        train = [*TRAIN.split(), "--steps", "40"]
        flags = (
            "--env",
            f"PYTHONPATH={ROOT}",
            "--resume-with",
            f"{sys.executable} {' '.join(train)} --resume",
            "--name",
            "interrupted",
        )
        normal = house.submit(sys.executable, *train, flags=flags)
        run = house.logs / "interrupted"
        house.wait_until(normal, lambda row: (run / "metrics.jsonl").exists() and len(losses(run)) > 5)
        high = house.python("print('urgent')", "--priority", "high")
        assert house.wait(high)["state"] == "finished"
        row = house.wait(normal)
        assert (row["state"], row["attempts"], row["stops"]) == ("finished", 2, 1), house.said()
        first, second = row["attempt_rows"]
        assert (first["why"], first["because"], first["exit_code"], second["exit_code"]) == ("preempted", high, 75, 0)
        alone(house, [*train, "--run", "whole", "--log-dir", str(house.logs)])
        whole, parts = losses(house.logs / "whole"), losses(run)
        assert parts == whole and sorted(parts) == list(range(40))


def alone(house: JobsHouse, train: list[str]) -> None:
    environment = {**house.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    subprocess.run(
        [*as_user(house.uid), sys.executable, *train], cwd=house.work, env=environment, check=True, capture_output=True
    )


def test_a_training_that_was_stopped_before_its_first_step_begins_anew(place: Path) -> None:
    rules = {"look_s": 0.1, "least_run_s": 0}
    with jobs_house(place / "house", rules=rules, flags=("--cores-a-slot", str(len(os.sched_getaffinity(0))))) as house:
        train = [*TRAIN.split(), "--steps", "3"]
        flags = ("--env", f"PYTHONPATH={ROOT}", "--resume-with", f"{sys.executable} {' '.join(train)} --resume")
        normal = house.submit(sys.executable, *train, flags=flags)
        house.wait(normal, "running")
        assert house.wait(house.python("print('urgent')", "--priority", "high"))["state"] == "finished"
        row = house.wait(normal)
        assert row["state"] == "finished", (row, house.said())
        codes = [attempt["exit_code"] for attempt in row["attempt_rows"]]
        assert codes == [-15, 66, 0], "ended by the signal; nothing to go on with; from the beginning"
