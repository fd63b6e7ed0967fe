"""Which processes are profiled and what the page is told: real processes, with a sampler that writes down what it is asked."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing

import psutil
import pytest

from collectors.machine.proc import boot_id, children_cpu_s, start_ticks, workers_of
from collectors.machine.run_state import RunActivity
from collectors.records import Event, Frame, StackRecording, StackSpan
from collectors.sampler import Target, Trouble, budget
from collectors.sampler import profile as profile_module
from collectors.sampler.budget import allowed_pct, paced
from collectors.sampler.profile import (
    FULL_RATES,
    SPARING_RATES,
    ProfileCollector,
    RankProcesses,
    chosen,
)
from collectors.sampler.samplers import choose
from tests.conftest import script
from tests.programs import running
from tests.support import running as running_programs
from tests.support.claims import claiming_folder

HOST = socket.gethostname()
DEADLINE_S = 60.0


class Notebook:
    """A Sampler that samples nothing."""

    name = "native"

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self.refused: dict[int, Trouble] = {}
        self.ready: list[StackRecording] = []
        self.hurried_until_s = 0.0
        self.retries = 0
        self.closed = False

    def follow(self, targets: Sequence[Target]) -> None:
        self.targets = [*targets]

    def hurry(self, until_mono_s: float) -> None:
        self.hurried_until_s = until_mono_s

    def profiles(self) -> Iterable[StackRecording]:
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
    return RunActivity(run, claiming_folder(), {}, starts, [], time.time(), 0.1)


def kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def made_up(*, ranks: int, workers: int) -> list[RankProcesses]:
    pids = itertools.count(1000)
    return [
        RankProcesses(
            Target("run", rank, next(pids), 1, "main", 0.0),
            [Target("run", rank, next(pids), 1, "worker", 0.0) for _ in range(workers)],
        )
        for rank in range(ranks)
    ]


def profile(target: Target, end_s: float) -> StackRecording:
    sample = StackSpan(0, 10**9, target.pid, (Frame("main", "t.py", 1),))
    return StackRecording(
        target.run,
        target.rank,
        target.pid,
        target.role,
        HOST,
        "native",
        100.0,
        end_s - 1,
        0,
        10**9,
        {},
        [sample],
        100,
        1,
    )


def test_a_trainer_and_its_python_children_are_sampled_at_their_rates(notebook: Notebook) -> None:
    with running("starved", os.devnull) as trainer:
        ProfileCollector(lambda: [live(trainer.pid)], notebook, host=HOST).collect()
        workers = workers_of(trainer.pid)
        kill_all(workers)
    assert len(workers) == 2
    found = [(one.run, one.rank, one.pid, one.role, one.hz) for one in notebook.targets]
    assert found == [("run", 0, trainer.pid, "main", 100.0), *(("run", 0, pid, "worker", 50.0) for pid in workers)]


def test_py_spy_samples_four_ranks_at_a_lower_rate(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    pids = [process.pid for process in sleepers]
    for name, hz in (("native", 100.0), ("py-spy", 50.0)):
        notebook.name = name
        ProfileCollector(lambda: [live(*pids)], notebook, host=HOST).collect()
        assert [(one.rank, one.pid, one.hz) for one in notebook.targets] == [
            (rank, pid, hz) for rank, pid in enumerate(pids)
        ]


def test_workers_take_turns_where_not_all_are_sampled_at_a_time() -> None:
    ranks = made_up(ranks=4, workers=12)
    seen = [chosen(ranks, SPARING_RATES, 1.0, at_s) for at_s in range(0, 180, 30)]
    assert {len(targets) for targets in seen} == {4 + 4 * 2}
    for turn in seen:
        assert [target for target in turn if target.role == "main"] == [rank.main._replace(hz=50.0) for rank in ranks]
    turns = Counter(target.pid for turn in seen for target in turn if target.role == "worker")
    assert turns == Counter(worker.pid for rank in ranks for worker in rank.workers), (
        "each stands for the same number of others"
    )
    assert chosen(ranks, SPARING_RATES, 1.0, 29.9) == seen[0]


def test_more_processes_than_the_cap_take_turns_and_no_rank_is_left_out() -> None:
    targets = chosen(made_up(ranks=8, workers=100), FULL_RATES, 1.0, 0.0)
    assert len(targets) == 8 + 8 * 63 == profile_module.MAX_TARGETS
    assert len({target.rank for target in targets if target.role == "worker"}) == 8
    assert len(chosen(made_up(ranks=600, workers=1), FULL_RATES, 1.0, 0.0)) == profile_module.MAX_TARGETS


def test_a_slower_pace_is_one_for_all_and_ends_at_five_hertz() -> None:
    ranks = made_up(ranks=1, workers=1)
    assert [target.hz for target in chosen(ranks, FULL_RATES, 0.41, 0.0)] == [41.0, 20.0]
    assert [target.hz for target in chosen(ranks, FULL_RATES, 0.05, 0.0)] == [5.0, 5.0]


@pytest.mark.parametrize(
    ("fixed_pct", "pct_at_full_rate", "budget_pct"), [(0, 1, 2), (0, 12, 10), (0.5, 4, 2), (1, 40, 2), (0, 3, 2)]
)
def test_the_pace_settles_inside_the_budget_without_swinging(
    fixed_pct: float, pct_at_full_rate: float, budget_pct: float
) -> None:
    paces = [1.0]
    for _ in range(30):
        paces.append(paced(paces[-1], fixed_pct + pct_at_full_rate * paces[-1], budget_pct))
    assert len(set(paces[10:])) == 1
    assert fixed_pct + pct_at_full_rate * paces[-1] <= budget_pct or paces[-1] == budget.LOWEST_PACE
    assert paces[-1] == 1.0 or fixed_pct + pct_at_full_rate * paces[-1] >= budget.RAISE_BELOW * budget_pct


def test_a_pace_rises_again_where_there_is_room() -> None:
    pace = 0.2
    for _ in range(3):
        pace = paced(pace, 4.0 * pace, 10.0)
    assert pace == 1.0
    assert paced(0.2, 0.0, 2.0) == 0.4, "nothing costs nothing: it doubles, and is measured again"


def test_the_budget_grows_with_the_processes() -> None:
    assert (allowed_pct("native", 1), allowed_pct("native", 104), allowed_pct("native", 500)) == (2, 10, 10)
    assert (allowed_pct("py-spy", 0), allowed_pct("py-spy", 104)) == (5, 25)


def test_a_sampler_that_uses_too_much_is_slowed_down_and_the_page_is_told(
    notebook: Notebook, sleepers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MEASURE_S", 0.1)
    begun_s, share = time.monotonic(), 0.04
    collector = ProfileCollector(
        lambda: [live(sleepers[0].pid)],
        notebook,
        host=HOST,
        budget_pct=3.0,
        cpu_s=lambda: share * (time.monotonic() - begun_s),
    )
    collector.period_s = 0.1
    wait_for(collector, lambda: notebook.targets != [] and notebook.targets[0].hz < 100)
    notebook.ready = [profile(notebook.targets[0], 1000.0)]
    collector.collect()
    status = collector.status()
    assert (status.budget_pct, status.hz) == (3.0, notebook.targets[0].hz)
    assert status.cost_pct == pytest.approx(4.0, rel=0.1)
    assert status.about == f"Sampled at {status.hz:g} Hz to stay inside 3% of a core."
    wait_for(collector, lambda: "the lowest rate" in collector.status().about)
    assert collector.status().about.startswith("Sampled at 5 Hz, the lowest rate; this costs 4")
    share, begun_s = 0.0, time.monotonic()
    wait_for(collector, lambda: notebook.targets[0].hz == 100)
    assert collector.status().about == ""


def test_a_rank_that_is_a_child_of_another_is_a_main_once(notebook: Notebook) -> None:
    with running("starved", os.devnull) as trainer:
        child, other = workers_of(trainer.pid)
        ProfileCollector(lambda: [live(trainer.pid, child)], notebook, host=HOST).collect()
        kill_all([child, other])
    assert [(one.pid, one.role) for one in notebook.targets] == [
        (trainer.pid, "main"),
        (child, "main"),
        (other, "worker"),
    ]


def test_a_run_that_has_ended_is_let_go(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    runs = [live(sleepers[0].pid)]
    collector = ProfileCollector(lambda: runs, notebook, host=HOST)
    collector.collect()
    assert notebook.targets
    sleepers[0].kill()
    sleepers[0].wait()
    wait_for(collector, lambda: not notebook.targets)


def test_a_window_waits_until_the_run_of_its_time_is_known(
    notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    pid = sleepers[0].pid
    runs = [live(pid, run="first")]
    collector = ProfileCollector(lambda: runs, notebook, host=HOST)
    collector.collect()
    now_s = time.time()
    notebook.ready = [profile(notebook.targets[0], now_s + 0.5)]
    assert collector.collect() == []
    ended = runs[0]._replace(ends=[Event("first", "end", now_s)])
    runs[:] = [ended, live(pid, run="second")._replace(starts=[runs[0].starts[0]._replace(run="second", time_s=now_s)])]
    found = running_programs.wait_for(lambda: [one for one in collector.collect() if isinstance(one, StackRecording)])
    parts = [(one.run, round(one.end_mono_ns - one.start_mono_ns, -7)) for one in found]
    assert parts == [("first", 5 * 10**8), ("second", 5 * 10**8)]
    assert collector.status().samples == 100, "once, whatever its runs"


def test_a_process_goes_on_to_be_sampled_until_its_next_run_is_known(
    notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    runs = [live(sleepers[0].pid)]
    collector = ProfileCollector(lambda: runs, notebook, host=HOST)
    collector.collect()
    runs[0] = runs[0]._replace(ends=[Event("run", "end", time.time())])
    begun_s = time.monotonic()
    wait_for(collector, lambda: not notebook.targets)
    assert time.monotonic() - begun_s > profile_module.GOES_ON_S - 1


def test_somebody_watching_a_live_run_hurries_the_sampler(
    notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    collector = ProfileCollector(lambda: [live(sleepers[0].pid)], notebook, host=HOST)
    collector.watch("another", time.time() + 60)
    collector.collect()
    assert notebook.hurried_until_s == 0.0
    collector.watch("run", time.time() + 60)
    collector.collect()
    assert notebook.hurried_until_s == pytest.approx(time.monotonic() + 60, abs=5)


def test_the_status_follows_what_the_sampler_delivers(
    notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    collector = ProfileCollector(lambda: [live(sleepers[0].pid)], notebook, host=HOST)
    collector.collect()
    assert collector.status().state == "starting"
    notebook.ready = [profile(notebook.targets[0], 1000.0)]
    assert collector.collect() == [profile(notebook.targets[0], 1000.0)]
    status = collector.status()
    assert (status.state, status.sentence, status.until, status.samples, status.errors) == (
        "on",
        "",
        {"run": 1000.0},
        100,
        1,
    )


def test_the_status_reaches_as_far_as_all_processes_that_were_lately_heard_of(
    notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    collector = ProfileCollector(lambda: [live(sleepers[0].pid)], notebook, host=HOST)
    collector.collect()
    (main,) = notebook.targets
    reached = []
    for pid, end_s in (
        (main.pid, 1000.0),
        (2, 998.0),
        (main.pid, 1002.0),
        (2, 1000.0),
        (main.pid, 1004.0),
        (main.pid, 1004.5),
    ):
        notebook.ready = [profile(main, end_s)._replace(pid=pid)]
        collector.collect()
        reached.append(collector.status().until["run"])
    assert reached == [1000.0, 1000.0, 1002.0, 1002.0, 1004.0, 1004.5], "never back; the worker is gone in the end"


def test_profiling_can_be_turned_off_and_on(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    collector = ProfileCollector(lambda: [live(sleepers[0].pid)], notebook, host=HOST, enabled=False)
    collector.collect()
    assert notebook.targets == []
    assert collector.status().state == "off"
    assert collector.status().sentence == "Profiling is off. It would cost about 2% of one core."
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
    assert collector.status()[:1] + collector.status()[3:5] == ("on", *trouble[:2]), "one rank is still seen"
    notebook.refused[second.pid] = trouble
    collector.collect()
    assert collector.status()[:1] + collector.status()[3:5] == ("refused", *trouble[:2])
    collector.retry()
    collector.collect()
    collector.collect()
    assert notebook.retries == 1
    collector.close()
    assert notebook.closed


def test_each_run_has_its_own_trouble(notebook: Notebook, sleepers: list[subprocess.Popen[bytes]]) -> None:
    first, second, third, worker = sleepers
    collector = ProfileCollector(
        lambda: [
            live(first.pid, run="refused"),
            live(second.pid, run="heard"),
            live(third.pid, worker.pid, run="half"),
        ],
        notebook,
        host=HOST,
    )
    collector.collect()
    soon = {"state": "starting", "sentence": "The first stacks arrive within a few seconds.", "remedy": ""}
    assert collector.status().runs == {"refused": soon, "heard": soon, "half": soon}
    notebook.refused = {first.pid: Trouble("No.", "become root"), worker.pid: Trouble("Nor this.", "")}
    notebook.ready = [profile(target, 1000.0) for target in notebook.targets if target.pid == second.pid]
    collector.collect()
    said = {run: tuple(trouble.values()) for run, trouble in collector.status().runs.items()}
    assert said == {"refused": ("refused", "No.", "become root"), "half": ("refused", "Nor this.", "")}
    collector.set_enabled(False)
    collector.collect()
    assert collector.status().runs == {}
    collector.close()


@pytest.mark.parametrize("sampler", ["native", "py-spy"])
def test_the_first_profile_of_a_new_trainer_arrives_soon_and_no_turn_takes_long(sampler: str) -> None:
    with running("busy") as trainer:
        collector = ProfileCollector(lambda: [live(trainer.pid)], choose(sampler), host=HOST)
        begun_s = time.monotonic()
        turns_s = wait_for(collector, lambda: bool(collector.status().until))
        assert time.monotonic() - begun_s < 30, "3 s on a machine that is not busy with tests"
        assert sorted(turns_s)[len(turns_s) // 2] < 1.0
        collector.close()


WITH_TWELVE_WORKERS = """
import multiprocessing, threading, time

