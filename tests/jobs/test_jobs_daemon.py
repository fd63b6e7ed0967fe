"""The daemon of a queue and its commands: submit, run, order, hold, release, cancel, and what a job gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cost import children_cpu_s, times
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house, needs_two_cores
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=("--cores-a-slot", str(len(os.sched_getaffinity(0))))) as house:
        yield house  # with one slot


def test_a_job_runs_in_its_folder_with_what_its_user_passed_on(house: JobsHouse) -> None:
    house.environment |= {"SECRET": "s", "WANTED": "w"}
    code = "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.getuid(), len(os.sched_getaffinity(0))])); print('bye')"
    job = house.python(code, "--env", "WANTED", "--env", "GIVEN=g", "--name", "sweep/first")
    row = house.wait(job)
    assert (row["state"], row["exit_code"], row["run"], row["reason"]) == ("finished", 0, "sweep/first", "")
    folder = house.logs / "sweep" / "first"
    printed, bye = house.done("logs", "-f", str(job)).splitlines()
    environment, cwd, uid, cores = json.loads(printed)
    assert (bye, cwd, uid, cores) == ("bye", str(house.work), house.uid, len(os.sched_getaffinity(0)))
    assert (environment["WANTED"], environment["GIVEN"], "SECRET" in environment) == ("w", "g", False)
    assert environment["DEEPSEEK_RUN_FOLDER"] == str(folder) and environment["OMP_NUM_THREADS"] == str(cores)
    info, ended = json.loads((folder / "run.json").read_text()), json.loads((folder / "exit.json").read_text())
    assert info["pid"] == ended["pid"] and ended["code"] == 0
    kinds = [json.loads(line)["kind"] for line in (folder / "events.queue.jsonl").read_text().splitlines()]
    assert kinds == ["submitted", "queued"]
    assert house.left() == []


def test_jobs_wait_for_their_turn_and_say_why(house: JobsHouse) -> None:
    first, second = house.python(SLEEPS), house.python("print(2)")
    house.wait(first, "running")
    row = house.wait_until(second, lambda row: bool(row["reason"]))
    assert row["reason"] == f"waits for 1 core slot; job {first} has to end, and no job like it has ended yet"
    shown = house.done("queue")
    assert "waits for 1 core slot" in shown and shown.count("\n") == 3
    explained = house.done("explain", str(second))
    assert f"job {first} (" in explained and "free now: nothing of 1 core slot" in explained
    house.done("cancel", str(first))
    assert house.wait(first)["state"] == "cancelled"
    assert house.wait(second)["state"] == "finished"
    assert "attempt 1" in house.done("show", str(second))


def test_hold_release_and_cancel(house: JobsHouse) -> None:
    blocker = house.python(SLEEPS)
    house.wait(blocker, "running")
    held, dropped = house.python("print(1)"), house.python("print(2)")
    house.done("hold", str(held))
    assert house.row(held)["state"] == "held"
    run = house.logs / house.row(dropped)["run"]
    assert run.exists()
    house.done("cancel", str(dropped))
    assert house.row(dropped)["state"] == "cancelled" and not run.exists(), "it never was a run"
    assert f"job {dropped} is over already: cancelled" in house.refused("cancel", str(dropped))
    assert "only a queued job can be put on hold" in house.refused("hold", str(blocker))
    house.done("cancel", str(blocker))
    house.wait(blocker)
    time.sleep(0.5)
    assert house.row(held)["state"] == "held"
    house.done("release", str(held))
    assert house.wait(held)["state"] == "finished"


def test_a_job_that_fails_says_with_what(house: JobsHouse) -> None:
    job = house.python("raise ValueError('no such thing')")
    row = house.wait(job)
    assert (row["state"], row["exit_code"], row["reason"]) == ("failed", 1, "ValueError: no such thing (exit code 1)")
    killed = house.python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert house.wait(killed)["reason"] == "ended with signal 9"


def test_a_job_that_runs_out_of_memory_is_tried_again_twice(house: JobsHouse) -> None:
    job = house.python(
        "x = bytearray(50 << 20); print('up', flush=True); import time; time.sleep(0.6); raise MemoryError"
    )
    row = house.wait(job)
    assert (row["state"], row["attempts"], row["out_of_memory"]) == ("failed", 3, 2)
    assert row["reason"].startswith("out of memory at 0.") and {attempt["why"] for attempt in row["attempt_rows"]} == {
        "out of memory"
    }
    assert row["memory_mib"] > 1.25 * 50


def test_a_job_that_does_not_end_is_killed_in_the_end(place: Path) -> None:
    with jobs_house(place / "house", rules={"look_s": 0.1, "stop_s": 1}) as house:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        job = house.python(code)
        house.wait(job, "running")
        output = house.logs / house.row(job)["run"] / "output.log"
        wait_for(lambda: output.exists() and output.read_text() == "up\n")
        house.done("cancel", str(job))
        assert house.wait(job)["exit_code"] == -9 and house.left() == []


def test_what_a_job_leaves_behind_ends_before_its_slot_is_free(house: JobsHouse) -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}], start_new_session=True)"
    job = house.python(code)
    assert house.wait(job)["state"] == "finished" and house.left() == []


def test_submit_starts_a_daemon_where_none_runs(place: Path) -> None:
    house = JobsHouse(place / "house")
    try:
        done = house.command("submit", "--", sys.executable, "-c", "print(1)")
        assert done.returncode == 0 and done.stderr.startswith("deepseek-jobs: no daemon ran; started one (pid "), (
            done.stderr
        )
        assert house.wait(1)["state"] == "finished"
        assert "the daemon has ended" in house.done("stop")
        assert "no daemon runs" in house.refused("cancel", "1")
        assert oct((house.state).stat().st_mode)[-3:] == "700" and oct((house.state / "queue.sqlite").stat().st_mode)[
            -3:
        ] in (
            "600",
            "644",
        )
    finally:
        with_daemon = json.loads(house.done("queue", "--json"))["daemon"]
        if with_daemon:
            os.kill(with_daemon, signal.SIGKILL)
        house.close()


def test_there_is_one_daemon_a_queue(house: JobsHouse) -> None:
    assert "a daemon runs already (pid " in house.refused("daemon")


@needs_two_cores
def test_two_core_slots_have_a_core_each(place: Path) -> None:
    with jobs_house(place / "house") as house:
        code = "import os, time; print(sorted(os.sched_getaffinity(0)), flush=True); time.sleep(1)"
        jobs = [house.python(code), house.python(code)]
        for job in jobs:
            assert house.wait(job)["state"] == "finished"
        cores = [json.loads(house.done("logs", str(job))) for job in jobs]
        assert all(len(each) == 1 for each in cores) and cores[0] != cores[1]


def test_the_queue_is_listed_in_a_moment(house: JobsHouse) -> None:
    def run(*words: str) -> None:
        subprocess.run(
            [*as_user(house.uid), sys.executable, *words],
            cwd=house.work,
            env=house.environment,
            check=True,
            capture_output=True,
        )

    assert times(lambda: run(str(MAIN), "queue"), lambda: run("-c", "pass"), clock=children_cpu_s) < 15


def test_modules_in_the_folder_of_a_job_are_no_modules_of_the_queue(place: Path) -> None:
    """With a PYTHONPATH that has the folder in which a program runs."""
    with jobs_house(place / "house", PYTHONPATH=".") as house:
        for name in ("socket", "json", "signal"):
            (house.work / f"{name}.py").write_text("raise RuntimeError('of the job')")
        assert house.wait(house.submit("true"))["state"] == "finished"


def test_rules_may_be_any_numbers(place: Path) -> None:
    huge = dict.fromkeys(("look_s", "stop_s", "measured_s", "stuck_s", "check_s", "check_steps", "least_run_s"), 1e300)
    with jobs_house(place / "house", rules=huge) as house:
        assert house.wait(house.submit("true"))["state"] == "finished"
        assert house.daemon is not None and house.daemon.poll() is None
        assert "Traceback" not in house.said()
