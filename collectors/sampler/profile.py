"""The profile collector: chooses processes and rates within a CPU budget, and turns windows into records."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypedDict

from ..machine.finder import Finder
from ..machine.proc import alive, children_cpu_s, runs_python, start_ticks, uids_of, workers_of
from ..machine.run_state import RunActivity, RunProcess
from ..message import percent
from ..records import ONE_AFTER_THE_OTHER_S, Record, StackRecording
from ..rights import is_root
from . import RunRank, Sampler, Target, Trouble
from .budget import LOWEST_PACE, Pacer, allowed_pct
from .run_periods import RunPeriods
from .samplers import FallbackSampler
from .sources import SourceCollector

LOOK_S = (1.0, 10.0)  # how often processes are searched: at most, and at least
LOOK_SHARE = 0.005  # of a core: 104 processes take 9 ms, and are searched every other second
MAX_TARGETS = 512
MAX_WATCHED = 100  # runs that pages show at a time,
MAX_WATCHED_S = 60.0  # and for how long without another request
MANY_MAINS = 4  # from this number on, py-spy samples at lower rates, and only some workers of each rank at a time
ROTATE_S = 30.0
LOWEST_HZ = 5.0
NEWS_S = 0.8  # so soon the beginning or the end of a run is known here: 0.3 s until it is read, 0.4 s that an answer may be old
MAX_HELD_S = 3.0  # a window waits no longer for that
GOES_ON_S = 3.0  # so long a process that has ended its run is sampled: the next trial of a search begins soon
SOON = "The first stacks arrive within a few seconds."


ProfilerState: TypeAlias = Literal["on", "off", "refused", "starting"]


class Rates(NamedTuple):
    """What is sampled where the budget allows it."""

    main_hz: float
    worker_hz: float
    workers: int  # of a rank, at a time


FULL_RATES = Rates(100.0, 50.0, MAX_TARGETS)
SPARING_RATES = Rates(50.0, 10.0, 2)


class RankProcesses(NamedTuple):
    """A process of a run and the Python processes below it; their rates are not chosen yet."""

    main: Target
    workers: list[Target]


class RunTrouble(TypedDict):
    """Why there are no stacks of a run's processes, or of some."""

    state: ProfilerState
    sentence: str
    remedy: str


class ProfileStatus(NamedTuple):
    """The state of profiling, for the page."""

    state: ProfilerState
    sampler: str
    hz: float  # of main processes
    sentence: str  # why stacks are missing; "" where none are
    remedy: str
    runs: Mapping[str, RunTrouble]  # of which no stacks come
    until: Mapping[str, float]  # by run: Unix seconds up to which the stacks of its sampled processes were delivered
    processes: int  # that are sampled
    samples: int  # since the start
    errors: int  # reads that failed, since the start
    about: str  # sampler, processes and rate, with reasons, in short sentences; "" if all is as usual
    cost_pct: float  # of a core: what the samplers used lately
    budget_pct: float


