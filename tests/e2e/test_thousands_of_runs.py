"""Thousands of runs in one folder, nearly all of them over: they cost little, and none of them holds up a run that goes on."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from collectors.logs import watch
from collectors.logs.tail import Tail
from collectors.logs.watch import FIRST_SLICE_S, SLICE_S
from collectors.machine import finder as finding
from collectors.machine import lifetimes
from collectors.machine.finder import Finder
from collectors.machine.lifetimes import LifetimeCollector
from collectors.machine.run_state import RunActivity
from collectors.records import Event, Offset, Points, Record
from tests.conftest import wait_for
from tests.support.plain_scripts import HOST, started

RUNS = 2000
SLOW_S = 0.002  # a look at a file over a network
MAX_LOOKS = (
    round((FIRST_SLICE_S + 2 * SLICE_S) / SLOW_S) + 3
)  # in a turn: at new folders, in a scan and at changed folders


def over(number: int, folder: Path = Path("/logs")) -> RunActivity:
    """A run that has said how it ended, an hour ago, on another machine."""
    name, begin_s = f"sweep/{number:05}", time.time() - 3640
    start = Event(name, "start", begin_s, fields={"host": "elsewhere", "pid": 7, "boot_id": "another"})
    end = Event(name, "end", begin_s + 40, fields={"status": "finished"})
    return RunActivity(name, folder / name, {}, [start], [end], begin_s + 39, 0.5)


def calls(module: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a function of a module is called, by run."""
    counted, function = Counter[str](), getattr(module, name)

    def count(activity: RunActivity, *others: Any) -> Any:
        counted[activity.run] += 1
        return function(activity, *others)

    monkeypatch.setattr(module, name, count)
    return counted


def test_runs_that_are_over_are_looked_up_once_and_again_when_they_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [over(number) for number in range(RUNS)]
    counted, finder = calls(finding, "claims_of", monkeypatch), Finder(HOST)
    for _ in range(5):
        assert finder.find(runs) == {}
    assert counted.total() == RUNS
    runs[7] = runs[7]._replace(ends=[])
    finder.find(runs)
    assert counted.total() == RUNS + 1 and counted[runs[7].run] == 2


def test_runs_that_have_said_how_they_ended_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [over(number) for number in range(RUNS)]
    counted = calls(lifetimes, "last_ends", monkeypatch)
    lives = LifetimeCollector(lambda names: runs, Finder(HOST), lambda run: (), host=HOST)
    for _ in range(5):
        lives._look_at_s = 0.0
        assert lives.collect() == []
    looked = counted[runs[7].run]
    assert counted.total() == RUNS * looked
    runs[7] = runs[7]._replace(ends=[])
    lives._look_at_s = 0.0
    lives.collect()
    assert counted[runs[7].run] > looked and counted.total() - counted[runs[7].run] == (RUNS - 1) * looked


def test_deleted_runs_are_not_kept() -> None:
    finder, lives_runs = Finder(HOST), [over(number) for number in range(20)]
    lives = LifetimeCollector(lambda names: lives_runs, finder, lambda run: (), host=HOST)
    for _ in range(2):
        lives._look_at_s = 0.0
        lives.collect()
        del lives_runs[3:]
    assert len(finder._settled) == len(lives._settled) == 3


def test_a_run_that_was_silent_for_long_gets_the_process_that_opens_its_file_again(tmp_path: Path) -> None:
    folder, finder = tmp_path / "run", Finder(HOST)
    folder.mkdir()
    (folder / "metrics.jsonl").touch()
    run = RunActivity("run", folder, {}, [], [], time.time() - 1000, 0.5)
    assert finder.find([run]) == {}
    code = (
        f"import time; log = open({str(folder / 'metrics.jsonl')!r}, 'a'); print('opened', flush=True); time.sleep(100)"
    )
    with started(sys.executable, "-c", code) as training:
        wait_for(lambda: [process.pid for process in finder.find([run]).get("run", ())] == [training.pid])
        assert [process.pid for process in finder.find([run])["run"]] == [training.pid], "it stays the run's"
    wait_for(lambda: not finder.find([run]))


def test_a_new_run_without_a_start_is_walked_for_no_more_often_than_walks_are_cheap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walks: list[float] = []

    def walk(folders: object, proc: Path, launchers: object) -> Any:
        walks.append(time.monotonic())
        begun_s = time.thread_time()
        while time.thread_time() - begun_s < 0.05:
            pass
        return finding.OpenFiles({}, {}, {}, {})

    monkeypatch.setattr(finding, "walk", walk)
    finder, until_s = Finder(HOST), time.monotonic() + 60
    while len(walks) < 3:
        assert time.monotonic() < until_s
        finder.find([RunActivity("run", Path("/nowhere/run"), {}, [], [], time.time(), 0.5)])
        time.sleep(0.02)
    assert min(later - before for before, later in pairwise(walks)) > 0.05 / finding.EAGER_SHARE


# the first look at a folder


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Runs that ended an hour ago."""
    folder, over_s = tmp_path / "logs", time.time() - 3600
    for number in range(1, 1001):
        write(folder / f"sweep/{number:05}/metrics.jsonl", over_s)
    return folder


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Looks at files, by path; each takes a while."""
    counted, look = Counter[str](), watch.mark_of

    def slow(path: str) -> object:
        time.sleep(SLOW_S)
        counted[path] += 1
        return look(path)

    monkeypatch.setattr(watch, "mark_of", slow)
    return counted


def write(path: Path, time_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({"time_s": time_s, "step": 1, "train/loss": 0.5}) + "\n")
    os.utime(path, (time_s, time_s))
    return path


def collected(tail: Tail, run: str) -> Iterator[Record]:
    while True:
        yield from (record for record in tail.collect() if isinstance(record, Points) and record.run == run)


@pytest.mark.parametrize(
    ("run", "last_times"),
    [
        ("sweep/01001", dict),  # the newest name is looked at first
        ("sweep/00000", lambda: {"sweep/00000": time.time()}),  # and so is what an earlier collector saw being written
    ],
)
def test_a_run_that_goes_on_is_read_while_the_others_are_looked_for(
    run: str, last_times: Callable[[], dict[str, float | None]], logs: Path, looks: Counter[str]
) -> None:
    path = write(logs / run / "metrics.jsonl", time.time())
    offsets = (
        {f"{run}/metrics.jsonl": Offset(f"{run}/metrics.jsonl", run, 0, 0, 0, 0, 0, 0, "", {})} if last_times() else {}
    )
    tail = Tail(logs, HOST, offsets, threading.Event(), poll_only=True, last_times=last_times())
    points = collected(tail, run)
    next(points)
    assert tail.is_looking_for_runs and len(tail.live_runs()) == 1, "the others wait"
    write(path, time.time())
    next(points)
    assert tail.is_looking_for_runs, "what comes later is seen meanwhile, too"
    while tail.is_looking_for_runs or tail.period_s == 0:
        before = looks.total()
        tail.collect()
        assert looks.total() - before <= MAX_LOOKS
    assert len(tail.live_runs()) == 1001, "all are found in the end"
    tail.close()
