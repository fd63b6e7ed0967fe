"""What a question, a row, a disk or a clock holds costs at most the job that it is about, and never the daemon."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.request import JobRequest
from jobs.run import make_run
from jobs.state_folder import VARIABLE, QueueError, state_folder
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
WHOLE = ("--cores-a-slot", str(len(os.sched_getaffinity(0))))  # one slot


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house", flags=WHOLE) as house:
        yield house


def said_to(house: JobsHouse, question: bytes) -> dict[str, Any]:
    """The answer to a line of bytes."""
    with house.being_them(), socket.socket(socket.AF_UNIX) as daemon:
        daemon.settimeout(20)
        daemon.connect(str(house.state / "daemon.sock"))
        daemon.sendall(question + b"\n")
        with daemon.makefile("rb") as answers:
            found: dict[str, Any] = json.loads(answers.readline())
            return found


def test_nothing_that_a_question_holds_ends_the_daemon(house: JobsHouse) -> None:
    def submission(**fields: object) -> bytes:
        usual = {"argv": ["true"], "cwd": "/tmp", "family": "f", "log_dir": str(house.logs)}
        return json.dumps({"do": "submit", "request": {**usual, **fields}}).encode()

    huge, half = 10**400, "\ud800"
    questions = [
        *(json.dumps({"do": what, "job": job}).encode() for what in ("cancel", "hold", "release") for job in (10**20, -1, 0, huge)),
        b'{"do": ["x"]}', b'{"do": "cancel", "job": 1e3}', b'{"do": "cancel", "job": true}', b'{"do": "hold", "job": "1"}', b'{"do": {"x": 1}}', b'{"do": "submit", "request": []}', b"[" * 100_000, b"9" * 5000, b"\xff", b"[]", b"",
        *(submission(**{field: value}) for field, value in (
            ("declared_mib", huge), ("declared_mib", True), ("slots", huge), ("slots", True), ("slots", 0), ("cwd", "/tmp\0x"), ("cwd", "tmp"), ("cwd", half),
            ("argv", []), ("argv", ["\0"]), ("argv", ["e", half]), ("argv", [["x"]]), ("family", half), ("name", "../../x"), ("name", "/tmp/x"),
            ("name", "a//b"), ("name", "a/.b"), ("name", "n" * 300), ("name", "a\0b"), ("log_dir", "logs"), ("log_dir", f"/tmp/{half}"),
            ("environment", {"A=": "b"}), ("environment", {"": "b"}), ("environment", {"A\0": "b"}), ("environment", {"A": half}),
            ("environment", {half: "b"}), ("place", "x"), ("resume_argv", []), (half, 1), ("x" * 9000, huge),
        )),
    ]  # fmt: skip
    for question in questions:
        answer = said_to(house, question)
        assert set(answer) == {"error"} and len(answer["error"]) < 600 and "Error" not in answer["error"], (
            question[:200],
            answer,
        )
    assert house.daemon is not None and house.daemon.poll() is None, house.said()
    assert house.rows() == {} and list(house.logs.iterdir()) == [], "nothing is left of them"
    assert "Traceback" not in house.said()
    assert house.wait(house.python("print(1)"))["state"] == "finished"


def test_a_full_disk_costs_what_is_asked_meanwhile_and_not_the_daemon(house: JobsHouse) -> None:
    """A limit of the bytes of a file does to the daemon what a full disk does."""
    job, held = house.python("import time; time.sleep(1.5)"), house.python("print(2)")
    house.wait(job, "running")
    assert house.daemon is not None
    limit(house, "0:unlimited")
    assert "cannot be written" in house.refused("hold", str(held)) and "make room" in house.refused("cancel", str(job))
    runs = sorted(path.name for path in house.logs.iterdir())
    with pytest.raises(QueueError, match="make room"):
        house.submit("true")
    assert sorted(path.name for path in house.logs.iterdir()) == runs, "no empty run is left"
    wait_for((house.logs / house.row(job)["run"] / "exit.json").exists)
    time.sleep(0.5)
    assert house.daemon.poll() is None, house.said()
    limit(house, "unlimited")
    assert house.wait(job)["state"] == "finished" and house.wait(held)["state"] == "finished"


def test_a_daemon_that_cannot_write_says_so_and_does_not_start(place: Path) -> None:
    house = JobsHouse(place / "house", flags=WHOLE)
    house.environment["DEEPSEEK_JOBS_DIR"] = str(house.state)
    done = subprocess.run(
        ["prlimit", "--fsize=0", *as_user(house.uid), sys.executable, str(MAIN), "daemon", *house.flags],
        env=house.environment, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "make room" in done.stderr, done.stderr


def test_a_damaged_queue_is_a_sentence(place: Path) -> None:
    house = JobsHouse(place / "house", flags=WHOLE)
    house.state.mkdir(mode=0o700)
    (house.state / "queue.sqlite").write_bytes(os.urandom(5000))
    for path in (house.state, house.state / "queue.sqlite"):
        os.chown(path, house.uid, house.uid)
    assert "queue.sqlite away" in house.refused("daemon")


def test_a_log_folder_that_cannot_be_written_is_waited_for(house: JobsHouse) -> None:
    blocker, job = house.python(SLEEPS), house.python("print(1)")
    run = house.logs / house.row(job)["run"]
    (run / "output.log").mkdir()
    house.done("cancel", str(blocker))
    row = house.wait_until(job, lambda row: row["attempts"] > 1)
    assert row["state"] in ("queued", "starting") and (row["exit_code"], row["attempt_rows"][0]["exit_code"]) == (
        None,
        None,
    )
    row = house.wait_until(job, lambda row: row["state"] == "queued" and bool(row["reason"]))
    assert f"{run}/output.log" in row["reason"] and "Is a directory" in row["reason"] and "tried again" in row["reason"]
    assert house.wait(house.python("print(2)"))["state"] == "finished", "others go on meanwhile"
    (run / "output.log").rmdir()
    assert house.wait(job)["state"] == "finished"


def test_a_program_that_cannot_be_executed_now_is_tried_again(house: JobsHouse) -> None:
    """As one that is being written: the same holds where the host lacks memory, or processes."""
    program = house.work / "program"
    shutil.copy("/bin/sleep", program)
    with program.open("r+b"):
        job = house.submit("./program", "0.1")
        row = house.wait_until(job, lambda row: "tried again" in row["reason"])
        assert row["state"] == "queued" and "Text file busy" in row["reason"] and "program" in row["reason"]
    assert house.wait(job)["state"] == "finished"


def test_clocks_may_jump(place: Path) -> None:
    """Here the times in the queue's file do, against the clock."""
    with jobs_house(place / "house", rules={"look_s": 0.1, "stop_s": 1}, flags=WHOLE) as house:
        job = house.python("import time; time.sleep(1)")
        house.wait(job, "running")
        change(house, "UPDATE attempt SET started_s = started_s - 864000")
        assert house.wait(job)["state"] == "finished" and house.row(job)["work_s"] < 20
        (attempt,) = house.row(job)["attempt_rows"]
        assert attempt["ended_s"] - attempt["started_s"] < 20
        stays = house.submit("bash", "-c", "trap '' TERM; echo up; while true; do sleep 0.1; done")
        house.wait_for_output(stays, "up\n")
        house.done("cancel", str(stays))
        wait_for(lambda: house.row(stays)["state"] == "stopping")
        change(house, "UPDATE attempt SET stop_s = stop_s + 86400 WHERE stop_s IS NOT NULL")
        assert house.wait(stays)["exit_code"] == -9


def limit(house: JobsHouse, size: str) -> None:
    """Of files that its daemon writes."""
    assert house.daemon is not None
    subprocess.run([*as_user(house.uid), "prlimit", f"--pid={house.daemon.pid}", f"--fsize={size}"], check=True)


def change(house: JobsHouse, sql: str) -> None:
    with house.being_them(), closing(sqlite3.connect(house.state / "queue.sqlite", timeout=20)) as file, file:
        file.execute(sql)


def test_queues_may_share_a_log_folder(tmp_path: Path) -> None:
    request = JobRequest(("true",), "/", "f", log_dir=str(tmp_path))
    assert [make_run(request, 1) for _ in range(4)] == ["true-1", "true-1-1", "true-1-1-2", "true-1-1-3"]


def test_a_state_folder_has_one_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert (
        state_folder({VARIABLE: str(tmp_path / "link")})
        == state_folder({VARIABLE: str(tmp_path / "real")})
        == tmp_path / "real"
    )
