"""A file that another one takes the place of, or that is written anew where it stands: each line comes once, however the one before ended."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs import file as followed
from collectors.records import LogLine, Points, ProgressBar, Sample
from tests.support.event_records import framed, number
from tests.support.following import Follower, offset_of, until

SOON_S = 30.0
BANNER = "a usual beginning, " * 5
ROWS = {"metrics.jsonl": '{{"step": {0}, "x": {0}}}\n', "log.csv": "{0},{0}\n", "train.log": "step {0} loss {0}\n"}
BEGINNINGS = {"metrics.jsonl": json.dumps({"note": BANNER}) + "\n", "log.csv": "step,x\n", "train.log": f"{BANNER}\n"}
HALVES = {
    "metrics.jsonl": ['{"st', '{"step": 7, "x": 7', "  "],
    "log.csv": ["3,", "\r"],
    "train.log": ["st", "\r 20%|##", "\x1b[1m", "x" * (1 << 20)],
}


def rows(name: str, values: range) -> str:
    return BEGINNINGS[name] + "".join(ROWS[name].format(value) for value in values)


def steps(follower: Follower) -> list[int | None]:
    return [record.step for record in follower.records if isinstance(record, Points | Sample)]


def soon(follower: Follower, expected: range) -> None:
    began_s = time.monotonic()
    until(follower, lambda: len(steps(follower)) >= len(expected) or time.monotonic() - began_s > SOON_S)
    assert steps(follower) == [*expected]


@pytest.mark.parametrize("is_held", [False, True], ids=["closed", "held open"])
@pytest.mark.parametrize("is_removed", [False, True], ids=["renamed", "removed"])
@pytest.mark.parametrize(("name", "half"), [(name, half) for name, halves in HALVES.items() for half in halves])
def test_what_comes_after_a_half_line_is_read_at_once(
    follower: Follower, name: str, half: str, is_removed: bool, is_held: bool
) -> None:
    """Its program ended within the line, or has not let go of the file; nothing more is written to the new one."""
    path = follower.root / "a" / name
    path.parent.mkdir()
    file = path.open("w")
    file.write(rows(name, range(10)))
    file.flush()
    soon(follower, range(10))
    file.write(half)
    file.flush()
    for _ in range(3):
        follower.collect()
    if not is_held:
        file.close()
    if is_removed:
        path.unlink()
    else:
        path.rename(path.with_suffix(".1"))
    path.write_text(rows(name, range(10, 20)))
    soon(follower, range(20))
    file.close()


def test_a_half_record_of_a_format_of_bytes_is_left_behind(follower: Follower) -> None:
    path = follower.root / "a" / "events.out.tfevents.1.box"
    path.parent.mkdir()

    def event(step: int) -> bytes:
        return framed(number("x", float(step), step))

    path.write_bytes(event(0) + event(1) + event(2)[:-3])
    soon(follower, range(2))
    path.unlink()
    path.write_bytes(event(2) + event(3))
    soon(follower, range(4))
    assert "middle of a record" in offset_of(follower, "a/events.out.tfevents.1.box").first_skip


def test_the_state_of_a_bar_is_a_line_where_its_file_ends(follower: Follower) -> None:
    path = follower.root / "a" / "train.log"
    path.parent.mkdir()
    path.write_text("hello\n 10%|#\r 20%|##")
    until(follower, lambda: any(isinstance(record, ProgressBar) and record.text for record in follower.records))
    path.unlink()
    path.write_text("anew\n")
    until(follower, lambda: texts(follower)[-1:] == ["anew"])
    assert texts(follower) == ["hello", " 20%|##", "anew"]
    assert [record for record in follower.records if isinstance(record, ProgressBar)][-1].text == ""


def texts(follower: Follower) -> list[str]:
    return [record.text for record in follower.records if isinstance(record, LogLine)]


def test_what_is_written_under_another_name_is_read_until_the_new_file_is_in_use(follower: Follower) -> None:
    """logrotate makes an empty file; the program writes on under the old name until it opens that, if ever."""
    path = follower.root / "a" / "train.log"
    path.parent.mkdir()
    with path.open("w") as file:
        file.write("one\ntw")
        file.flush()
        until(follower, lambda: texts(follower) == ["one"])
        path.rename(path.with_suffix(".log.1"))
        path.touch()
        for text in ("o\nthree\nfo", "ur\nfive\n"):
            file.write(text)
            file.flush()
            until(
                follower,
                lambda text=text: texts(follower)[-1:] == text.split()[-2:-1] or texts(follower)[-1:] == ["five"],
            )
    assert texts(follower) == ["one", "two", "three", "four", "five"]
    path.write_text("six\n")
    until(follower, lambda: texts(follower)[-1] == "six")


def test_a_copy_that_holds_more_is_read_on_though_a_line_was_half_written(follower: Follower) -> None:
    """As where a file system says another inode at each look."""
    path = follower.root / "a" / "metrics.jsonl"
    path.parent.mkdir()
    text = rows(path.name, range(10))
    path.write_text(text + '{"step": 10,')
    soon(follower, range(10))
    path.with_suffix(".tmp").write_text(text + '{"step": 10, "x": 10}\n' + ROWS[path.name].format(11))
    path.with_suffix(".tmp").rename(path)
    soon(follower, range(12))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("happens", ["while it is open", "after it was closed", "while no collector runs"])
def test_a_file_that_is_written_anew_and_longer_is_read_from_its_start(
    follower: Follower, name: str, happens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same beginning, as a usual banner is, or the start of a program that does the same each time."""
    path = follower.root / "a" / name
    path.parent.mkdir()
    path.write_text(rows(name, range(20)))
    soon(follower, range(20))
    if happens == "after it was closed":
        monkeypatch.setattr(followed, "IDLE_S", 0.0)
        monkeypatch.setattr("collectors.logs.tail.SWEEP_S", 0.0)
        follower.collect()
        assert not follower.tail._files
    elif happens == "while no collector runs":
        follower.tail.close()
    path.write_text(rows(name, range(20, 60)))
    if happens == "while no collector runs":
        follower.restart()
    soon(follower, range(60))


