"""What a question, a row, a disk or a clock holds costs at most the job that it is about, and never the daemon."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs_house import JobsHouse, jobs_house
from tests.jobs_house import place as place  # a fixture

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
        b'{"do": ["x"]}', b'{"do": {"x": 1}}', b'{"do": "submit", "request": []}', b"[" * 100_000, b"9" * 5000, b"\xff", b"[]", b"",
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
        assert set(answer) == {"error"} and len(answer["error"]) < 600 and "Error" not in answer["error"], (question[:200], answer)
    assert house.daemon is not None and house.daemon.poll() is None, house.said()
    assert house.rows() == {} and list(house.logs.iterdir()) == [], "nothing is left of them"
    assert "Traceback" not in house.said()
    assert house.wait(house.python("print(1)"))["state"] == "finished"
