"""A job may put anything in the place of its run's files: that costs what they said, and no other job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.machine.proc import start_ticks
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

WHOLE = ("--cores-a-slot", str(len(os.sched_getaffinity(0))))  # one slot
FIFO = "cd $DEEPSEEK_RUN_FOLDER; rm -f {name}; mkfifo {name}; sleep 0.3; exit 3"
ENDLESS = "cd $DEEPSEEK_RUN_FOLDER; rm -f {name}; ln -s /dev/zero {name}; sleep 1.5; exit 3"
MAX_MIB = 400


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=WHOLE) as house:
        yield house


@pytest.mark.parametrize("name", ["events.queue.jsonl", "output.log", "exit.json", "started.json", "metrics.jsonl"])
def test_a_file_of_a_run_may_be_a_pipe(house: JobsHouse, name: str) -> None:
    job = house.submit("sh", "-c", FIFO.format(name=name))
    row = house.wait(job)
    assert (row["state"], row["exit_code"]) == ("failed", 3), row
    assert house.wait(house.submit("true"))["state"] == "finished"


@pytest.mark.parametrize("kind", [FIFO, ENDLESS], ids=["pipe", "endless"])
def test_an_end_that_no_keeper_wrote_is_not_waited_for(house: JobsHouse, kind: str) -> None:
    job = house.submit("sh", "-c", kind.format(name="exit.json"))
    house.wait(job, "running")
    assert house.daemon is not None
    os.kill(house.keeper(job), signal.SIGKILL)
    wait_for(lambda: start_ticks(house.pid(job)) is None)
    assert house.wait(job)["state"] == "failed"
    assert house.wait(house.submit("true"))["state"] == "finished"
    assert peak_mib(house.daemon.pid) < MAX_MIB


def test_a_run_goes_on_whose_first_attempt_left_a_pipe(house: JobsHouse) -> None:
    first = "cd $DEEPSEEK_RUN_FOLDER; rm -f run.json; mkfifo run.json; touch ../ready; sleep 60"
    job = house.submit("sh", "-c", first, resume_with="true")
    wait_for((house.logs / "ready").exists)
    keeper, program = house.keeper(job), house.pid(job)
    house.kill_daemon()
    for pid in (keeper, program):
        os.kill(pid, signal.SIGKILL)
    house.start()
    row = house.wait(job)
    assert (row["state"], row["attempts"]) == ("finished", 2)


def test_what_a_program_printed_last_is_known_though_it_removed_its_output(house: JobsHouse) -> None:
    job = house.submit("sh", "-c", "echo the reason; rm -r $DEEPSEEK_RUN_FOLDER; exit 3")
    assert house.wait(job)["attempt_rows"][0]["said"].startswith("the reason")


def test_logs_do_not_wait_for_a_pipe(house: JobsHouse) -> None:
    job = house.submit("sh", "-c", FIFO.format(name="output.log"))
    house.wait(job)
    assert "regular file" in house.command("logs", str(job)).stderr


def test_logs_of_a_job_that_is_over_do_not_say_to_follow_it(house: JobsHouse) -> None:
    job = house.submit("sh", "-c", "rm -r $DEEPSEEK_RUN_FOLDER")
    house.wait(job)
    assert (
        house.refused("logs", str(job))
        == f"job {job} is finished, and {house.logs}/sh-{job}/output.log is not there any more"
    )


def test_logs_say_where_no_daemon_sees_the_end(house: JobsHouse) -> None:
    job = house.submit("sh", "-c", "echo up; sleep 0.3; echo down")
    house.wait(job, "running")
    house.kill_daemon()
    command = [*as_user(house.uid), sys.executable, str(MAIN), "logs", "-f", str(job)]
    with subprocess.Popen(
        command, env=house.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as logs:
        assert logs.stderr is not None and "no daemon runs, so that its end is not seen" in logs.stderr.readline()
        house.start()
        assert logs.communicate(timeout=20) == ("up\ndown\n", "") and logs.returncode == 0


def peak_mib(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
