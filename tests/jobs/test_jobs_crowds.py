"""Many that ask at once, files of the queue that are removed below a living daemon, and what it leaves unreaped."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.machine.proc import children, start_ticks
from jobs.client import QueueClient
from jobs.daemon import BETWEEN_S, LONG_S, SETTLE_S, SLOW_S, TurnSchedule
from jobs.measure import StepLines
from jobs.request import request_of
from jobs.request_socket import MAX_CLIENTS
from jobs.state_folder import QueueError
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

WHOLE = ("--cores-a-slot", str(len(os.sched_getaffinity(0))))  # one slot


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=WHOLE) as house:
        yield house


def test_a_crowd_is_answered_one_by_one(house: JobsHouse) -> None:
    request = request_of(["true"], cwd=house.work, environment=house.environment, log_dir=house.logs)
    failed = list[str]()

    def submit() -> None:
        try:
            QueueClient(house.state).submit(request)
        except QueueError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=submit) for _ in range(150)]
    with house.being_them():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == [] and len(house.rows()) == 150


def test_those_that_connect_and_say_nothing_keep_no_others_away(house: JobsHouse) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS + 6)]
    try:
        with house.being_them():
            for connection in silent:
                connection.connect(str(house.state / "daemon.sock"))
        assert house.wait(house.python("print(1)"))["state"] == "finished"
    finally:
        for connection in silent:
            connection.close()


def test_several_that_start_a_daemon_at_once_name_the_one_that_stays(place: Path) -> None:
    house = JobsHouse(place / "house")
    command = [*as_user(house.uid), sys.executable, str(MAIN), "submit", "--", "true"]
    try:
        started = [
            subprocess.Popen(
                command,
                cwd=house.work,
                env=house.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        said = [process.communicate(timeout=60)[1] for process in started]
        assert [process.returncode for process in started] == [0] * 4, said
        pid = json.loads(house.done("queue", "--json"))["daemon"]
        assert any(said) and all(f"(pid {pid}," in words for words in said if words), said
    finally:
        if pid := json.loads(house.done("queue", "--json"))["daemon"]:
            os.kill(pid, signal.SIGKILL)
        house.close()


@given(gaps_s=st.lists(st.floats(0.001, 0.1), min_size=2, max_size=200), turn_s=st.floats(0, 1))
def test_submissions_have_no_turn_each(gaps_s: list[float], turn_s: float) -> None:
    """A turn takes the longer the more there are."""
    now_s, began = 100.0, []
    turns = TurnSchedule(look_s=60.0, now_s=now_s)
    for gap_s in gaps_s:
        now_s += gap_s
        turns.hear()
        if now_s >= turns.due_s:
            began.append(now_s)
            now_s += turn_s
            turns.turned(began[-1], now_s, unsettled=False, by_s=math.inf)
    assert began and all(later - earlier >= BETWEEN_S - 1e-9 for earlier, later in itertools.pairwise(began))
    turns.hear()
    assert turns.due_s <= began[-1] + BETWEEN_S + 1e-9, "no news waits longer"


def test_what_does_not_settle_is_looked_at_less_often() -> None:
    now_s, began = 0.0, []
    turns = TurnSchedule(look_s=10.0, now_s=now_s)
    while now_s < 2 * LONG_S:
        now_s = max(now_s, turns.due_s)
        began.append(now_s)
        turns.turned(now_s, now_s, unsettled=True, by_s=math.inf)
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert gaps_s[0] == pytest.approx(SETTLE_S) and gaps_s[-1] == pytest.approx(SLOW_S)
    turns.turned(now_s, now_s, unsettled=False, by_s=now_s + 5.0)
    assert turns.due_s == now_s + 5.0


def test_submissions_wait_for_no_turn(house: JobsHouse) -> None:
    """What is submitted at once is known at once, and is started once there is a slot."""
    jobs = [house.submit("/bin/true") for _ in range(12)]
    assert [house.wait(job)["state"] for job in jobs] == ["finished"] * 12


def test_what_orphans_of_jobs_leave_is_reaped_at_once(place: Path) -> None:
    with jobs_house(place / "house", rules={"look_s": 60}, flags=WHOLE) as house:
        job = house.submit("bash", "-c", "sleep 1; exit 3")
        house.wait(job, "running")
        os.kill(house.keeper(job), signal.SIGKILL)
        assert house.daemon is not None and house.wait(job)["exit_code"] == 3
        pid = house.daemon.pid
        wait_for(lambda: all(start_ticks(child) is not None for child in children(pid)), because="a zombie stays")


@pytest.mark.parametrize("removed", ["queue.sqlite-wal", "queue.sqlite-shm"])
def test_no_job_is_lost_with_a_file_beside_the_queue(house: JobsHouse, removed: str) -> None:
    assert house.daemon is not None
    blocker, held = house.submit("sleep", "60"), house.submit("true")
    house.done("hold", str(held))
    (house.state / removed).unlink()
    with pytest.raises(QueueError, match=f"{removed}.* while the daemon ran, so it ends"):
        house.submit("true")
    assert house.daemon.wait(60) == 0
    house.start()
    house.done("release", str(held))
    house.done("cancel", str(blocker))
    assert house.wait(held)["state"] == "finished" and house.submit("true") == held + 1


@pytest.mark.parametrize("removed", ["queue.sqlite", "lock", ""])
def test_a_daemon_whose_files_are_removed_says_so_and_ends(house: JobsHouse, removed: str) -> None:
    assert house.daemon is not None
    path = house.state / removed
    if removed:
        path.unlink()
        with pytest.raises(
            QueueError,
            match=f"{removed}.* while the daemon ran, so it ends|no daemon runs|ended before it answered"
            if removed != "lock"
            else "was removed",
        ):
            house.python("print(1)")
    else:
        shutil.rmtree(path)
    assert house.daemon.wait(60) == 0 and "was removed" in house.said()
    (house.state / "daemon.sock").unlink(missing_ok=True)
    house.start()
    assert house.wait(house.python("print(1)"))["state"] == "finished"


def test_numbers_that_are_none_are_no_steps(tmp_path: Path) -> None:
    read = StepLines(tmp_path, 0.0)
    huge = 10**400
    rows = [
        {"time_s": 1.0, "step": 1, "units": huge}, {"time_s": huge, "step": 2}, {"time_s": 2.0, "step": huge}, {"time_s": math.nan, "step": 3},
        {"time_s": 3.0, "step": 4, "phase/data_s": huge}, {"time_s": 4.0, "step": 5, "phase/data_s": math.inf},
    ]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "[" * 90_000 + "\n")
    (tmp_path / "events.jsonl").write_text(json.dumps({"time_s": huge, "kind": "checkpoint"}) + "\n")
    read.look()
    assert read.units == 2 and read.checkpoint_s is None


@given(st.lists(st.fixed_dictionaries({name: st.integers() | st.floats() | st.text(max_size=2) | st.none() | st.integers().map(lambda n: 10**300 * n) for name in ("time_s", "step", "units", "phase/data_s")}), min_size=6, max_size=12))  # fmt: skip
def test_any_numbers_have_a_pace_or_none(rows: list[dict[str, object]]) -> None:
    read = StepLines(Path("/nowhere"), 0.0)
    for row in rows:
        read._take("metrics.jsonl", row)
        pace = read.pace(0.0)
        assert all(value is None or math.isfinite(value) for value in (pace.units_per_s, pace.data_bound))
