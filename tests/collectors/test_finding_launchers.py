"""A program that keeps a log open for the trainings that it starts is not their run, also when none of them is there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collectors.machine.finder import Finder
from collectors.machine.run_state import RunActivity
from tests.conftest import wait_for
from tests.support.plain_scripts import HOST, run_in, started

TRIAL = "import sys, time\nbegan_s = time.time()\nwhile time.time() < began_s + {seconds}:\n    print('loss 0.5', flush=True)\n    sum(range(100_000))\n"
SWEEP = """
import subprocess, sys, time
log = open(sys.argv[1], "a", buffering=1)
for trial in range(2):
    {header}
    subprocess.run([sys.executable, "-c", sys.argv[2]], stdout=log, stderr=log)
    print("over", flush=True)
    time.sleep(float(sys.argv[3]))
time.sleep(600)
"""
DRIVERS = {
    "silent": SWEEP.format(header=""),
    "with a header for each": SWEEP.format(header="log.write(f'trial {trial}\\n')"),
    "by Popen and a shell": SWEEP.format(header="").replace(
        "subprocess.run([sys.executable, ", "subprocess.run(['bash', '-c', 'exec \"$@\"', 'bash', sys.executable, "
    ),
}


def looked(finder: Finder, run: RunActivity) -> list[int]:
    """The processes of the run now, while its log grows."""
    finder._walk_at_s = 0.0  # a walk at each look
    found = finder.find([run._replace(last_line_s=time.time())])
    return [process.pid for process in found.get(run.run, [])]


def all_looks(finder: Finder, run: RunActivity, until: Callable[[], object], timeout_s: float = 60.0) -> set[int]:
    """Whoever was taken for the run's process until something is so."""
    seen: set[int] = set()

    def look() -> object:
        seen.update(looked(finder, run))
        return until()

    wait_for(look, timeout_s)
    return seen


@pytest.mark.parametrize("name", DRIVERS)
def test_a_sweep_is_not_its_trials_run_between_them_and_after_them(tmp_path: Path, name: str) -> None:
    run, finder = run_in(tmp_path / "run"), Finder(HOST)
    log = run.folder / "train.log"
    with started(sys.executable, "-c", DRIVERS[name], log, TRIAL.format(seconds=2), "2") as driver:
        assert driver.stdout is not None
        wait_for(lambda: log.exists() and "loss" in log.read_text())
        seen = set(wait_for(lambda: looked(finder, run), because="the trial is not found"))
        assert driver.stdout.readline() == "over\n"
        until_s = time.monotonic() + 1.5
        between = all_looks(finder, run, lambda: time.monotonic() > until_s)
        assert driver.stdout.readline() == "over\n"
        until_s = time.monotonic() + 4
        after = all_looks(finder, run, lambda: time.monotonic() > until_s)
        assert driver.pid not in seen | between | after


def test_a_dashboard_that_comes_between_two_trials_does_not_take_it_either(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    log = run.folder / "train.log"
    with started(sys.executable, "-c", DRIVERS["silent"], log, TRIAL.format(seconds=2), "600") as driver:
        assert driver.stdout is not None and driver.stdout.readline() == "over\n"
        finder, until_s = Finder(HOST), time.monotonic() + 3
        assert all_looks(finder, run, lambda: time.monotonic() > until_s) == set()


HELPED = """
import subprocess, sys, time
log = open(sys.argv[1], "a", buffering=1)
subprocess.run([sys.executable, "-c", sys.argv[2]], **(dict(stdout=log) if sys.argv[3] == "handed on" else dict(stdout=subprocess.DEVNULL)))
while True:
    log.write("loss 0.5\\n")
    time.sleep(0.2)
"""


@pytest.mark.parametrize("helper", ["handed on", "apart"])
def test_a_training_that_has_had_something_done_before_is_its_run(tmp_path: Path, helper: str) -> None:
    run, finder = run_in(tmp_path / "run"), Finder(HOST)
    log = run.folder / "train.log"
    with started(sys.executable, "-c", HELPED, log, TRIAL.format(seconds=2), helper) as training:
        all_looks(finder, run, lambda: log.exists() and log.read_text().endswith("loss 0.5\n" * 5))
        wait_for(lambda: looked(finder, run) == [training.pid], because="it is not taken for its own run")


def test_a_sweep_that_writes_its_own_log_beside_those_of_its_trials_is_the_run_of_that(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
log = open(sys.argv[1], "a", buffering=1)
while True:
    subprocess.run([sys.executable, "-c", sys.argv[2]], stdout=subprocess.DEVNULL)
    log.write("trial loss 0.5\\n")
"""
    run, finder = run_in(tmp_path / "run"), Finder(HOST)
    with started(sys.executable, "-c", code, run.folder / "sweep.log", TRIAL.format(seconds=0.3)) as sweep:
        wait_for(lambda: looked(finder, run) == [sweep.pid], because="it is not taken for its own run")
