"""The queue of jobs in its file: what is intended is written before it is done, and no job runs twice at once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.plan import FamilyRecord, JobPlan, PairSpeeds, PlanRules, Promise, QueueState, StartJob, StopJob, plan
from jobs.queue import JobQueue
from jobs.request import JobRequest
from jobs.state_folder import QueueError
from tests.conftest import ROOT
from tests.support.planned_jobs import GIB, gpus

REQUEST = JobRequest(("python", "train.py", "--lr", "1"), "/tmp", "train", environment={"HOME": "/root"})
SLOTS = gpus(2)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    opened = JobQueue(tmp_path / "jobs.sqlite")
    yield opened
    opened.close()


def state(queue: JobQueue) -> QueueState:
    return queue.state(SLOTS, 8, PlanRules())


def planned(queue: JobQueue, now_s: float) -> JobPlan:
    made = plan(state(queue), now_s)
    queue.intend(made, now_s)
    return made


def with_actions(queue: JobQueue, *actions: StartJob | StopJob | Promise | PairSpeeds) -> JobPlan:
    return replace(plan(state(queue), 50.0), actions=actions)


def test_a_job_goes_from_the_queue_to_its_end(queue: JobQueue) -> None:
    job = queue.submit(REQUEST, 10.0)
    assert queue.request(job) == REQUEST and queue.state_of(job) == "queued"
    made = planned(queue, 20.0)
    assert made.actions == (StartJob(job, ("gpu-0",)),) and queue.state_of(job) == "starting"
    assert [each.pid for each in queue.intended()] == [None]
    queue.started(job, 77, 5, "boot", 21.0)
    assert queue.state_of(job) == "running" and planned(queue, 22.0).actions == ()
    assert queue.ended(job, 0, 100.0, 121.0) == "finished"
    assert queue.intended() == [] and state(queue).jobs == {} and queue.family("train").durations_s == (100.0,)


def test_a_job_that_waits_has_its_reason_in_the_file(queue: JobQueue, tmp_path: Path) -> None:
    jobs = [queue.submit(REQUEST._replace(slots=2), 10.0), queue.submit(REQUEST, 11.0)]
    planned(queue, 20.0)
    with sqlite3.connect(tmp_path / "jobs.sqlite") as other:
        (reason,) = other.execute("SELECT reason FROM job WHERE id = ?", jobs[1:]).fetchone()
    other.close()
    assert reason.startswith(f"waits for 1 GPU; job {jobs[0]} has to end, and no job like it has ended yet")


def test_a_plan_goes_on_where_it_was_after_a_new_start(queue: JobQueue, tmp_path: Path) -> None:
    for number in range(6):
        queue.submit(REQUEST._replace(slots=1 + number % 2, high=number == 3), 10.0 + number)
    queue.remember("train", FamilyRecord(10 * GIB, 0.4, durations_s=(50.0, 70.0)))
    made = planned(queue, 20.0)
    queue.intend(with_actions(queue, PairSpeeds(("a", "b"), (0.9, 0.8))), 20.0)
    again = JobQueue(tmp_path / "jobs.sqlite")
    assert state(again) == state(queue)
    assert state(again).pairs == {("a", "b"): (0.9, 0.8)} and state(again).carried.fifo is not None
    assert plan(state(again), 30.0).actions == () and made.actions
    again.close()


def test_no_job_is_started_twice(queue: JobQueue) -> None:
    job = queue.submit(REQUEST, 10.0)
    made = plan(state(queue), 20.0)
    assert len(queue.intend(made, 20.0)) == 1
    assert queue.intend(made, 21.0) == [], "it is no longer queued"
    queue.started(job, 77, 5, "boot", 22.0)
    with pytest.raises(QueueError, match="no attempt that is to start"):
        queue.started(job, 78, 6, "boot", 23.0)


def test_an_attempt_that_was_never_started_is_queued_again(queue: JobQueue) -> None:
    job = queue.submit(REQUEST, 10.0)
    planned(queue, 20.0)
    assert queue.ended(job, None, 0.0, 30.0) == "queued"
    assert [action.job for action in planned(queue, 40.0).actions if isinstance(action, StartJob)] == [job]
    queue.started(job, 77, 5, "boot", 41.0)
    assert queue.ended(job, None, 0.0, 50.0) == "failed", "it cannot resume, and nothing says how it ended"


def test_a_stopped_job_is_queued_again_with_what_its_checkpoint_has(queue: JobQueue) -> None:
    job = queue.submit(REQUEST._replace(resume_argv=("python", "train.py", "--resume")), 10.0)
    planned(queue, 20.0)
    queue.started(job, 77, 5, "boot", 20.0)
    queue.intend(with_actions(queue, StopJob(job, "preempted", 9)), 50.0)
    assert queue.state_of(job) == "stopping"
    assert queue.ended(job, 0, 25.0, 60.0) == "queued", "an exit code of 0 is not its end"
    (again,) = state(queue).jobs.values()
    assert (again.stops, again.ran_s, again.waited(60.0), again.on, again.resumes) == (1, 25.0, 10.0, (), True)


def test_out_of_memory_is_tried_again_twice(queue: JobQueue) -> None:
    job = queue.submit(REQUEST, 10.0)
    for expected in ("queued", "queued", "failed"):
        planned(queue, 20.0)
        queue.started(job, 77, 5, "boot", 20.0)
        assert queue.ended(job, 1, 0.0, 30.0, memory_mib=(20 * GIB, 80 * GIB)) == expected


def test_neighbours_are_measured_from_when_they_are_neighbours(queue: JobQueue) -> None:
    first, second = queue.submit(REQUEST, 10.0), queue.submit(REQUEST, 10.0)
    queue.intend(with_actions(queue, StartJob(first, ("gpu-0",))), 20.0)
    queue.measured(first, 1.0, 90)
    assert state(queue).jobs[first].shared_s is None
    queue.intend(with_actions(queue, StartJob(second, ("gpu-0",), (first,))), 30.0)
    assert [(job.shared_s, job.speed, job.steps) for job in state(queue).jobs.values()] == [(30.0, None, 0)] * 2
    queue.started(second, 1, 1, "boot", 31.0)
    queue.ended(second, 0, 5.0, 40.0)
    assert state(queue).jobs[first].shared_s is None


def test_hold_release_and_cancel(queue: JobQueue) -> None:
    job = queue.submit(REQUEST, 10.0)
    queue.hold(job, 15.0)
    assert planned(queue, 20.0).actions == ()
    with pytest.raises(QueueError, match="is held; only a queued job can be put on hold"):
        queue.hold(job, 20.0)
    queue.release(job, 25.0)
    assert state(queue).jobs[job].waited(30.0) == 10.0
    assert queue.cancel(job, 30.0) is False and queue.state_of(job) == "cancelled"
    running = queue.submit(REQUEST, 40.0)
    planned(queue, 41.0)
    assert queue.cancel(running, 42.0) is True and queue.ended(running, 0, 0.0, 43.0) == "cancelled"
    with pytest.raises(QueueError, match="is over already"):
        queue.cancel(running, 44.0)
    with pytest.raises(QueueError, match="there is no job 99"):
        queue.cancel(99, 44.0)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (REQUEST._replace(argv=()), "the command is empty"),
        (REQUEST._replace(argv=("a\0b",)), "the command has a NUL byte"),
        (REQUEST._replace(resume_argv=()), "--resume-with is empty"),
        (REQUEST._replace(slots=0), "at least one GPU"),
        (REQUEST._replace(declared_mib=float("nan")), "--memory is an amount"),
        (REQUEST._replace(declared_mib=-1.0), "--memory is an amount"),
    ],
)
def test_a_request_that_cannot_be_is_a_sentence(queue: JobQueue, request_: JobRequest, sentence: str) -> None:
    with pytest.raises(QueueError, match=sentence):
        queue.submit(request_, 10.0)


def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "jobs.sqlite") as other:
        other.execute("PRAGMA user_version = 9")
    other.close()
    with pytest.raises(QueueError, match="version 9"):
        JobQueue(tmp_path / "jobs.sqlite")


WRITER = """
import sys
from pathlib import Path
from jobs.plan import plan
from jobs.queue import JobQueue
from jobs.request import JobRequest
from jobs.plan import PlanRules, StartJob
from tests.support.planned_jobs import gpus
queue, now_s = JobQueue(Path(sys.argv[1])), float(sys.argv[2])
print("ready", flush=True)
while True:
    now_s += 1
    queue.submit(JobRequest(("true",), "/", "f", resume_argv=("true",)), now_s)
    made = plan(queue.state(gpus(2), 8, PlanRules()), now_s)
    for action in queue.intend(made, now_s):
        if isinstance(action, StartJob):
            print("starts", action.job, flush=True)
            queue.started(action.job, int(now_s), 1, "boot", now_s)
    for attempt in queue.intended()[:1]:
        if attempt.pid:
            queue.ended(attempt.job, 0, 1.0, now_s)
