"""Processes of jobs that hide, leave something behind, hang, or remove what is known of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.machine.proc import command_of, start_ticks
from jobs.client import QueueClient
from jobs.processes import DAEMON, MARK, ProcessTable, environment_words
from jobs.view import QueueView
from tests.support.jobs_house import MAIN, JobsHouse, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
WHOLE = ("--cores-a-slot", str(len(os.sched_getaffinity(0))))  # one slot


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=WHOLE) as house:
        yield house


def test_a_program_that_writes_over_its_environment_is_measured_and_killed(place: Path) -> None:
    with jobs_house(place / "house", rules={"look_s": 0.1, "stop_s": 1}, flags=WHOLE) as house:
        program = '$SIG{TERM}="IGNORE"; $0="ray::worker".("x"x9000); $x="a"x100000000; if (!fork) { $0="child"; sleep 98 } sleep 97 while 1'
        job = house.submit("perl", "-e", program)
        row = house.wait_until(job, lambda row: (row["attempt_rows"] or [{}])[0].get("peak_mib") or 0)
        wait_for(lambda: bool(named("child")))
        house.done("cancel", str(job))
        row = house.wait(job)
        assert (row["state"], row["exit_code"]) == ("cancelled", -9) and row["attempt_rows"][0]["peak_mib"] > 90
        assert named("child") == []


@pytest.mark.parametrize("keeper_lives", [True, False])
def test_what_a_program_leaves_behind_without_its_environment_ends_too(house: JobsHouse, keeper_lives: bool) -> None:
    seconds = f"9{os.getpid()}{int(keeper_lives)}"
    job = house.submit("bash", "-c", f"env -i setsid sleep {seconds} & sleep 1; exit 0")
    house.wait(job, "running")
    if not keeper_lives:
        os.kill(house.keeper(job), signal.SIGKILL)
    assert house.wait(job)["exit_code"] == 0
    assert named(f"sleep {seconds}") == []


@pytest.mark.parametrize(
    "begins",
    ["", 'env -i HOME="$HOME" PATH="$PATH" DEEPSEEK_JOBS_DIR="$DEEPSEEK_JOBS_DIR" '],
    ids=["", "without environment"],
)
def test_a_queue_that_was_started_inside_of_a_job_is_not_ended_with_it(house: JobsHouse, begins: str) -> None:
    inner = house.folder / "inner"
    code = f"{begins}{sys.executable} {MAIN} submit --log-dir {house.logs} --name inside -- bash -c 'env > env.txt; sleep 60'; nproc > nproc.txt; exit 0"
    job = house.submit("bash", "-c", code, env=[f"DEEPSEEK_JOBS_DIR={inner}"])
    assert house.wait(job)["exit_code"] == 0
    with house.being_them():
        daemon = QueueView(inner).daemon()
    assert daemon is not None, "it lives on"
    try:
        wait_for((house.work / "env.txt").exists)
        words = environment_words(daemon)
        assert not any(
            word.startswith((b"DEEPSEEK_JOB=", b"DEEPSEEK_RUN_FOLDER=", b"DEEPSEEK_JOBS_ATTEMPT=", b"OMP_"))
            for word in words
        )
        assert os.sched_getaffinity(daemon) == os.sched_getaffinity(0)
        with house.being_them():
            wait_for(
                lambda: [row.state for row in QueueView(inner).jobs()] == ["running"], because="and so does its job"
            )
            QueueClient(inner).cancel(1)
            wait_for(lambda: not QueueView(inner).jobs())
    finally:
        os.kill(daemon, signal.SIGKILL)


def test_a_program_that_has_the_sign_of_a_daemon_is_killed(place: Path) -> None:
    with jobs_house(place / "house", rules={"look_s": 0.1, "stop_s": 0.5}, flags=WHOLE) as house:
        stays = "trap '' TERM; echo up; sleep 60; sleep 60"
        for argv in (["bash", "-c", stays], ["env", f"{DAEMON}=1", "bash", "-c", stays]):
            job = house.submit(*argv, env=[f"{DAEMON}=1"])
            house.wait(job, "running")
            house.wait_for_output(job, "up\n")
            house.done("cancel", str(job))
            assert house.wait(job)["exit_code"] == -9


def test_a_job_that_hangs_while_it_starts_can_be_cancelled(house: JobsHouse) -> None:
    blocker, job = house.python(SLEEPS), house.python("print(1)")
    fifo = house.logs / house.row(job)["run"] / "output.log"
    os.mkfifo(fifo, 0o666)
    fifo.chmod(0o666)
    house.done("cancel", str(blocker))
    house.wait(job, "starting")
    keeper = house.keeper(job)
    house.done("cancel", str(job))
    assert house.wait(job)["state"] == "cancelled"
    wait_for(lambda: start_ticks(keeper) is None)
    assert house.wait(house.python("print(2)"))["state"] == "finished"


def test_a_keeper_that_is_stopped_keeps_no_slot_for_ever(place: Path) -> None:
    with jobs_house(place / "house", rules={"look_s": 0.1, "stop_s": 0.5}, flags=WHOLE) as house:
        job = house.submit("sleep", "1")
        house.wait(job, "running")
        os.kill(house.keeper(job), signal.SIGSTOP)
        wait_for(lambda: start_ticks(house.pid(job)) is None)
        house.done("cancel", str(job))
        assert house.wait(job)["state"] == "cancelled"


def test_a_job_that_removes_its_run_is_finished_once(house: JobsHouse) -> None:
    job = house.python("import os, shutil; shutil.rmtree(os.environ['DEEPSEEK_RUN_FOLDER'])", "--resume-with", "true")
    row = house.wait(job)
    assert (row["state"], row["exit_code"], row["attempts"]) == ("finished", 0, 1)


@pytest.mark.parametrize(
    "closed", [["state/attempts/1.1"], ["state/attempts/1.1", "work/logs/bash-1"]], ids=["one", "both"]
)
def test_an_end_that_could_not_be_written_is_known(house: JobsHouse, closed: list[str]) -> None:
    """Closed folders do what a full disk does."""
    job = house.submit("bash", "-c", "sleep 0.7; exit 6")
    house.wait(job, "running")
    pid = house.pid(job)
    for folder in closed:
        (house.folder / folder).chmod(0o500)
    if len(closed) > 1:
        wait_for(lambda: start_ticks(pid) is None)
        time.sleep(0.5)
        assert house.row(job)["state"] == "running"
        for folder in closed:
            (house.folder / folder).chmod(0o700)
    row = house.wait(job)
    assert (row["exit_code"], row["attempts"]) == (6, 1), row
    (house.folder / closed[0]).chmod(0o700)


@pytest.mark.parametrize("removed", ["attempts", "attempts/1.1"])
def test_what_the_queue_has_of_an_attempt_may_be_removed_while_it_runs(house: JobsHouse, removed: str) -> None:
    job = house.submit("bash", "-c", "sleep 1; exit 6")
    house.wait(job, "running")
    shutil.rmtree(house.state / removed)
    row = house.wait(job)
    assert (row["exit_code"], row["attempts"]) == (6, 1), row
    assert house.wait(house.python("print(2)"))["state"] == "finished"


def named(command: str) -> list[int]:
    """Processes whose command line begins so."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in pids if " ".join(command_of(pid)).startswith(command)]


def test_a_mark_may_be_any_bytes() -> None:
    with subprocess.Popen(["sleep", "60"], env={MARK: b"/tmp/\xff"}) as process:
        found = {process.pid: start_ticks(process.pid)}  # its environment is there a moment after its name
        wait_for(lambda: ProcessTable().of_attempt(os.fsdecode(b"/tmp/\xff")) == found)
        process.kill()
