"""The logs and the stacks of target programs, recorded into a store as the collector does, and windows of them drawn at random."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from analysis.blame.verdict import Verdict
from analysis.stacks.spans import Interval
from collectors.logs.tail import Tail
from collectors.machine.finder import Finder
from collectors.machine.host import HostCollector
from collectors.machine.proc import boot_id, start_ticks, workers_of
from collectors.machine.run_state import RunActivity
from collectors.records import Event, Record
from collectors.sampler import Sampler, Target
from collectors.sampler.build import find_program
from collectors.sampler.native import NativeSampler
from collectors.sampler.profile import ProfileCollector
from collectors.sampler.pyspy import PySpy
from collectors.sampler.samplers import choose
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.stacks.stacks import Stacks
from tests.support.claims import claiming_folder

ROOT = Path(__file__).parents[2]
LOSSES = Path(__file__).parents[1] / "programs" / "losses"
TURN_S = 0.2
LATE_S = 15.0  # a sampler delivers what it has some seconds later
HOST = socket.gethostname()
MAIN_HZ, WORKER_HZ = 100.0, 50.0
TRIES = 20
DISTURBED = 0.15  # of a step
SLOWER = 0.1  # of a healthy step: who takes longer lost time, whatever took it
EDGE_S = 0.7  # of a stretch: what was prefetched is used up first


Mains: TypeAlias = dict[tuple[str, int], subprocess.Popen[str]]  # by run and rank


class Plan(NamedTuple):
    """Programs that run at the same time, each a run of its own name."""

    programs: Sequence[str]
    sampler: str  # "native" or "py-spy"
    seconds: float  # from the beginning on
    healthy_s: float
    lossy_s: float
    ranks: int = 1
    within_budget: bool = False  # sampled as the collector does, not all of it at full rate
    environment: tuple[tuple[str, str], ...] = ()
    native: Path | None = None  # the native sampler's program where it is not the one that is installed


class Stretch(NamedTuple):
    """While a loss was on, or off, without interruption."""

    lo: float
    hi: float
    lossy: bool


class Recording:
    """One run."""

    def __init__(self, store: Store, run: str) -> None:
        self.store, self.run, self.stacks = store, run, Stacks(store)
        time_s, lossy = self.series("truth/lossy")
        bounds = [0, *(np.flatnonzero(np.diff(lossy)) + 1).tolist(), len(lossy)]
        self.stretches = [Stretch(time_s[a], time_s[b - 1], bool(lossy[a])) for a, b in pairwise(bounds)]

    def series(self, name: str, rank: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Times and values."""
        found = [one for one in self.store.series(self.run) if one.name == name]
        (one,) = [one for one in found if dict(one.labels).get("rank", "0") == str(rank)]
        points = self.store.points([one.id], None, None)[one.id]
        return points.place, points.value

    def windows(self, seconds: float, count: int, *, lossy: bool, seed: int = 0, rank: int = 0) -> list[Interval]:
        """Drawn at random from the stretches where the loss was on, or off; never from the first, which has nothing before it.

        Left out are windows in which, by the own clock of the rank that loses, the machine's other work made the program slower. What
        a healthy program waits for its slowed loader is on its clock of losses, too: there its steps alone say that it was slower.
        """
        until_s = self.store.profiled_until(self.run) or 0.0
        fit = [
            one
            for one in self.stretches[1:]
            if one.lossy == lossy and min(one.hi, until_s) - one.lo > seconds + 2 * EDGE_S
        ]
        assert fit, (
            f"{self.run}: no stretch for {seconds:g} s, lossy {lossy}: {self.stretches}, profiled until {until_s}"
        )
        random = np.random.default_rng(seed)
        found: list[Interval] = []
        for i in random.integers(0, len(fit), TRIES * count):
            start_s = float(random.uniform(fit[i].lo + EDGE_S, min(fit[i].hi, until_s) - seconds - EDGE_S))
            if len(found) < count and self._undisturbed((start_s, start_s + seconds), rank, lossy):
                found.append((start_s, start_s + seconds))
        assert len(found) == count, (
            f"{self.run}: the machine disturbed all but {len(found)} of {TRIES * count} windows, lossy {lossy}"
        )
        return found

    def _undisturbed(self, window: Interval, rank: int, lossy: bool) -> bool:
        """Whether its steps are as long as the healthy ones, and as long as the loss makes them."""
        healthy = [(one.lo, one.hi) for one in self.stretches if not one.lossy]
        usual_s, usually_lost_s = self._step_s(healthy, rank), self.lost_s(healthy, rank)
        if not lossy and self._step_s([window], rank) > (1 + SLOWER) * usual_s:
            return False
        expected_s = usual_s + self.lost_s([window], rank) - usually_lost_s
        return abs(self._step_s([window], rank) - expected_s) <= DISTURBED * max(usual_s, expected_s)

    def was_slower(self, window: Interval, baseline: Sequence[Interval]) -> bool:
        """By the program's own clock, whatever it was that took the time."""
        return self._step_s([window], 0) > (1 + SLOWER) * self._step_s(baseline, 0)

    def _step_s(self, ranges: Sequence[Interval], rank: int) -> float:
        """The median over ranges of how long a step takes."""
        time_s, _ = self.series("truth/lossy", rank)
        inside = [time_s[(time_s >= lo) & (time_s <= hi)] for lo, hi in ranges]
        return float(np.median([(one[-1] - one[0]) / (len(one) - 1) for one in inside if len(one) > 1] or [np.inf]))

    def blame(self, window: Interval) -> Verdict:
        return self.stacks.blame(self.run, window)

    def lost_s(self, ranges: Sequence[Interval], rank: int = 0, name: str = "truth/lost_s") -> float:
        """A step, by the target's own clock; a step that is cut counts by its part."""
        time_s, value = self.series(name, rank)
        part = np.zeros(len(time_s) - 1)
        for lo, hi in ranges:
            inside_s = np.minimum(time_s[1:], hi) - np.maximum(time_s[:-1], lo)
            part += np.maximum(inside_s, 0.0) / np.diff(time_s)
        return float((part * value[1:]).sum() / part.sum())