class ProfileCollector:
    name = "profile"
    period_s = 0.5

    def __init__(
        self,
        live_runs: Callable[[], Iterable[RunActivity]],
        sampler: Sampler | FallbackSampler,
        *,
        host: str,
        enabled: bool = True,
        budget_pct: float | None = None,
        cpu_s: Callable[[], float] = children_cpu_s,
        finder: Finder | None = None,
    ) -> None:
        """`budget_pct` is of one core, by default from the number of processes; `cpu_s` returns what all samplers have used.

        `collect` and `close` belong to one thread; `watch`, `set_enabled`, `retry` and `status` may come from any.
        """
        self._live_runs, self._finder = live_runs, finder or Finder(host)
        self._sampler = sampler if isinstance(sampler, FallbackSampler) else FallbackSampler(sampler)
        self._enabled, self._retry, self._budget_pct = enabled, False, budget_pct
        self._pacer = Pacer(cpu_s)
        self._sources = SourceCollector()
        self._ranks: list[RankProcesses] = []
        self._targets: list[Target] = []
        self._speaker, self._why = self._sampler.name, self._sampler.why
        self._troubles: dict[int, Trouble] = {}
        self._run_periods = RunPeriods()
        self._held: list[
            tuple[StackRecording, float]
        ] = []  # until the runs of their time are known, and when they came, CLOCK_MONOTONIC
        self._known_until_s = 0.0  # ... up to here, Unix seconds
        self._main_of: dict[int, int] = {}  # by pid, also of those lately released
        self._look_at_s = 0.0
        self._watched_until_s: dict[str, float] = {}  # by run, CLOCK_MONOTONIC
        self._until: dict[str, float] = {}
        self._ends: dict[str, dict[int, float]] = {}  # by run and pid, of those that were lately heard of
        self._samples = self._errors = 0

    def collect(self) -> list[Record]:
        paced = self._pacer.turn(self._allowed_pct())
        if time.monotonic() >= self._look_at_s:
            self._look()
            self._follow()
        elif paced:
            self._follow()
        if self._retry:
            self._retry = False
            self._sampler.retry()
        live = _runs_of(self._targets)
        watched = dict(self._watched_until_s)  # `watch` may add to it meanwhile
        self._sampler.hurry(max((until_s for run, until_s in watched.items() if run in live), default=0.0))
        profiles = self._split_by_run(list(self._sampler.profiles()))
        self._hear(profiles)
        self._sources.look(profiles, self._targets)
        return [*profiles, *self._sources.texts()]

    def watch(self, run: str, until_s: float) -> None:
        """A page shows this run until then (Unix seconds), at most a minute: its stacks come with little delay."""
        now_s = time.monotonic()
        watched = {name: end_s for name, end_s in self._watched_until_s.items() if end_s > now_s}
        if len(watched) < MAX_WATCHED or run in watched:
            watched[run] = now_s + min(MAX_WATCHED_S, until_s - time.time())
        self._watched_until_s = watched

    def set_enabled(self, enabled: bool) -> None:
        self._enabled = enabled
        self._look_at_s = 0.0

    def retry(self) -> None:
        """Try again now to attach to processes that failed."""
        self._retry = True

    def status(self) -> ProfileStatus:
        state, sentence, remedy = self._state()
        return ProfileStatus(
            state=state,
            sampler=self._speaker,
            hz=self._hz(),
            sentence=sentence,
            remedy=remedy,
            runs=self._troubles_by_run() if self._enabled else {},
            until=dict(self._until),
            processes=len(self._targets),
            samples=self._samples,
            errors=self._errors,
            about=self._about() if state == "on" else "",
            cost_pct=round(self._pacer.cost_pct, 2),
            budget_pct=round(self._allowed_pct(), 2),
        )

    def close(self) -> None:
        self._sources.close()
        self._sampler.close()

    def _look(self) -> None:
        begun_s, now_s = time.thread_time(), time.time()
        self._ranks = self._find() if self._enabled else []
        self._known_until_s = now_s - NEWS_S
        self._sources.keep_only(_runs_of(rank.main for rank in self._ranks))
        shortest_s, longest_s = LOOK_S
        pause_s = min(longest_s, max(shortest_s, (time.thread_time() - begun_s) / LOOK_SHARE))
        self._look_at_s = time.monotonic() + pause_s

    def _find(self) -> list[RankProcesses]:
        activities = {activity.run: activity for activity in self._live_runs()}
        found = self._finder.find(activities.values())
        self._run_periods.look(found, activities)
        mains: dict[int, Target] = {}
        for run, process in ((run, process) for run, processes in found.items() for process in processes):
            main = mains.get(process.pid)
            also = RunRank(run, process.rank)
            mains[process.pid] = _main(run, process) if main is None else main._replace(also=(*main.also, also))
        sampled = [
            main
            for main in mains.values()
            if main.pid != os.getpid() and _may_hold_python(main.pid, [activities.get(run) for run, _ in main.runs])
        ]
        sampled += [rank.main for rank in self._ranks if rank.main.pid not in mains and self._may_go_on(rank.main)]
        taken = {*mains, *(main.pid for main in sampled), os.getpid()}
        return [RankProcesses(main, list(_workers(main, taken))) for main in sampled]

    def _may_go_on(self, main: Target) -> bool:
        left_s = self._run_periods.left_s(main.pid, main.start_ticks)
        return time.time() - left_s < GOES_ON_S and alive(main.pid, main.start_ticks)

    def _follow(self) -> None:
        sparing = self._sampler.name == "py-spy" and len(self._ranks) >= MANY_MAINS
        rates = SPARING_RATES if sparing else FULL_RATES
        self._targets = chosen(self._ranks, rates, self._pacer.pace, time.monotonic())
        mains = {target.pid: rank.main.pid for rank in self._ranks for target in (rank.main, *rank.workers)}
        released = {pid: main for pid, main in self._main_of.items() if self._run_periods.is_known(main)}
        self._main_of = {**released, **mains}
        self._sampler.follow(self._targets)

    def _split_by_run(self, windows: list[StackRecording]) -> list[StackRecording]:
        """Of these and earlier windows those of which the runs are known now, for each of these."""
        now_s = time.monotonic()
        self._samples += sum(window.count for window in windows)
        self._errors += sum(window.errors for window in windows)
        held = [*self._held, *((window, now_s) for window in windows)]
        is_due = [_end_s(window) <= self._known_until_s or now_s - came_s > MAX_HELD_S for window, came_s in held]
        self._held = [one for one, due in zip(held, is_due, strict=True) if not due]
        due = [window for (window, _), due in zip(held, is_due, strict=True) if due]
        return [
            part
            for window in due
            for part in self._run_periods.parts(window, self._main_of.get(window.pid, window.pid))
        ]

    def _hear(self, profiles: list[StackRecording]) -> None:
        self._speaker, self._why, self._troubles = self._sampler.name, self._sampler.why, self._sampler.troubles()
        for profile in profiles:
            ends = self._ends.setdefault(profile.run, {})
            ends[profile.pid] = _end_s(profile)
            if profile.role == "main":
                self._until.setdefault(profile.run, 0.0)
        for run in {profile.run for profile in profiles} & self._until.keys():
            self._reach(run)

    def _reach(self, run: str) -> None:
        """Up to where all processes of a run are known that were lately heard of; never back."""
        oldest_s = max(self._ends[run].values()) - ONE_AFTER_THE_OTHER_S
        self._ends[run] = {pid: end_s for pid, end_s in self._ends[run].items() if end_s > oldest_s}
        self._until[run] = max(min(self._ends[run].values()), self._until[run])

    def _allowed_pct(self) -> float:
        return allowed_pct(self._speaker, _processes(self._ranks)) if self._budget_pct is None else self._budget_pct

    def _state(self) -> tuple[ProfilerState, str, str]:
        if not self._enabled:
            return "off", f"Profiling is off. It would cost about {percent(self._allowed_pct())} of one core.", ""
        mains = [target for target in self._targets if target.role == "main"]
        troubles = self._troubles  # a new one at each turn, in the other thread
        refused = [troubles[target.pid] for target in mains if target.pid in troubles]
        if refused:
            return "refused" if len(refused) == len(mains) else "on", refused[0].sentence, refused[0].remedy
        if not mains and (left_alone := self._finder.left_alone()):
            return "refused", _first_of(left_alone), ""
        if self._is_starting(mains):
            return "starting", SOON, ""
        return "on", "", ""

    def _is_starting(self, mains: Iterable[Target]) -> bool:
        runs = _runs_of(mains)
        return bool(runs) and runs.isdisjoint(self._until)

    def _troubles_by_run(self) -> dict[str, RunTrouble]:
        """By run: a refusal, what is left alone of a run without other processes, else that its stacks are to come."""
        mains = [target for target in self._targets if target.role == "main"]
        troubles = self._troubles
        refused = {run: troubles[main.pid] for main in reversed(mains) if main.pid in troubles for run, _ in main.runs}
        alone = {run: f"{why}." for run, why in self._finder.left_alone().items()}
        soon = _runs_of(mains) if self._is_starting(mains) else set()
        return {
            **{run: RunTrouble(state="refused", sentence=sentence, remedy="") for run, sentence in alone.items()},
            **{run: RunTrouble(state="starting", sentence=SOON, remedy="") for run in soon},
            **{
                run: RunTrouble(state="refused", sentence=trouble.sentence, remedy=trouble.remedy)
                for run, trouble in refused.items()
            },
        }

    def _about(self) -> str:
        live, pace = _processes(self._ranks), self._pacer.pace
        left_out = f"{len(self._targets)} of {live} processes are sampled at a time, in rotation."
        slower = f"Sampled at {self._hz():g} Hz to stay inside {percent(self._allowed_pct())} of a core."
        if pace == LOWEST_PACE and self._pacer.cost_pct > self._allowed_pct():
            slower = (
                f"Sampled at {self._hz():g} Hz, the lowest rate; this costs {percent(self._pacer.cost_pct)} of a core."
            )
        said = [
            _first_of(self._finder.left_alone()),
            self._why,
            left_out if len(self._targets) < live else "",
            slower if pace < 1 else "",
        ]
        return " ".join(sentence for sentence in said if sentence)

    def _hz(self) -> float:
        return max((target.hz for target in self._targets if target.role == "main"), default=FULL_RATES.main_hz)


