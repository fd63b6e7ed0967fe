"""What others read of a queue: with and without a daemon, and with 10,000 jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.plan import StartJob
from jobs.queue import JobQueue
from jobs.request import JobRequest
from jobs.state_folder import QueueError
from jobs.view import QueueView, row_as_json
from tests.jobs.test_job_queue import planned, state, with_actions
from tests.support.cost import times
from tests.support.planned_jobs import gpus

REQUEST = JobRequest(
    ("python", "train.py"), "/tmp", "train", shares=True, log_dir="/tmp/logs", environment={"KEY": "secret"}
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_a_queue_that_is_not_there_is_empty(folder: Path) -> None:
    view = QueueView(folder / "none")
    assert (
        view.jobs(),
        view.history(),
        view.slots(),
        view.attempts(),
        view.families(),
        view.pairs(),
        view.count(),
    ) == (
        [],
        [],
        [],
        [],
        {},
        {},
        0,
    )
    assert view.daemon() is None and view.carried().fifo is None
    with pytest.raises(QueueError, match="there is no job 3"):
        view.job(3)


def test_rows_say_who_is_beside_whom_and_never_the_environment(folder: Path) -> None:
    queue = JobQueue(folder / "queue.sqlite")
    jobs = [queue.submit(REQUEST, 10.0 + number, lambda job: f"train-{job}") for number in range(3)]
    queue.intend(with_actions(queue, StartJob(jobs[0], ("gpu-0",)), StartJob(jobs[1], ("gpu-0",), (jobs[0],))), 20.0)
    queue.keep(
        "slots",
        {
            "seen_s": 20.0,
            "slots": [
                {"id": "gpu-0", "name": "GPU 0", "memory_mib": 1.0, "free_mib": 1.0, "foreign": False, "why": ""}
            ],
        },
    )
    queue.started(jobs[0], 5, 6, "boot", 21.0)
    view = QueueView(folder)
    first, second, third = view.jobs()
    assert (first.state, first.beside, first.shared_s, first.run) == ("running", (jobs[1],), 20.0, "train-1")
    assert (second.state, second.beside) == ("starting", (jobs[0],)) and (third.state, third.beside, third.on) == (
        "queued",
        (),
        (),
    )
    assert [slot.name for slot in view.slots()] == ["GPU 0"]
    assert "secret" not in str([row_as_json(row) for row in view.jobs()])
    queue.ended(jobs[0], 3, 5.0, 30.0, said="ValueError: no (exit code 3)")
    over = view.history()[0]
    assert (over.state, over.reason, over.exit_code, over.ended_s, over.work_s) == (
        "failed",
        "ValueError: no (exit code 3)",
        3,
        30.0,
        5.0,
    )
    (attempt,) = view.attempts(job=jobs[0])
    assert (attempt.started_s, attempt.ended_s, attempt.slots, attempt.said) == (21.0, 30.0, ("gpu-0",), over.reason)
    assert [each.job for each in view.attempts(since_s=25.0)] == jobs[:2] and [
        each.job for each in view.attempts(since_s=35.0)
    ] == [jobs[1]]
    queue.close()
    assert len(view.jobs()) == 2, "also where no writer has it open"


def test_history_is_filtered_and_paged(folder: Path) -> None:
    queue = JobQueue(folder / "queue.sqlite")
    for number in range(6):
        job = queue.submit(
            REQUEST._replace(argv=("python", f"{'a_b' if number % 2 else 'axb'}.py")), 10.0, lambda job: f"run-{job}"
        )
        queue.cancel(job, 20.0)
    view = QueueView(folder)
    assert [row.id for row in view.history(2)] == [6, 5] and [row.id for row in view.history(2, before=5)] == [4, 3]
    assert [row.id for row in view.history(matching="A_B")] == [6, 4, 2] and view.history(states=("failed",)) == []
    assert [row.id for row in view.history(matching="run-3")] == [3] and view.count() == 6
    queue.close()


def test_a_file_that_is_no_queue_is_a_sentence(folder: Path) -> None:
    (folder / "queue.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(QueueError, match="move it away"):
        QueueView(folder).jobs()


def test_ten_thousand_jobs_are_read_fast(folder: Path) -> None:
    queue = JobQueue(folder / "queue.sqlite")
    queue._db.execute("BEGIN")
    queue._db.executemany(
        "INSERT INTO job (family, slots, submitted_s, high, shares, resumes, argv, cwd, environment, state, queued_s, work_s, ended_s, run) "
        "VALUES ('f', 1, ?, 0, 0, 0, '[\"a\"]', '/', '{}', 'finished', 0, 60, ?, ?)",
        [(float(number), 60.0 + number, f"run-{number}") for number in range(10_000)],
    )
    queue._db.executemany(
        "INSERT INTO attempt (job, number, slots, intended_s, started_s, ended_s, exit_code) VALUES (?, 1, '[\"gpu-0\"]', ?, ?, ?, 0)",
        [(number + 1, float(number), float(number), 60.0 + number) for number in range(10_000)],
    )
    queue._db.execute("COMMIT")
    for number in range(100):
        queue.submit(REQUEST, 20_000.0 + number)
    planned(queue, 30_000.0)
    view = QueueView(folder)

    def look() -> None:
        assert len(view.jobs()) == 100 and len(view.history(100)) == 100
        assert len(view.history(100, matching="run-77")) == 100 and len(view.attempts(since_s=9_000.0)) > 900

    assert times(look, lambda: queue._db.execute("SELECT * FROM job").fetchall()) < 5
    assert len(state(queue).jobs) == 100 and gpus(1)
    queue.close()
