"""Two jobs on one core slot: placed together by what was measured, checked against their own pace, and one leaves if it is slowed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from jobs.view import QueueView
from tests.support.jobs_house import JobsHouse, jobs_house, needs_two_cores
from tests.support.jobs_house import place as place  # a fixture

STEP = """
import argparse, json, os, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--kind"); parser.add_argument("--seed", type=int); parser.add_argument("--tag", type=int)
parser.add_argument("--resume", action="store_true")
options = parser.parse_args()
folder = os.environ["DEEPSEEK_RUN_FOLDER"]
saved = os.path.join(folder, "step")
first = int(open(saved).read()) if options.resume else 0
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
with open(os.path.join(folder, "metrics.jsonl"), "a") as log:
    for step in range(first, options.tag):
        begun = time.process_time()
        while time.process_time() - begun < (0.025 if options.seed == 2 else 0.004):
            pass
        if options.seed != 2:
            time.sleep(0.021)
        log.write(json.dumps({"time_s": time.time(), "step": step, "loss": 1 / (step + 1), "phase/data_s": 0.001}) + "\\n")
        log.flush()
        if stop:
            open(saved, "w").write(str(step + 1))
            sys.exit(75)
"""
RULES = {"look_s": 0.2, "measured_s": 1.5, "check_s": 2, "check_steps": 20, "stop_s": 10}


def submit(house: JobsHouse, kind: str, seed: int, steps: int) -> int:
    words = [
        sys.executable,
        "step.py",
        "--kind",
        kind,
        "--seed",
        str(seed),
        "--tag",
        str(steps),
    ]  # which a family leaves out
    return house.submit(*words, share=True, resume_with=" ".join([*words, "--resume"]))


def kinds(house: JobsHouse, job: int) -> list[str]:
    folder = house.logs / house.row(job)["run"]
    return [json.loads(line)["kind"] for line in (folder / "events.queue.jsonl").read_text().splitlines()]


@needs_two_cores
def test_jobs_share_a_slot_and_the_newer_leaves_if_it_is_slowed(place: Path) -> None:
    with jobs_house(place / "house", rules=RULES) as house:
        (house.work / "step.py").write_text(STEP)
        for _ in range(len(os.sched_getaffinity(0)) - 1):
            blocker = house.python("import time; time.sleep(100)")
            house.wait(blocker, "running")
        for kind in ("a", "b"):  # what is measured of the first of a family
            assert house.wait(submit(house, kind, 1, 100))["state"] == "finished"
        host = submit(house, "a", 2, 700)
        house.wait(host, "running")
        guest = submit(house, "b", 2, 150)
        row = house.wait_until(guest, lambda row: row["beside"] == [host])
        assert row["on"] == house.row(host)["on"]
        row = house.wait_until(guest, lambda row: row["state"] == "queued", 30)
        assert row["stops"] == 1 and row["kept_s"] > 0
        attempt = row["attempt_rows"][0]
        assert (attempt["why"], attempt["because"], attempt["exit_code"]) == ("rolled back", host, 75), house.said()
        with house.being_them():
            (speeds,) = QueueView(house.state).pairs().values()
        assert min(speeds) < 0.85, "it is remembered"
        house.done("cancel", str(host))
        assert house.wait(host)["state"] == "cancelled" and house.wait(guest)["state"] == "finished"
        assert house.row(guest)["attempts"] == 2
        assert kinds(house, guest) == [
            "submitted", "queued", "shares", "rolled back", "shared", "stopping", "requeued", "queued",
        ] or sorted(kinds(house, guest)) == sorted(
            ["submitted", "queued", "shares", "rolled back", "shared", "stopping", "requeued", "queued"]
        )  # fmt: skip
        assert kinds(house, host)[:3] == ["submitted", "queued", "shares"]
        steps = [
            json.loads(line)["step"] for line in (house.logs / row["run"] / "metrics.jsonl").read_text().splitlines()
        ]
        assert steps == list(range(150)), "none is lost, none done twice"


@needs_two_cores
def test_jobs_that_leave_each_other_alone_stay_together(place: Path) -> None:
    with jobs_house(
        place / "house", rules={**RULES, "share_floor": 0.3}
    ) as house:  # a floor that a busy machine does not fall below
        (house.work / "step.py").write_text(STEP)
        for _ in range(len(os.sched_getaffinity(0)) - 1):
            house.wait(house.python("import time; time.sleep(100)"), "running")
        for kind in ("a", "b"):
            assert house.wait(submit(house, kind, 1, 100))["state"] == "finished"
        host, guest = submit(house, "a", 1, 400), submit(house, "b", 1, 200)
        house.wait_until(guest, lambda row: row["beside"] == [host])
        row = house.wait(guest)
        assert (row["state"], row["attempts"]) == ("finished", 1)
        assert house.wait(host)["state"] == "finished"
