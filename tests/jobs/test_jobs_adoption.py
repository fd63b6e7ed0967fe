"""Jobs outlive the daemon, and the next one takes them over; an attempt starts once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.machine.proc import boot_id, start_ticks
from jobs.local_executor import LocalExecutor
from jobs.processes import make_once
from jobs.queue import OpenAttempt
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

ENDS_ON_USR1 = (
    "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7)); print('up', flush=True)\n"
    "while True: time.sleep(0.05); print('on', flush=True)"
)


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house") as house:
        yield house


def running(house: JobsHouse, *flags: str) -> int:
    job = house.python(ENDS_ON_USR1, *flags)
    house.wait(job, "running")
    output = house.logs / house.row(job)["run"] / "output.log"
    wait_for(lambda: output.exists() and b"up" in output.read_bytes())
    return job


def test_a_job_runs_on_without_a_daemon_and_is_adopted(house: JobsHouse) -> None:
    job = running(house)
    pid = house.pid(job)
    house.kill_daemon()
    assert start_ticks(pid) is not None
    house.start()
    assert house.wait(job, "running")["attempts"] == 1 and house.pid(job) == pid
    os.kill(pid, signal.SIGUSR1)
    row = house.wait(job)
    assert (row["state"], row["exit_code"], row["attempts"]) == ("failed", 7, 1)


def test_when_a_job_began_and_ended_while_no_daemon_ran_is_known(house: JobsHouse) -> None:
    """Not when the next daemon saw it: the slots were free since."""
    submitted_s, job = time.time(), house.submit("sleep", "1")
    began, ended = (house.state / "attempts" / f"{job}.1" / name for name in ("started.json", "exit.json"))
    wait_for(began.exists)
    house.kill_daemon()
    wait_for(ended.exists)
    time.sleep(2)
    house.start()
    row = house.wait(job)
    (attempt,) = row["attempt_rows"]
    assert submitted_s < attempt["started_s"] <= began.stat().st_mtime + 0.1
    assert attempt["started_s"] + 0.9 < attempt["ended_s"] <= ended.stat().st_mtime + 0.1
    assert row["work_s"] == pytest.approx(attempt["ended_s"] - attempt["started_s"], abs=0.1)
    assert row["ended_s"] == attempt["ended_s"] and row["waited_s"] <= attempt["started_s"] - submitted_s


def test_what_ended_while_no_daemon_ran_is_known(house: JobsHouse) -> None:
    job = running(house)
    house.kill_daemon()
    os.kill(house.pid(job), signal.SIGUSR1)
    wait_for((house.state / "attempts" / f"{job}.1" / "exit.json").exists)
    house.start()
    assert house.wait(job)["exit_code"] == 7


def test_a_job_whose_keeper_is_killed_runs_on_and_its_code_is_known_to_the_same_daemon(house: JobsHouse) -> None:
    job = running(house)
    os.kill(house.keeper(job), signal.SIGKILL)
    output = house.logs / house.row(job)["run"] / "output.log"
    size = output.stat().st_size
    wait_for(lambda: output.stat().st_size > size, because="what it prints is lost")
    assert house.row(job)["state"] == "running"
    os.kill(house.pid(job), signal.SIGUSR1)
    row = house.wait(job)
    assert (row["exit_code"], row["reason"]) == (7, "its keeper was killed (exit code 7)")


def test_without_keeper_and_daemon_the_end_is_not_known_and_the_job_goes_on_if_it_can(house: JobsHouse) -> None:
    resumes = ("--resume-with", f"{sys.executable} -c 'print(\"again\")'")
    jobs = [running(house), running(house, *resumes)]
    house.kill_daemon()
    for job in jobs:
        os.kill(house.keeper(job), signal.SIGKILL)
        os.kill(house.pid(job), signal.SIGKILL)
    house.start()
    lost, again = (house.wait(job) for job in jobs)
    assert lost["state"] == "failed" and "how it ended is not known" in lost["reason"]
    assert (again["state"], again["attempts"]) == ("finished", 2)
    assert (house.logs / again["run"] / "output.log").read_text().endswith("again\n"), "in the same run"


def test_after_a_reboot_what_can_resume_is_queued_again(house: JobsHouse) -> None:
    jobs = [running(house), running(house, "--resume-with", f"{sys.executable} -c 'print(3)'")]
    house.kill_daemon()
    for job in jobs:  # as a reboot does
        os.kill(house.keeper(job), signal.SIGKILL)
        os.kill(house.pid(job), signal.SIGKILL)
        for name in ("token", "started.json"):
            path = house.state / "attempts" / f"{job}.1" / name
            path.write_text(
                json.dumps(
                    json.loads(path.read_text())
                    | {"boot_id": "another", "pid": os.getpid(), "ticks": start_ticks(os.getpid())}
                )
            )
    with sqlite3.connect(house.state / "queue.sqlite") as db:
        db.execute("UPDATE attempt SET boot_id = 'another'")
    db.close()
    house.start()
    lost, again = (house.wait(job) for job in jobs)
    assert (lost["state"], lost["reason"]) == ("failed", "the host was started anew (an unknown code)")
    assert (again["state"], again["attempts"]) == ("finished", 2)


def test_an_attempt_has_one_token(house: JobsHouse) -> None:
    """A second keeper of an attempt starts nothing."""
    job = running(house)
    folder = house.state / "attempts" / f"{job}.1"
    before = (folder / "token").read_text()
    subprocess.run(
        [*as_user(house.uid), sys.executable, str(MAIN), "attempt", str(folder)], env=house.environment, cwd=house.work
    )
    assert (folder / "token").read_text() == before and len(house.left()) == 1


def test_an_attempt_that_was_intended_and_not_begun_never_begins(tmp_path: Path) -> None:
    """The daemon was killed before the keeper was there: who makes the token decides."""
    executor = LocalExecutor(tmp_path)
    (tmp_path / "attempts").mkdir()
    attempt = OpenAttempt(3, 1, ("cores-0",), None, None, None)
    seen = executor.look(attempt)
    assert seen.state == "ended" and seen.end is not None and not seen.end.begun
    assert not make_once(tmp_path / "attempts" / "3.1" / "token", {"pid": 1}), "a late keeper comes too late"
    assert executor.look(attempt).state == "ended"


def test_a_keeper_that_was_killed_before_the_program_leaves_nothing(tmp_path: Path) -> None:
    executor = LocalExecutor(tmp_path)
    (tmp_path / "attempts" / "3.1").mkdir(parents=True)
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    make_once(tmp_path / "attempts" / "3.1" / "token", {"boot_id": boot_id(), "pid": int(gone.stdout), "ticks": 1})
    seen = executor.look(OpenAttempt(3, 1, ("cores-0",), None, None, None))
    assert seen.end is not None and not seen.end.begun and "its keeper was killed before" in seen.end.said


def test_a_folder_that_is_gone_is_waited_for(house: JobsHouse) -> None:
    blockers = [house.python("import time; time.sleep(60)") for _ in range(len(os.sched_getaffinity(0)))]
    for blocker in blockers:
        house.wait(blocker, "running")
    inner = house.work / "inner"
    inner.mkdir()
    os.chown(inner, house.uid, house.uid)
    outer, house.work = house.work, inner
    job = house.submit("true", flags=("--log-dir", str(outer / "logs")))
    house.work = outer
    inner.rmdir()
    house.done("cancel", str(blockers[0]))
    row = house.wait_until(job, lambda row: "tried again" in row["reason"])
    assert row["state"] == "queued" and f"No such file or directory: {inner}" in row["reason"]
    assert house.wait(house.submit("true"))["state"] == "finished", "others go on meanwhile"
    inner.mkdir()
    inner.chmod(0o755)
    assert house.wait(job)["state"] == "finished"


def test_commands_wait_for_a_daemon_that_is_stopped_and_jobs_run_on(house: JobsHouse) -> None:
    job = running(house)
    assert "jobs that run go on" in house.done("stop")
    assert house.daemon is not None and house.daemon.wait(60) == 0
    time.sleep(0.3)
    assert start_ticks(house.pid(job)) is not None
    assert "no daemon runs, so nothing starts" in house.done("queue")
    house.start()
    house.done("cancel", str(job))
    assert house.wait(job)["state"] == "cancelled"


def test_what_attempts_leave_in_the_queues_folder_is_removed_once_they_have_ended(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    for name in ("1.1", "2.1", "2.2", "3.1", "notes"):
        (attempts / name).mkdir(parents=True)
        for file in ("attempt.json", "token", "started.json", "exit.json", "keeper.log"):
            (attempts / name / file).write_text("{}")
    (attempts / "2.1" / "output.log").write_text("of a job without a run")
    LocalExecutor(tmp_path).clean({(3, 1)}, time.time())
    assert len(list(attempts.rglob("*.json"))) == 15, "its keeper may be at its last words"
    LocalExecutor(tmp_path).clean({(3, 1)}, time.time() + 3600)
    left = sorted(str(path.relative_to(attempts)) for path in attempts.rglob("*") if path.is_file())
    assert [path for path in left if path[0] == "2"] == ["2.1/output.log"] and "1.1" not in " ".join(left)
    assert sum(path.startswith(("3.1", "notes")) for path in left) == 10


def test_a_queue_that_is_reached_by_another_path_has_its_jobs(place: Path) -> None:
    with jobs_house(place / "house", rules={"look_s": 0.1, "stop_s": 0.5}) as house:
        (house.folder / "link").symlink_to(house.state)
        house.environment["DEEPSEEK_JOBS_DIR"] = str(house.folder / "link")
        house.kill_daemon()
        house.start()
        job = house.submit("bash", "-c", "trap '' TERM; echo up; while true; do sleep 0.1; done")
        house.wait_for_output(job, "up\n")
        house.kill_daemon()
        house.environment["DEEPSEEK_JOBS_DIR"] = str(house.state)
        house.start()
        house.done("cancel", str(job))
        assert house.wait(job)["state"] == "cancelled" and house.left() == []
