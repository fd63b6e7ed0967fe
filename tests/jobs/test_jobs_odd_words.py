"""What a job, a file system or a caller may put into the words of `deepseek-jobs`: each is shown or refused, and none is obeyed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.api.jobs import NewJob
from jobs import client
from jobs.client import QueueClient
from jobs.commands import inert
from jobs.state_folder import NoAnswer, QueueError
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture


@pytest.fixture
def house(place: Path) -> Iterator[JobsHouse]:
    with jobs_house(place / "house") as house:
        yield house


@given(st.text())
def test_what_is_printed_holds_no_control_character_but_line_ends_and_tabs(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", inert(text))
    assert inert(text) == text or re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


def test_a_terminal_obeys_nothing_of_a_job_but_its_output(house: JobsHouse) -> None:
    job = house.submit("sh", "-c", "printf '\\033]0;owned\\007\\033[2Jgone'; exit 3", "\x1b[31m")
    house.wait(job, "failed")
    for words in (("queue", "--all"), ("show", str(job)), ("explain", str(job))):
        shown = house.done(*words)
        assert "\x1b" not in shown and "\x07" not in shown
    assert "\\x1b[2Jgone" in house.done("queue", "--all") and "\x1b[2Jgone" in house.done("logs", str(job))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([b"--", b"/bin/echo", b"caf\xe9"], "the command has bytes that are no UTF-8"),
        ([b"--log-dir", b"l\xff", b"--", b"true"], "the log folder has bytes that are no UTF-8"),
        ([b"--name", b"a/./b", b"--", b"true"], "is no name of a run"),
        ([b"--name", b"x/.hid", b"--", b"true"], "is no name of a run"),
        ([b"--gpus", b"9" * 5000, b"--", b"true"], "of nine digits at most"),
    ],
)
def test_odd_words_are_a_sentence(house: JobsHouse, words: list[bytes], sentence: str) -> None:
    command = [*(word.encode() for word in [*as_user(house.uid), house.interpreter, str(MAIN), "submit"]), *words]
    done = subprocess.run(command, cwd=house.work, env=house.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_an_output_without_room_or_without_its_letters_is_no_traceback(house: JobsHouse) -> None:
    job = house.submit("echo", "grüße ☃")
    house.wait(job)
    house.environment["PYTHONIOENCODING"] = "ascii"
    assert "gr\\xfc\\xdfe \\u2603" in house.done("show", str(job))
    command = [*as_user(house.uid), house.interpreter, str(MAIN), "queue"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            command, env=house.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "No space left on device" in done.stderr


def test_a_submit_from_a_folder_that_is_gone_says_so(house: JobsHouse) -> None:
    gone = house.work / "gone"
    code = f"import os; os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); os.execv({sys.executable!r}, {[sys.executable, str(MAIN), 'submit', '--', 'true']!r})"
    done = subprocess.run(
        [*as_user(house.uid), sys.executable, "-c", code], env=house.environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and "is not there any more" in done.stderr and done.stderr.count("\n") == 1


def test_a_daemon_that_hangs_is_named_and_no_second_one_is_tried(
    house: JobsHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.daemon is not None
    monkeypatch.setattr(client, "ANSWER_S", 0.5)
    house.daemon.send_signal(signal.SIGSTOP)
    try:
        with house.being_them(), pytest.raises(NoAnswer, match=r"\(pid \d+\) has not answered .* may be done yet"):
            QueueClient(house.state).hold(1)
    finally:
        house.daemon.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("cwd", ["~no such user/x", "/nowhere", "relative"])
def test_a_folder_of_the_page_that_cannot_be_is_a_sentence(cwd: str, tmp_path: Path) -> None:
    wanted = NewJob(argv=["true"], cwd=cwd, log_dir=str(tmp_path))
    with pytest.raises(QueueError):
        wanted.request({"PATH": os.environ["PATH"]})