def decode():
    time.sleep(0.05)

def work():
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    while True:
        decode()

for _ in range(12):
    multiprocessing.get_context("fork").Process(target=work, daemon=True).start()
for _ in range(4):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print("ready", flush=True)
while True:
    decode()
"""


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["native", "py-spy"])
def test_eight_ranks_with_twelve_workers_are_sampled_inside_the_budget(sampler: str) -> None:
    with ExitStack() as stack:
        ranks = [stack.enter_context(script(WITH_TWELVE_WORKERS)) for _ in range(8)]
        for rank in ranks:
            assert rank.stdout and rank.stdout.readline() == "ready\n"
            stack.callback(kill_all, workers_of(rank.pid))  # a killed rank leaves its workers behind
        choice = stack.enter_context(closing(choose(sampler)))
        collector = ProfileCollector(
            lambda: [live(*(rank.pid for rank in ranks))],
            choice,
            host=HOST,
            cpu_s=lambda: children_cpu_s() - used_s(ranks),
        )
        begun_s, costs = time.monotonic(), []
        while time.monotonic() - begun_s < 100:
            collector.collect()
            costs.append(collector.status().cost_pct)
            time.sleep(collector.period_s)
        status = collector.status()
    print(status)
    assert status.errors <= 0.005 * status.samples
    assert (status.processes, status.budget_pct) == {"native": (104, 10), "py-spy": (24, 25)}[sampler]
    assert sum(costs[-60:]) / 60 <= status.budget_pct, "the last 30 s"
    assert status.hz > profile_module.LOWEST_HZ


def used_s(ranks: Iterable[subprocess.Popen[str]]) -> float:
    """The ranks are children of this process beside the samplers, as they never are of a collector."""
    return sum(sum(psutil.Process(rank.pid).cpu_times()[:4]) for rank in ranks)


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
