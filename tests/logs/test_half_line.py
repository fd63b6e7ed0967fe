"""The last line of a file that has no newline: nothing of it is lost, and what is but half written is not taken."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.logs import file as half_line
from collectors.logs.file import HeldFiles, PartialLine
from collectors.records import LogLine, Points
from tests.support.following import Follower, offset_of, until

OLD_S = 3600.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_line, "WHOLE_S", 0.1)
    monkeypatch.setattr(half_line, "QUIET_S", 0.3)
    monkeypatch.setattr(half_line, "FRESH_S", 0.05)


def lines_of(follower: Follower) -> list[str]:
    return [record.text for record in follower.records if isinstance(record, LogLine)]


def wait(follower: Follower, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        follower.collect()
        follower.wake.wait(0.05)


@pytest.mark.parametrize("name", ["metrics.jsonl", "log.csv", "train.log"])
def test_an_old_file_keeps_its_last_line(follower: Follower, name: str) -> None:
    texts = {
        "metrics.jsonl": '{"step": 1, "x": 1.5}\n{"step": 2, "x": 2.5}',
        "log.csv": "step,x\n1,1.5\n2,2.5",
        "train.log": "one\ntwo",
    }
    path = follower.root / "a" / name
    path.parent.mkdir()
    path.write_text(texts[name])
    os.utime(path, (time.time() - OLD_S,) * 2)
    follower.restart()
    if name == "train.log":
        until(follower, lambda: lines_of(follower) == ["one", "two"])
        assert all(
            record.time_s < time.time() - OLD_S / 2 for record in follower.records if isinstance(record, LogLine)
        )
    else:
        assert follower.values(2) == [1.5, 2.5]
    assert offset_of(follower, f"a/{name}").offset == path.stat().st_size


def test_the_last_words_of_a_program_that_was_killed_are_shown(follower: Follower) -> None:
    path = follower.root / "a" / "train.log"
    path.parent.mkdir()
    code = "import os, sys, time; sys.stdout.write('CUDA error: an illegal access'); sys.stdout.flush(); time.sleep(1.5); os._exit(1)"
    with path.open("w") as file:
        program = subprocess.Popen([sys.executable, "-c", code], stdout=file)
    wait(follower, 1.0)
    assert program.poll() is not None or lines_of(follower) == []  # it may go on with its line
    program.wait()
    until(follower, lambda: lines_of(follower) == ["CUDA error: an illegal access"])


def test_a_program_that_buffers_its_output_keeps_its_line_whole(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    path.parent.mkdir()
    with path.open("w") as file:
        file.write('{"step": 1, "x": 1}\n{"step": 2, "x": 1')
        file.flush()
        wait(follower, 1.5)
        assert follower.values(1) == [1]
        file.write("2}\n")
    assert follower.values(2) == [1, 12]


def test_a_complete_object_does_not_wait_for_its_program(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    path.parent.mkdir()
    with path.open("w") as file:
        file.write('{"step": 1, "x": 1}')
        file.flush()
        assert follower.values(1) == [1]
        file.write('\n{"step": 2, "x": 2}\n')
        file.flush()
        assert follower.values(2) == [1, 2]
    assert not offset_of(follower, "a/metrics.jsonl").first_skip


def test_a_progress_bar_is_no_last_line(follower: Follower) -> None:
    path = follower.root / "a" / "train.log"
    path.parent.mkdir()
    path.write_text("start\n\r 10%\r 20%")
    wait(follower, 1.0)
    assert lines_of(follower) == ["start"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text('ab 1{}"\t,', max_size=30), max_size=20), ends=st.booleans())
def test_each_line_comes_once_whether_or_not_a_newline_ends_the_file(
    follower: Follower, texts: list[str], ends: bool
) -> None:
    path = follower.root / f"run{sum(1 for _ in follower.root.iterdir())}" / "train.log"
    expected = [text for text in texts if text.strip()]

    def lines() -> list[str]:
        return [
            record.text for record in follower.records if isinstance(record, LogLine) and record.run == path.parent.name
        ]

    path.parent.mkdir()
    path.write_text("\n".join(texts) + "\n" * ends)
    os.utime(path, (time.time() - OLD_S,) * 2)
    until(follower, lambda: len(lines()) >= len(expected))
    assert lines() == expected
    with path.open("a") as file:
        file.write("\nlast\n")
    until(follower, lambda: lines()[-1:] == ["last"])
    assert lines() == [*expected, "last"]


def test_who_holds_a_file_is_seen_wherever_it_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("x")
    held = HeldFiles(clock=iter(range(0, 1000, 10)).__next__)
    assert not held.has(path.name, path.stat())
    with path.open():
        assert not held.has(path.name, path.stat())
    with path.open("a"):
        assert held.has(path.name, path.stat())
    other = tmp_path / "b" / "train.log"
    other.parent.mkdir()
    other.write_text("y")
    with other.open("a"):
        assert not held.has(path.name, path.stat())


def test_another_users_file_is_given_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.log"
    path.write_text("x")
    os.utime(path, (time.time() - 60,) * 2)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert PartialLine(path).is_line(b"x", descriptor, is_live=False)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert not PartialLine(path).is_line(b"x", descriptor, is_live=False)
    finally:
        os.close(descriptor)
    assert list(Path(tmp_path).iterdir()) == [path]


def test_points_of_the_last_line_have_the_time_of_its_writing(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    path.parent.mkdir()
    before_s = time.time()
    path.write_text('{"step": 1, "x": 1}')
    after_s = time.time()
    follower.values(1)
    point = next(record for record in follower.records if isinstance(record, Points))
    assert point.time_s is not None and before_s - 1 <= point.time_s <= after_s + 1