class _Written:
    """A file and what is expected to have been read of it."""

    def __init__(self, path: Path) -> None:
        self.path, self.next, self._is_half = path, 0, False
        path.parent.mkdir()
        path.write_text(BEGINNINGS[path.name])

    def append(self) -> None:
        with self.path.open("a") as file:
            file.write(
                ("" if not self._is_half else f'{self.next}, "x": {self.next}}}\n')
                + self._rows(3 - self._is_half, self._is_half)
            )
        self.next, self._is_half = self.next + 3, False

    def halve(self) -> None:
        if not self._is_half:
            with self.path.open("a") as file:
                file.write('{"step": ')
        self._is_half = True

    def rename(self) -> None:
        self.path.rename(self.path.with_suffix(f".{self.next}"))
        self._anew()

    def rename_within(self) -> None:
        self.path.rename(self.path.with_name(f"old-{self.next}.jsonl"))
        self._anew()

    def remove(self) -> None:
        self.path.unlink()
        self._anew()

    def write_anew(self) -> None:
        self._anew()

    def put_a_copy(self) -> None:
        copy = self.path.with_suffix(".tmp")
        copy.write_bytes(self.path.read_bytes())
        copy.rename(self.path)

    def _anew(self) -> None:
        self._is_half = False
        self.path.write_text(BEGINNINGS[self.path.name] + self._rows(9))
        self.next += 9

    def _rows(self, count: int, skipped: int = 0) -> str:
        first = self.next + skipped
        return "".join(ROWS[self.path.name].format(value) for value in range(first, first + count))


DOINGS: list[Callable[[_Written], None]] = [
    _Written.append,
    _Written.halve,
    _Written.rename,
    _Written.rename_within,
    _Written.remove,
    _Written.write_anew,
    _Written.put_a_copy,
]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(DOINGS), st.booleans()), min_size=1, max_size=8))
def test_each_line_comes_once_whatever_becomes_of_the_file(
    doings: list[tuple[Callable[[_Written], None], bool]],
) -> None:
    """All that was written has been read before the next thing happens, with the collector or without it."""
    with tempfile.TemporaryDirectory() as folder:
        file = _Written(Path(folder) / "a" / "metrics.jsonl")
        follower = Follower(Path(folder))
        for do, is_running in doings:
            if not is_running:
                follower.tail.close()
            do(file)
            if not is_running:
                follower.restart()
            for _ in range(5):
                follower.tail._queue(file.path.parent.glob("*.jsonl"))
                follower.collect()
            assert steps(follower) == [*range(file.next)], [(each.__name__, running) for each, running in doings]
        follower.tail.close()


@pytest.mark.parametrize("is_followed", [False, True], ids=["alone", "with a new file of the old name"])
@pytest.mark.parametrize("is_running", [False, True], ids=["without the collector", "with it"])
@pytest.mark.parametrize(
    ("name", "renamed"), [("metrics.jsonl", "metrics.1.jsonl"), ("train.log", "train.2026-11-28.log")]
)
def test_a_file_that_is_renamed_is_read_on(
    follower: Follower, name: str, renamed: str, is_running: bool, is_followed: bool
) -> None:
    """As loguru and RotatingFileHandler do, with a name that is read, too."""
    path = follower.root / "a" / name
    path.parent.mkdir()
    path.write_text(rows(name, range(20)))
    soon(follower, range(20))
    if not is_running:
        follower.tail.close()
    with path.open("a") as file:
        path.rename(path.with_name(renamed))
        file.write("".join(ROWS[name].format(value) for value in range(20, 25)))
    if not is_running:
        follower.restart()
    if is_followed:
        soon(follower, range(25))
        path.write_text(rows(name, range(25, 40)))
    soon(follower, range(40 if is_followed else 25))
    restart_and_nothing_comes(follower)


def restart_and_nothing_comes(follower: Follower) -> None:
    before = steps(follower)
    follower.restart()
    for _ in range(5):
        follower.collect()
        time.sleep(0.02)
    assert steps(follower) == before


def test_a_file_of_two_names_is_read_once(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(rows(path.name, range(20)))
    soon(follower, range(20))
    other = path.with_name("copy.jsonl")
    other.hardlink_to(path)
    with path.open("a") as file:
        file.write("".join(ROWS[path.name].format(value) for value in range(20, 25)))
    soon(follower, range(25))
    until(follower, lambda: "the same file" in offset_of(follower, "a/copy.jsonl").trouble)
    path.unlink()
    with other.open("a") as file:
        file.write("".join(ROWS[path.name].format(value) for value in range(25, 30)))
    soon(follower, range(30))


def test_another_file_of_the_same_inode_is_another_file(follower: Follower) -> None:
    path = follower.root / "a" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(rows(path.name, range(20)))
    soon(follower, range(20))
    path.rename(path.with_name("loss.jsonl"))
    path.with_name("loss.jsonl").write_text(rows(path.name, range(20, 60)))
    soon(follower, range(60))