def _first_of(left_alone: Mapping[str, str]) -> str:
    """One sentence; "" where nothing is left alone."""
    return next((f"{run}: {why}." for run, why in left_alone.items()), "")


def chosen(ranks: Sequence[RankProcesses], rates: Rates, pace: float, at_s: float) -> list[Target]:
    """The processes sampled at that moment: every rank, and as many of its workers as the rates and the cap allow, in rotation."""
    ranks = ranks[:MAX_TARGETS]
    each = min(rates.workers, (MAX_TARGETS - len(ranks)) // max(1, len(ranks)))
    main_hz, worker_hz = (max(LOWEST_HZ, float(round(hz * pace))) for hz in (rates.main_hz, rates.worker_hz))
    mains = [rank.main._replace(hz=main_hz) for rank in ranks]
    return [*mains, *(worker._replace(hz=worker_hz) for rank in ranks for worker in _in_turn(rank.workers, each, at_s))]


def _in_turn(workers: list[Target], each: int, at_s: float) -> list[Target]:
    if len(workers) <= each:
        return workers
    first = int(at_s / ROTATE_S) * each % len(workers)
    return [*workers, *workers][first : first + each]


def _may_hold_python(pid: int, activities: Iterable[RunActivity | None]) -> bool:
    """A process that only writes a run's files may be any program; one named by its files may be a program with a Python inside."""
    return runs_python(pid) or any(
        activity.starts or activity.info.get("pid") for activity in activities if activity is not None
    )


def _end_s(profile: StackRecording) -> float:
    return profile.start_s + (profile.end_mono_ns - profile.start_mono_ns) / 1e9


def _runs_of(targets: Iterable[Target]) -> set[str]:
    return {run for target in targets for run, _ in target.runs}


def _main(run: str, process: RunProcess) -> Target:
    return Target(run, process.rank, process.pid, process.start_ticks, "main", FULL_RATES.main_hz)


def _processes(ranks: Sequence[RankProcesses]) -> int:
    return len(ranks) + sum(len(rank.workers) for rank in ranks)


def _workers(main: Target, taken: set[int]) -> Iterator[Target]:
    """The Python processes of its user below a main, unless they are mains themselves (`mp.spawn` below rank 0)."""
    theirs = uids_of(main.pid) if is_root() else None
    for pid in workers_of(main.pid):
        ticks = start_ticks(pid)
        if pid not in taken and ticks is not None and (theirs is None or uids_of(pid) == theirs):
            yield main._replace(pid=pid, start_ticks=ticks, role="worker")
