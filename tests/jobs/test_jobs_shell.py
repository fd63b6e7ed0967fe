"""What a user types at `deepseek-jobs` and reads: names for numbers, several at once, lines that fit, a daemon that comes back as it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.commands.text import amount, clock, end_of, table
from jobs.plan import JobPlan, PlannerState, Promise, StartJob
from jobs.queue import JobQueue
from jobs.request import JobRequest, request_of, require_no_shell, require_script
from jobs.state_folder import QueueError
from jobs.view import JobAttemptRow, QueueView
from tests.jobs.test_job_queue import with_actions
from tests.support.jobs_house import JobsHouse, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

REQUEST = JobRequest(("python", "train.py"), "/tmp", "train", log_dir="/tmp/logs")


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=("--cores-a-slot", str(len(os.sched_getaffinity(0))))) as house:
        yield house


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def test_jobs_are_named_by_their_runs_and_several_at_once(house: JobsHouse) -> None:
    blocker = house.submit("sleep", "600", name="first")
    house.wait(blocker, "running")
    jobs = [house.submit("true", name=name) for name in ("a", "b")]
    assert house.done("hold", "a", str(jobs[1])) == f"job {jobs[0]} is held\njob {jobs[1]} is held\n"
    some = house.command("release", "a", "77", "b")
    assert (some.returncode, some.stdout) == (2, f"job {jobs[0]} is released\njob {jobs[1]} is released\n")
    assert some.stderr == "deepseek-jobs: there is no job 77; `deepseek-jobs queue` lists them\n"
    house.done("cancel", "a", "b", "first")
    house.wait(blocker, "cancelled")
    listed = house.done("queue")
    assert "ago" in listed and listed.count("cancelled") == 3, "the state, and not again for a reason"
    shown = house.done("show", "first")
    assert "state:" in shown and "cancelled: cancelled" not in shown and shown.count(":") > 10


def test_a_daemon_that_submit_starts_has_the_flags_of_the_last_one(house: JobsHouse) -> None:
    cores = len(os.sched_getaffinity(0))
    assert "until then nothing is started, held, released or cancelled" in house.done("stop")
    done = house.command("submit", "--", "true")
    assert (
        f"started one with the flags of the last one, --cores-a-slot {cores} --rules {house.folder}/rules.json"
        in done.stderr
    ), done
    try:
        assert house.wait(1)["state"] == "finished"
        with house.being_them():
            assert len(QueueView(house.state).slots()) == 1
    finally:
        with house.being_them():
            pid = QueueView(house.state).daemon()
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not (house.state / "daemon.sock").exists(), 20)


def test_a_daemon_survives_a_number_that_is_too_large(house: JobsHouse) -> None:
    from jobs.client import QueueClient

    with house.being_them():
        for number in (2**63, 2**200, -(2**64)):
            with pytest.raises(QueueError):
                QueueClient(house.state).cancel(number)
        assert QueueClient(house.state).answers()


def test_jobs_stand_in_the_order_in_which_the_plan_goes_through_them(folder: Path) -> None:
    queue = JobQueue(folder / "queue.sqlite")
    jobs = [queue.submit(REQUEST, 10.0 + number, lambda job: f"train-{job}") for number in range(4)]
    high = queue.submit(REQUEST._replace(high=True), 100.0)
    after = queue.submit(REQUEST, 100.0)
    queue.intend(with_actions(queue, StartJob(jobs[1], ("gpu-0",))), 110.0)
    queue.hold(jobs[0], 111.0)
    order = (after, jobs[3], high, jobs[2], jobs[0])
    queue.intend(
        JobPlan((Promise(high, ("gpu-1",)),), dict.fromkeys(order, "waits"), frozenset(), PlannerState()), 120.0
    )
    late = queue.submit(REQUEST, 130.0)  # that no plan has seen
    assert [row.id for row in QueueView(folder).jobs()] == [jobs[1], high, after, jobs[3], jobs[2], late, jobs[0]]
    queue.close()


def test_a_cancelled_job_has_waited_until_then(folder: Path) -> None:
    queue = JobQueue(folder / "queue.sqlite")
    job, held = queue.submit(REQUEST, 10.0), queue.submit(REQUEST, 10.0)
    queue.hold(held, 40.0)
    queue.cancel(job, 250.0)
    queue.cancel(held, 250.0)
    assert [row.waited_s for row in QueueView(folder).history()] == [30.0, 240.0]
    queue.close()


def test_a_run_name_is_the_job_that_is_not_over_and_else_must_be_one(folder: Path) -> None:
    queue = JobQueue(folder / "queue.sqlite")
    first, second, third = (queue.submit(REQUEST, 10.0, lambda job: "same") for _ in range(3))
    view = QueueView(folder)
    with pytest.raises(QueueError, match=f"jobs {first}, {second}, {third}: give a number"):
        view.find("same")
    queue.cancel(first, 20.0)
    queue.cancel(third, 20.0)
    assert view.find("same").id == second == view.find(str(second)).id
    with pytest.raises(QueueError, match="no job with the number or run"):
        view.find("")
    queue.close()


def test_an_end_says_for_whom_it_was() -> None:
    attempt = JobAttemptRow(
        1, 1, (), 0.0, 0.0, 5.0, 75, "preempted", 13, "preempted, its checkpoint is written", None, "", ""
    )
    assert end_of(attempt) == "preempted for job 13, its checkpoint is written"
    assert end_of(attempt._replace(why="rolled back", said="")) == "rolled back beside job 13"
    assert end_of(attempt._replace(why="", because=None, said="no (exit code 1)")) == "no (exit code 1)"


def test_a_slot_of_one_core_is_called_a_core(folder: Path) -> None:
    queue = JobQueue(folder / "queue.sqlite")
    slot = {"memory_mib": None, "free_mib": None, "foreign": False, "why": ""}
    names = {"cores-0": "cores 0", "cores-1": "cores 1-2", "gpu": "GPU 0"}
    queue.keep("slots", {"seen_s": 1.0, "slots": [{"id": key, "name": name, **slot} for key, name in names.items()]})
    assert [slot.name for slot in QueueView(folder).slots()] == ["core 0", "cores 1-2", "GPU 0"]
    queue.close()


def test_lines_fit_the_terminal_and_amounts_their_units() -> None:
    rows = [("JOB", "WHY"), ("7", "waits for 1 GPU " * 10)]
    assert [len(line) for line in table(rows, 60).splitlines()] == [8, 60] and table(rows, 60).endswith("…")
    assert "…" not in table(rows) and len(table(rows, 5).splitlines()[1]) == 25
    assert [amount(mib) for mib in (3.2, 512, 1023.9, 1536, 81920)] == [
        "3 MiB",
        "512 MiB",
        "1 GiB",
        "1.5 GiB",
        "80 GiB",
    ]
    assert clock(0.0, seconds=True).count(":") == 2 and clock(0.0).count(":") == 1


@pytest.mark.parametrize(
    ("words", "variables", "is_refused"),
    [
        ("a && b", False, True), ("a || b", False, True), ("a | b", False, True), ("a ; b", False, True), ("a; b", False, True),
        ("a > b", False, True), ("a >b.txt", False, True), ("a 2>&1", False, True), ("a < b", False, True), ("a & b", False, True),
        ("a $(date)", False, True), ("a `date`", False, True), ("a $HOME/x", True, True), ("a --out=${HOME}", True, True),
        ("a $HOME/x", False, False), ("a x>3", True, False), ("a <EOS>", True, False), ("a a;b", True, False), ("a 5$", True, False),
        ("find . -exec rm {} ;", True, False), ("a -", True, False), ("a lr=1e-3 +x=[1,2]", True, False),
    ],
)  # fmt: skip
def test_words_of_a_shell_are_refused(words: str, variables: bool, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(QueueError, match="for a shell"):
            require_no_shell(words.split(), "it", variables=variables)
    else:
        require_no_shell(words.split(), "it", variables=variables)


def test_what_a_shell_gets_is_its_own() -> None:
    require_no_shell(["bash", "-c", "a && b > $HOME/x"], "it", variables=True)
    require_no_shell(["python", "-c", "print(1);"], "it", variables=True)


def test_a_script_that_is_not_there_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "here.py").touch()
    for words in (
        ["python", "here.py"],
        ["python", "-m", "no.py"],
        ["python", "-c", "x", "no.py"],
        ["torchrun", "no.py"],
        ["python"],
    ):
        require_script(words, tmp_path, "it")
    for words in (["python3.12", "-X", "dev", "-u", "no.py"], ["/usr/bin/python", "no.py"], ["bash", "no.sh"]):
        with pytest.raises(QueueError, match="which is not in"):
            require_script(words, tmp_path, "it")
    meant = request_of(["sh", "no.sh", "&&"], cwd=tmp_path, environment={"PATH": "/usr/bin:/bin"}, force=True)
    assert meant.argv == ("sh", "no.sh", "&&")
