"""What a row of the queue holds costs at most its own job; the queue's file may be damaged while the daemon runs."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobs.state_folder import QueueError
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture

WHOLE = ("--cores-a-slot", str(len(os.sched_getaffinity(0))))  # one slot


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=WHOLE) as house:
        yield house


ODD = [
    "cwd = '/tmp' || char(0) || 'x'", "cwd = ''", "argv = '{'", "argv = '[]'", "argv = '[7]'", "argv = '[\"e\\u0000\"]'", "argv = '[\"\\ud800\"]'",
    "environment = '[]'", "environment = '{\"A=\": \"b\"}'", "environment = '{\"A\": \"\\ud800\"}'", "slots = 4611686018427387904", "slots = -1",
    "slots = 'x'", "declared_mib = 1e308", "declared_mib = 'x'", "promised = '{'", "on_slots = 'x'", "run = 'a' || char(0)", "log_dir = char(0)",
    "submitted_s = 9e999", "queued_s = 'x'", "ran_s = -9e999", "waited_s = 1e308", "family = x'ff'", "name = x'ff'", "resume_argv = 'x'",
    "needs_mib = -1", "stops = 'x'",
]  # fmt: skip


def test_rows_cost_only_their_own_jobs(house: JobsHouse) -> None:
    """All at once, each alone in its job: another job goes its way."""
    blocker = house.submit("sleep", "60")
    house.wait(blocker, "running")
    odd = [house.submit("true") for _ in ODD]
    job = house.submit("true")
    with house.being_them(), closing(sqlite3.connect(house.state / "queue.sqlite", timeout=20)) as file, file:
        for number, change in zip(odd, ODD, strict=True):
            file.execute(f"UPDATE job SET {change} WHERE id = {number}")
    house.done("cancel", str(blocker))
    deadline_s = time.monotonic() + 60
    while state_of(house, job) != "finished":
        assert time.monotonic() < deadline_s, house.said()[-3000:]
        time.sleep(0.05)
    assert house.daemon is not None and house.daemon.poll() is None
    assert "cannot be read" in state_of(house, odd[ODD.index("slots = 'x'")], "reason")
    house.done("cancel", str(odd[ODD.index("promised = '{'")]))
    house.done("cancel", str(odd[ODD.index("queued_s = 'x'")]))
    last = house.submit("true")
    while state_of(house, last) != "finished":
        assert time.monotonic() < deadline_s, house.said()[-3000:]
        time.sleep(0.05)


def state_of(house: JobsHouse, job: int, column: str = "state") -> str:
    with house.being_them(), closing(sqlite3.connect(house.state / "queue.sqlite", timeout=20)) as file:
        return str(file.execute(f"SELECT {column} FROM job WHERE id = {job}").fetchone()[0])


def test_what_else_the_file_holds_may_be_odd(house: JobsHouse) -> None:
    with house.being_them(), closing(sqlite3.connect(house.state / "queue.sqlite", timeout=20)) as file, file:
        file.execute("UPDATE family SET record = '{'")
        file.execute("UPDATE kept SET value = '[' WHERE name = 'carried'")
    job = house.submit("true")
    assert house.wait(job)["state"] == "finished"


def test_a_state_folder_that_cannot_be_written_for_a_while_is_waited_for(place: Path) -> None:
    with jobs_house(place / "house", flags=WHOLE) as house:
        attempts = house.state / "attempts"
        attempts.chmod(0o500)
        job = house.submit("true")
        row = house.wait_until(job, lambda row: "tried again" in row["reason"])
        assert "Permission denied" in row["reason"] and str(attempts) in row["reason"]
        attempts.chmod(0o700)
        assert house.wait(job)["state"] == "finished"


def test_a_file_that_is_damaged_inside_is_a_sentence(place: Path) -> None:
    with jobs_house(place / "house", flags=WHOLE) as house:
        for _ in range(30):
            house.submit("true", env=[f"XDG_PADDING={'x' * 3000}"])
        house.done("stop")
        assert house.daemon is not None and house.daemon.wait(60) == 0
        with house.being_them(), closing(sqlite3.connect(house.state / "queue.sqlite")) as file:
            file.execute("PRAGMA journal_mode = DELETE")
        path = house.state / "queue.sqlite"
        whole = path.read_bytes()
        with path.open("r+b") as damaged:
            damaged.seek(2 * 4096)
            damaged.write(os.urandom(len(whole) - 2 * 4096))
        command = [*as_user(house.uid), sys.executable, str(MAIN), "daemon", *house.flags]
        with (house.folder / "daemon.out").open("ab") as log:
            house.daemon = subprocess.Popen(command, cwd="/", env=house.environment, stdout=log, stderr=log)
        try:
            code: int | None = house.daemon.wait(4)
        except subprocess.TimeoutExpired:
            code = None
        if code is None:  # what it needs at the start is whole
            with pytest.raises(QueueError, match="damaged"):
                for job in range(1, 31):
                    house.submit("true")
                    house.refused("cancel", str(job))
            assert house.daemon.poll() is None
        else:
            assert code == 2 and "damaged" in house.said().splitlines()[-1] and "Traceback" not in house.said()


def test_submit_on_a_full_disk_says_so(place: Path) -> None:
    house = JobsHouse(place / "house", flags=WHOLE)
    done = subprocess.run(
        ["prlimit", "--fsize=0", *as_user(house.uid), sys.executable, str(MAIN), "submit", "--", "true"], cwd=house.work,
        env=house.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "make room" in done.stderr and done.stderr.count("\n") == 1, done.stderr
