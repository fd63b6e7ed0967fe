"""Which processes are profiled and what the page is told: real processes, with a sampler that writes down what it is asked."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from collectors.processes import RunActivity, boot_id, start_ticks, workers_of
from collectors.profile import ProfileCollector
from collectors.records import Event, Frame, Profile, StackSample
from collectors.sampler import Target, Trouble
from collectors.sampler.pyspy import PySpy
from tests.programs import running

HOST = socket.gethostname()
DEADLINE_S = 20.0


class Notebook:
    """A Sampler that samples nothing."""

    name = "notebook"

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self.refused: dict[int, Trouble] = {}
        self.ready: list[Profile] = []
        self.hurried_until_s = 0.0
        self.retries = 0
        self.closed = False

    def follow(self, targets: Sequence[Target]) -> None:
        self.targets = [*targets]

    def hurry(self, until_mono_s: float) -> None:
        self.hurried_until_s = until_mono_s

    def profiles(self) -> Iterable[Profile]:
        ready, self.ready = self.ready, []
        return ready

    def troubles(self) -> dict[int, Trouble]:
        return self.refused

    def retry(self) -> None:
        self.retries += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Four processes to stand for four ranks."""
    found = [subprocess.Popen(["sleep", "3600"]) for _ in range(4)]
    yield found
    for process in found:
        process.kill()
        process.wait()


def live(*pids: int, run: str = "run") -> RunActivity:
    """A run whose ranks are these processes."""
    starts = [
        Event(
            run,
            "start",
            time.time(),
            rank,
            fields={"pid": pid, "pid_start_ticks": start_ticks(pid), "boot_id": boot_id(), "host": HOST},
        )
        for rank, pid in enumerate(pids)
    ]
    return RunActivity(run, Path("/nowhere"), {}, starts, [], time.time(), 0.1)


def profile(target: Target, end_s: float) -> Profile:
    sample = StackSample(0, 10**9, target.pid, (Frame("main", "t.py", 1),))
    return Profile(
        target.run, target.rank, target.pid, target.role, HOST, "notebook", 100.0, end_s - 1, 0, 10**9, {}, [sample], 100, 1
    )


def test_a_trainer_and_its_python_children_are_sampled_at_their_rates(notebook: Notebook) -> None:
    with running("starved", os.devnull) as trainer:
        ProfileCollector(lambda: [live(trainer.pid)], notebook, host=HOST).collect()
        workers = workers_of(trainer.pid)
    assert len(workers) == 2
    found = [(one.run, one.rank, one.pid, one.role, one.hz) for one in notebook.targets]
    assert found == [("run", 0, trainer.pid, "main", 100.0), *(("run", 0, pid, "worker", 50.0) for pid in workers)]


def test_four_ranks_are_sampled_at_a_lower_rate(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    pids = [process.pid for process in sleepers]
    ProfileCollector(lambda: [live(*pids)], notebook, host=HOST).collect()
    assert [(one.rank, one.pid, one.hz) for one in notebook.targets] == [(rank, pid, 50.0) for rank, pid in enumerate(pids)]


def test_a_rank_that_is_a_child_of_another_is_a_main_once(notebook: Notebook) -> None:
    with running("starved", os.devnull) as trainer:
        child, other = workers_of(trainer.pid)
        ProfileCollector(lambda: [live(trainer.pid, child)], notebook, host=HOST).collect()
    assert [(one.pid, one.role) for one in notebook.targets] == [(trainer.pid, "main"), (child, "main"), (other, "worker")]


def test_a_run_that_has_ended_is_let_go(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    runs = [live(sleepers[0].pid)]
    collector = ProfileCollector(lambda: runs, notebook, host=HOST)
    collector.collect()
    assert notebook.targets
    sleepers[0].kill()
    sleepers[0].wait()
    wait_for(collector, lambda: not notebook.targets)


def test_somebody_watching_a_live_run_hurries_the_sampler(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    collector = ProfileCollector(lambda: [live(sleepers[0].pid)], notebook, host=HOST)
    collector.watch("another", time.time() + 60)
    collector.collect()
    assert notebook.hurried_until_s == 0.0
    collector.watch("run", time.time() + 60)
    collector.collect()
    assert notebook.hurried_until_s == pytest.approx(time.monotonic() + 60, abs=5)


def test_the_status_follows_what_the_sampler_delivers(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    collector = ProfileCollector(lambda: [live(sleepers[0].pid)], notebook, host=HOST)
    collector.collect()
    assert collector.status().state == "starting"
    notebook.ready = [profile(notebook.targets[0], 1000.0)]
    assert collector.collect() == [profile(notebook.targets[0], 1000.0)]
    status = collector.status()
    assert (status.state, status.sentence, status.until, status.samples, status.errors) == ("on", "", {"run": 1000.0}, 100, 1)


def test_profiling_can_be_turned_off_and_on(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    collector = ProfileCollector(lambda: [live(sleepers[0].pid)], notebook, host=HOST, enabled=False)
    collector.collect()
    assert notebook.targets == []
    assert collector.status().state == "off"
    assert collector.status().sentence == "Profiling is off. It would cost about 4 % of one core."
    collector.set_enabled(True)
    collector.collect()
    assert len(notebook.targets) == 1
    collector.set_enabled(False)
    collector.collect()
    assert notebook.targets == []


def test_a_refusal_is_told_with_its_remedy_and_can_be_tried_again(
    notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    first, second = sleepers[:2]
    collector = ProfileCollector(lambda: [live(first.pid, second.pid)], notebook, host=HOST)
    trouble = Trouble("py-spy may not read process 1: no.", "become root")
    collector.collect()
    notebook.refused = {first.pid: trouble}
    collector.collect()
    assert collector.status()[:1] + collector.status()[3:5] == ("on", *trouble), "one rank is still seen"
    notebook.refused[second.pid] = trouble
    collector.collect()
    assert collector.status()[:1] + collector.status()[3:5] == ("refused", *trouble)
    collector.retry()
    collector.collect()
    collector.collect()
    assert notebook.retries == 1
    collector.close()
    assert notebook.closed


def test_the_first_profile_of_a_new_trainer_arrives_soon_and_no_turn_takes_long() -> None:
    with running("busy") as trainer:
        collector = ProfileCollector(lambda: [live(trainer.pid)], PySpy(HOST), host=HOST)
        begun_s = time.monotonic()
        turns_s = wait_for(collector, lambda: bool(collector.status().until))
        assert time.monotonic() - begun_s < 6, "3 s on a machine that is not busy with tests"
        assert sorted(turns_s)[len(turns_s) // 2] < 0.1
        collector.close()


def wait_for(collector: ProfileCollector, condition: Callable[[], bool]) -> list[float]:
    """Collect as the supervisor does until the condition holds; how long each turn took."""
    deadline_s, turns_s = time.monotonic() + DEADLINE_S, []
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        begun_s = time.monotonic()
        collector.collect()
        turns_s.append(time.monotonic() - begun_s)
        time.sleep(collector.period_s)
    return turns_s
