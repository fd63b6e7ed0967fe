"""A folder without inotify and with many runs: what is new is found within seconds, and no look at the folder takes long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from collectors.logs import watch as watch_module
from collectors.logs.watch import FolderWatch

RUNS = 600
LONGEST_S, SOON_S, LATER_S = 0.2, 5.0, 60.0
LOOK_S, ENTRY_S, PAUSE_S = (
    0.001,
    0.0005,
    0.1,
)  # what a file and an entry of a folder take over a network; between two turns of the tail


class Clock:
    """Goes on by what is done, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self.passed_s, self._began_s = 0.0, time.time()

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    def thread_time(self) -> float:
        return self.passed_s / 10  # the rest is waiting

    def time(self) -> float:
        return self._began_s + self.passed_s


class Looker:
    def __init__(self, folder: Path, watch: FolderWatch, clock: Clock) -> None:
        self.folder, self.watch, self.clock = folder, watch, clock

    def write(self, name: str) -> Path:
        return write(self.folder / name, self.clock.time())

    def take(self) -> list[Path]:
        began_s = self.clock.passed_s
        found = [file.path for file in self.watch.take()]
        assert self.clock.passed_s - began_s < LONGEST_S
        return found

    def found_after_s(self, path: Path) -> float:
        began_s = self.clock.passed_s
        while True:
            if path in self.take():
                return self.clock.passed_s - began_s
            assert self.clock.passed_s - began_s < 2 * LATER_S, f"{path} is not found"
            self.clock.passed_s += PAUSE_S


@pytest.fixture
def looker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looker]:
    """At a sweep whose runs ended in the last hour, one after the other."""
    clock = Clock()
    for number in range(RUNS):
        write(tmp_path / name_of(number), clock.time() - (RUNS - number) * 5)
    for name in ("mark_of", "stat_of_folder"):
        monkeypatch.setattr(watch_module, name, slowly(getattr(watch_module, name), clock))
    system = SimpleNamespace(**{**vars(os), "scandir": partial(slow_entries, clock)})
    monkeypatch.setattr(watch_module, "os", system)
    monkeypatch.setattr(watch_module, "time", clock)
    folder = FolderWatch(tmp_path, lambda path: path.endswith(".jsonl"), threading.Event(), poll_only=True)
    looker = Looker(tmp_path, folder, clock)
    found: list[Path] = []
    while not folder.is_complete:
        found += looker.take()
    assert len(found) == RUNS
    yield looker
    folder.close()


def slowly(look: Callable[..., object], clock: Clock) -> Callable[..., object]:
    def slow(*path: str, **options: bool) -> object:
        clock.passed_s += LOOK_S
        return look(*path, **options)

    return slow


@contextmanager
def slow_entries(clock: Clock, folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """As of `os.scandir`; a look at all runs takes longer than a turn of the tail may."""

    def each(entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            clock.passed_s += ENTRY_S
            yield entry

    with os.scandir(folder) as entries:
        yield each(entries)


def name_of(number: int) -> str:
    return f"sweep/{number:05}/metrics.jsonl"


def write(path: Path, time_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("{}\n")
    os.utime(path, (time_s, time_s))
    return path


def test_a_new_run_beside_many_is_found_soon_and_so_are_its_lines(looker: Looker) -> None:
    for _ in range(4):
        assert looker.found_after_s(looker.write("sweep/new/metrics.jsonl")) < SOON_S


def test_a_run_that_goes_on_after_a_long_pause_is_found_as_well(looker: Looker) -> None:
    assert looker.found_after_s(looker.write(name_of(RUNS - 100))) < LATER_S


def test_a_folder_of_the_same_name_as_one_that_is_gone_is_found(looker: Looker) -> None:
    path = looker.write("sweep/new/metrics.jsonl")
    looker.found_after_s(path)
    path.unlink()
    path.parent.rmdir()
    for _ in range(100):
        looker.watch.take()
        looker.clock.passed_s += PAUSE_S
    looker.write("sweep/new/metrics.jsonl")
    assert looker.found_after_s(path) < SOON_S
