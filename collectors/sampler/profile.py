"""The profile collector: chooses processes and rates within a CPU budget, and turns windows into records."""

from __future__ import annotations

import os
import secrets
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypedDict

from ..keeper.parent_sampler import ADDRESS, CREDENTIALS
from ..machine.finder import Finder
from ..machine.proc import PROC, alive, ancestors, children_cpu_s, runs_python, start_ticks, uid_of, uids_of, workers_of
from ..machine.run_state import RunActivity, RunProcess
from ..records import ONE_AFTER_THE_OTHER_S, Record, StackRecording
from ..rights import is_root
from . import RunRank, Sampler, Target, Trouble, native, pyspy
from .native import NativeSampler, RunningSampler
from .run_periods import RunPeriods
from .sources import SourceCollector

# Choose the sampled processes, their rates and their Sampler: every live trainer and its Python children, inside a budget.

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
            return "off", f"Profiling is off. It would cost about {self._allowed_pct():g} % of one core.", ""
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
        slower = f"Sampled at {self._hz():g} Hz to stay inside {self._allowed_pct():.2g} % of a core."
        if pace == LOWEST_PACE and self._pacer.cost_pct > self._allowed_pct():
            slower = (
                f"Sampled at {self._hz():g} Hz, the lowest rate; this costs {self._pacer.cost_pct:.2g} % of a core."
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


MEASURE_S = 10.0  # how often the samplers' cost is compared with the budget
MANY_PROCESSES = 104  # 8 ranks with 12 workers each: the budget grows up to there
AIM = 0.9  # of the budget, whenever the pace changes
RAISE_BELOW = 0.75  # of the budget; from there to the whole of it the pace stays
STEP = 2.0  # the largest change at a time: attaching costs more than sampling
LOWEST_PACE = 0.05


class Budget(NamedTuple):
    """Percent of one core."""

    one: float  # for one process
    many: float  # for MANY_PROCESSES


BUDGETS = {"native": Budget(2.0, 10.0), "py-spy": Budget(5.0, 25.0)}


class Pacer:
    """Lowers all rates by one factor when the samplers use more than they may, and raises them again when there is room."""

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        self.pace, self.cost_pct = 1.0, 0.0
        self._cpu_s = cpu_s
        self._used_s, self._since_s = cpu_s(), time.monotonic()

    def turn(self, budget_pct: float) -> bool:
        """Whether the pace has changed."""
        elapsed_s = time.monotonic() - self._since_s
        if elapsed_s < MEASURE_S:
            return False
        used_s, before = self._cpu_s(), self.pace
        self.cost_pct = 100 * (used_s - self._used_s) / elapsed_s
        self._used_s, self._since_s = used_s, self._since_s + elapsed_s
        self.pace = paced(self.pace, self.cost_pct, budget_pct)
        return self.pace != before


def paced(pace: float, cost_pct: float, budget_pct: float) -> float:
    """The next share of the full rates: cost is a fixed part plus a part proportional to the rate."""
    if RAISE_BELOW * budget_pct <= cost_pct <= budget_pct:
        return pace
    wanted = pace * min(STEP, max(1 / STEP, AIM * budget_pct / max(cost_pct, 1e-9)))
    return min(1.0, max(LOWEST_PACE, wanted))


def allowed_pct(sampler: str, processes: int) -> float:
    """The budget for so many processes, in percent of a core: `allowed_pct("native", 104) -> 10.0`"""
    one, many = BUDGETS[sampler]
    return one + (many - one) * min(1.0, max(0, processes - 1) / (MANY_PROCESSES - 1))


# What a sampler that is made of others passes on to each of them.


class CompositeSampler(ABC):
    """All of a `Sampler` but whom each of the others follows, and what is said of their troubles."""

    @abstractmethod
    def _samplers(self) -> Sequence[Sampler]: ...

    def hurry(self, until_mono_s: float) -> None:
        for sampler in self._samplers():
            sampler.hurry(until_mono_s)

    def profiles(self) -> list[StackRecording]:
        return [profile for sampler in self._samplers() for profile in sampler.profiles()]

    def retry(self) -> None:
        for sampler in self._samplers():
            sampler.retry()

    def close(self) -> None:
        for sampler in self._samplers():
            sampler.close()


# Sample what only a process above it may read, by the sampler that stands there (keeper/parent_sampler.py).

ANSWER_S = 1.0
DESCRIPTORS = 3


class BorrowedSampler(RunningSampler):
    """The sampler above a keeper, until the connection to that keeper is closed."""

    def __init__(self, keeper: int, uid: int | None) -> None:
        """`keeper` is a pid; `uid` whose programs it may start. Raises OSError where it lends nothing."""
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(ANSWER_S)
        try:
            self._connection.connect(ADDRESS.format(pid=keeper))
            pid, peer, _ = CREDENTIALS.unpack(
                self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            )
            if (pid, peer) != (keeper, uid):
                raise PermissionError(f"process {pid} is not the keeper {keeper}")
            _, descriptors, _, _ = socket.recv_fds(self._connection, 1, DESCRIPTORS)
            if len(descriptors) != DESCRIPTORS:
                raise ConnectionError("it is lent to another dashboard")
        except OSError:
            self._connection.close()
            raise
        super().__init__(*descriptors)
        self._number = secrets.randbits(32)
        self._begin = b'["again",%d]\n' % self._number
        self._before: bytes | None = b""  # what came while we wait for our beginning
        self.send(f"r {self._number}")

    def mine(self, data: bytes) -> bytes:
        if self._before is None:
            return data
        before, found, rest = (self._before + data).partition(self._begin)
        self._before = None if found else before[-len(self._begin) :]
        return rest

    def close(self) -> None:
        self._connection.close()
        super().close()


class DelegatingSampler(CompositeSampler):
    """A Sampler: its own process for what that may read, for the rest the ones that keepers lend."""

    name = NativeSampler.name

    def __init__(self, host: str | None = None, plain: NativeSampler | None = None) -> None:
        self._host, self._plain = host, plain or NativeSampler(host)
        self._targets: list[Target] = []
        self._keeper_of: dict[tuple[int, int], int | None] = {}  # by pid and start ticks, of those that were refused
        self._lent: dict[int, NativeSampler] = {}  # by the keeper's pid

    @property
    def pid(self) -> int | None:
        return self._plain.pid

    def follow(self, targets: Sequence[Target]) -> None:
        self._targets = list(targets)
        known = {(target.pid, target.start_ticks) for target in targets}
        self._keeper_of = {key: keeper for key, keeper in self._keeper_of.items() if key in known}
        self._share_out()

    def profiles(self) -> list[StackRecording]:
        profiles = super().profiles()
        self._look_for_keepers()
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        return {pid: trouble for sampler in self._samplers() for pid, trouble in sampler.troubles().items()}

    def retry(self) -> None:
        self._keeper_of = {key: keeper for key, keeper in self._keeper_of.items() if keeper is not None}
        super().retry()

    def _samplers(self) -> list[NativeSampler]:
        return [self._plain, *self._lent.values()]

    def _look_for_keepers(self) -> None:
        """Of those that our own sampler may not read."""
        refused = {pid for pid, trouble in self._plain.troubles().items() if not trouble.other_may}
        new = [
            target
            for target in self._targets
            if target.pid in refused and (target.pid, target.start_ticks) not in self._keeper_of
        ]
        for target in new:
            self._keeper_of[target.pid, target.start_ticks] = keeper_of(target.pid)
        if any(self._keeper_of[target.pid, target.start_ticks] for target in new):
            self._share_out()

    def _share_out(self) -> None:
        by_keeper: dict[int, list[Target]] = {}
        plain: list[Target] = []
        for target in self._targets:
            keeper = self._keeper_of.get((target.pid, target.start_ticks))
            (by_keeper.setdefault(keeper, []) if keeper else plain).append(target)
        self._plain.follow(plain)
        for keeper in self._lent.keys() - by_keeper.keys():
            self._lent.pop(keeper).close()
        for keeper, targets in by_keeper.items():
            if keeper not in self._lent:
                self._lent[keeper] = NativeSampler(self._host, start=_borrowing(keeper))
            self._lent[keeper].follow(targets)


def _borrowing(keeper: int) -> Callable[[Path], RunningSampler]:
    return lambda _program: BorrowedSampler(keeper, uid_of(keeper))


def keeper_of(pid: int) -> int | None:
    """The nearest process above that lends a sampler, and is of the same user."""
    with suppress(OSError):
        names = {line.rpartition(" ")[2] for line in (PROC / "net/unix").read_text(errors="replace").splitlines()}
        lenders = (above for above in ancestors(pid) if ADDRESS.format(pid=above).replace("\0", "@") in names)
        return next((above for above in lenders if uid_of(above) == uid_of(pid)), None)
    return None


# Give every process to the preferred sampler, and those that it cannot read to the other one.


def choose(wanted: str | None, host: str | None = None) -> FallbackSampler:
    """The sampler that the user named, else the native one with py-spy as fallback."""
    if wanted is None:
        return FallbackSampler(DelegatingSampler(host), pyspy.PySpy(host))
    sampler: Sampler = DelegatingSampler(host) if wanted == native.NAME else pyspy.PySpy(host)
    return FallbackSampler(sampler, because=f"Sampled by {sampler.name} (set by --sampler).")


class _FallbackTarget(NamedTuple):
    """A process that the fallback samples, and why."""

    target: Target
    trouble: Trouble


class FallbackSampler(CompositeSampler):
    """A Sampler made of two. The first one keeps every target, retries by itself, and takes back processes that it can read later."""

    def __init__(self, first: Sampler, fallback: Sampler | None = None, *, because: str = "") -> None:
        """`because`: one sentence for the page on the choice of these two, or ""."""
        self._first, self._fallback, self._because = first, fallback, because
        self._targets: dict[int, Target] = {}
        self._handed: dict[int, _FallbackTarget] = {}  # by pid

    @property
    def name(self) -> str:
        """The sampler of most trainers."""
        return self._fallback.name if self._fallback and self._speaks_for_most() else self._first.name

    @property
    def why(self) -> str:
        """Why the first one is not used, in one sentence."""
        if not self._handed or not self._fallback:
            return self._because
        reason = next(iter(self._handed.values())).trouble.sentence
        if len(self._handed) == len(self._targets):
            return f"Sampled by {self._fallback.name}: {reason}"
        return f"{len(self._handed)} of {len(self._targets)} processes are sampled by {self._fallback.name}: {reason}"

    def follow(self, targets: Sequence[Target]) -> None:
        self._targets = {target.pid: target for target in targets}
        self._handed = {pid: handed for pid, handed in self._handed.items() if self._same(handed.target)}
        self._first.follow(targets)
        self._follow_handed()

    def profiles(self) -> list[StackRecording]:
        profiles = super().profiles()
        if self._fallback:
            self._hand_over(able={profile.pid for profile in profiles if profile.sampler == self._first.name})
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        troubles = {pid: trouble for pid, trouble in self._first.troubles().items() if pid not in self._handed}
        return {**troubles, **self._fallback.troubles()} if self._fallback else troubles

    def _samplers(self) -> list[Sampler]:
        return [self._first, self._fallback] if self._fallback else [self._first]

    def _speaks_for_most(self) -> bool:
        """Judged by main processes: workers come and go, and each new one goes to the first sampler until that has tried."""
        mains = [pid for pid, target in self._targets.items() if target.role == "main"]
        return sum(pid in self._handed for pid in mains) > len(mains) / 2

    def _same(self, target: Target) -> bool:
        live = self._targets.get(target.pid)
        return live is not None and live.start_ticks == target.start_ticks

    def _hand_over(self, able: set[int]) -> None:
        """`able`: the processes that the first one has just sampled."""
        troubles = {pid: trouble for pid, trouble in self._first.troubles().items() if pid in self._targets}
        lost = {
            pid: _FallbackTarget(self._targets[pid], trouble) for pid, trouble in troubles.items() if trouble.other_may
        }
        kept = {pid: handed for pid, handed in self._handed.items() if pid not in able or pid in troubles}
        changed = self._handed.keys() != kept.keys() | lost.keys()
        self._handed = {**kept, **lost}
        if changed:
            self._follow_handed()

    def _follow_handed(self) -> None:
        if self._fallback:
            self._fallback.follow([self._targets[pid] for pid in self._handed])