"""


def test_a_writer_that_is_killed_loses_no_job_and_starts_none_twice(tmp_path: Path) -> None:
    chance, path, started = random.Random(1), tmp_path / "jobs.sqlite", list[str]()
    for turn in range(8):
        command = [sys.executable, "-c", WRITER, str(path), str(1000.0 * (turn + 1))]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        ) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.02, 0.3))
            writer.send_signal(signal.SIGKILL)
            started += [line for line in writer.stdout if line.endswith("\n")]
        queue = JobQueue(path)
        jobs = state(queue).jobs
        open_attempts = queue.intended()
        assert {each.job for each in open_attempts} == {job.id for job in jobs.values() if job.placed}
        slots = [slot for each in open_attempts for slot in each.slots]
        assert len(slots) == len(set(slots)), "no GPU twice"
        for attempt in open_attempts:  # as the daemon does with those that the kernel does not know
            queue.ended(attempt.job, None, 0.0, 1000.0 * (turn + 1) + 900)
        (all_jobs,) = queue._db.execute("SELECT count(*) FROM job").fetchone()
        (numbered,) = queue._db.execute("SELECT max(id) FROM job").fetchone()
        assert all_jobs == numbered, "none is lost"
        queue.close()
    assert len(started) > 20


def test_ten_thousand_jobs_that_are_over_cost_the_plan_nothing(queue: JobQueue) -> None:
    queue._db.execute("BEGIN")
    queue._db.executemany(
        "INSERT INTO job (family, slots, submitted_s, high, shares, resumes, argv, cwd, environment, state, queued_s, work_s, ended_s) "
        "VALUES ('f', 1, ?, 0, 0, 0, '[\"a\"]', '/', '{}', 'finished', 0, 60, 1)",
        [(float(number),) for number in range(10_000)],
    )
    queue._db.execute("COMMIT")
    queue.submit(REQUEST, 20_000.0)
    steps = list[int]()
    queue._db.set_progress_handler(lambda: steps.append(1), 1000)  # after so many instructions of SQLite
    assert len(state(queue).jobs) == 1
    assert len(steps) < 200, "each is passed by in SQL, and not read"


def test_a_job_that_is_over_is_kept_without_its_secrets(queue: JobQueue, tmp_path: Path) -> None:
    secret = REQUEST._replace(
        argv=("python", "train.py", "--token", "zzsecret1", "--lr", "1"),
        resume_argv=("python", "train.py", "--db=postgres://ada:zzsecret2@host/d", "--resume"),
        environment={"HOME": "/root", "HF_TOKEN": "zzsecret3"},
    )
    ran, never_ran = queue.submit(secret, 10.0), queue.submit(secret, 11.0)
    planned(queue, 20.0)
    queue.started(ran, 77, 5, "boot", 21.0)
    assert queue.request(ran) == secret, "it may be started again"
    queue.ended(ran, 0, 100.0, 121.0)
    again = queue.submit(secret, 122.0)
    queue.cancel(again, 123.0)
    for job in (ran, again):
        kept = queue.request(job)
        assert "zzsecret" not in str(kept) and kept.argv[-2:] == ("--lr", "1") and kept.environment["HOME"] == "/root"
    assert queue.request(never_ran) == secret