def best_sampler() -> str:
    """The native one where it is built."""
    return "native" if find_program() else "py-spy"


@contextmanager
def recorded(folder: Path, plan: Plan) -> Iterator[dict[str, Recording]]:
    """By program. Everything has ended when this begins."""
    (folder / "logs").mkdir(parents=True)
    store = open_store(folder / "data", write=True)
    try:
        record(store, folder / "logs", plan)
        yield {program: Recording(store, program) for program in plan.programs}
    finally:
        store.close()


def record(store: Store, log_dir: Path, plan: Plan) -> None:
    """Until the programs have run for so long, and their stacks up to then have been delivered."""
    tail = Tail(log_dir, HOST, {}, threading.Event())
    finder = Finder(HOST)
    machine = HostCollector(HOST, data_path=log_dir, processes=lambda: finder.find(tail.live_runs()))
    with ExitStack() as stack:
        places = [(program, rank) for program in plan.programs for rank in range(plan.ranks)]
        mains = {place: stack.enter_context(_running(log_dir, plan, *place)) for place in places}
        _begin(list(mains.values()))
        until_s = time.time() + plan.seconds
        profiler: _Everything | ProfileCollector = (
            _within_budget(plan, mains) if plan.within_budget else _Everything(plan, mains)
        )
        stack.callback(profiler.close)
        while time.time() < until_s + LATE_S and any(
            (store.profiled_until(one) or 0.0) < until_s for one in plan.programs
        ):
            store.append([*tail.collect(), *machine.collect(), *profiler.collect()])
            assert all(main.poll() is None for main in mains.values()), f"one of {plan.programs} ended"
            time.sleep(TURN_S)
    while records := tail.collect():
        store.append(records)
    tail.close()


class _Everything:
    """Samples all processes at full rate, whatever it costs."""

    def __init__(self, plan: Plan, mains: Mains) -> None:
        self._sampler: Sampler = NativeSampler(HOST, plan.native) if plan.sampler == "native" else PySpy(HOST)
        self._sampler.hurry(time.monotonic() + 3600)
        self._mains = mains

    def collect(self) -> list[Record]:
        self._sampler.follow([target for place, main in self._mains.items() for target in _targets(main.pid, *place)])
        return [*self._sampler.profiles()]

    def close(self) -> None:
        self._sampler.close()


def _within_budget(plan: Plan, mains: Mains) -> ProfileCollector:
    """Samples as the collector does."""
    runs: dict[str, RunActivity] = {}
    for (program, rank), main in mains.items():
        here = {"pid": main.pid, "pid_start_ticks": start_ticks(main.pid), "boot_id": boot_id(), "host": HOST}
        empty = RunActivity(program, claiming_folder(), {}, [], [], time.time(), 0.1)
        start = Event(program, "start", time.time(), rank=rank, fields=here)
        before = runs.get(program, empty)
        runs[program] = before._replace(starts=[*before.starts, start])
    return ProfileCollector(lambda: list(runs.values()), choose(plan.sampler), host=HOST)


def _targets(pid: int, run: str, rank: int) -> list[Target]:
    rows = [(pid, "main", MAIN_HZ), *((worker, "worker", WORKER_HZ) for worker in workers_of(pid))]
    ticks = [(row, start_ticks(row[0])) for row in rows]
    return [Target(run, rank, worker, at, role, hz) for (worker, role, hz), at in ticks if at is not None]


def _begin(mains: Sequence[subprocess.Popen[str]]) -> None:
    """When all are ready, tell them when they begin."""
    for main in mains:
        assert main.stdout is not None
        assert main.stdout.readline() == "ready\n", f"{main.args!r} did not get ready"
    begin_s = time.monotonic()
    for main in mains:
        print(begin_s, file=main.stdin, flush=True)


@contextmanager
def _running(log_dir: Path, plan: Plan, program: str, rank: int) -> Iterator[subprocess.Popen[str]]:
    options = map(str, (ROOT, log_dir, program, plan.healthy_s, plan.lossy_s, rank, plan.ranks))
    command = [sys.executable, "-W", "ignore", str(LOSSES / f"{program}.py"), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", **dict(plan.environment)}
    with subprocess.Popen(
        command, cwd=LOSSES, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as target:
        try:
            yield target
        finally:
            target.kill()
