"""Which processes are sampled, at what rate, by which Sampler: every live trainer and its Python children."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from .processes import RunActivity, processes_of, runs_python, start_ticks, workers_of
from .records import Profile, Record
from .sampler import Sampler, Target, Trouble

LOOK_S = 1.0  # how often processes are looked for
LOOK_SHARE = 0.02  # looking may take this share of the time: with 10,000 runs it happens less often
MAIN_HZ = 100.0
WORKER_HZ = 50.0
MANY_MAINS = 4  # from so many on, rates are lower, and only some workers of each rank are sampled at a time
MANY_MAIN_HZ = 50.0
MANY_WORKER_HZ = 10.0
MANY_WORKERS = 2
ROTATE_S = 30.0
COST = "about 4 % of one core"


class ProfileStatus(NamedTuple):
    """What the page says of profiling."""

    state: Literal["on", "off", "refused", "starting"]
    sampler: str
    hz: float  # of main processes
    sentence: str  # "" where there is nothing to say
    remedy: str
    until: Mapping[str, float]  # by run: Unix seconds up to which stacks were delivered
    processes: int
    samples: int  # since the start
    errors: int  # reads that failed, since the start


class ProfileCollector:
    name = "profile"
    period_s = 0.5

    def __init__(
        self, live_runs: Callable[[], Iterable[RunActivity]], sampler: Sampler, *, host: str, enabled: bool = True
    ) -> None:
        """`collect` and `close` belong to one thread; `watch`, `set_enabled`, `retry` and `status` may come from any."""
        self._live_runs, self._sampler, self._host = live_runs, sampler, host
        self._enabled, self._retry = enabled, False
        self._targets: list[Target] = []
        self._troubles: dict[int, Trouble] = {}
        self._look_at_s = 0.0
        self._watched_until_s: dict[str, float] = {}  # by run, CLOCK_MONOTONIC
        self._until: dict[str, float] = {}
        self._samples = self._errors = 0

    def collect(self) -> list[Record]:
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._targets = self._find() if self._enabled else []
            self._sampler.follow(self._targets)
            self._look_at_s = now_s + max(LOOK_S, (time.monotonic() - now_s) / LOOK_SHARE)
        if self._retry:
            self._retry = False
            self._sampler.retry()
        live = {target.run for target in self._targets}
        watched = dict(self._watched_until_s)  # `watch` may add to it meanwhile
        self._sampler.hurry(max((until_s for run, until_s in watched.items() if run in live), default=0.0))
        profiles = list(self._sampler.profiles())
        self._troubles = self._sampler.troubles()
        for profile in profiles:
            self._count(profile)
        return [*profiles]

    def watch(self, run: str, until_s: float) -> None:
        """Somebody looks at this run until then (Unix seconds): its stacks come with little delay."""
        self._watched_until_s[run] = time.monotonic() + until_s - time.time()

    def set_enabled(self, enabled: bool) -> None:
        self._enabled = enabled
        self._look_at_s = 0.0

    def retry(self) -> None:
        """Try again now what could not be attached."""
        self._retry = True

    def status(self) -> ProfileStatus:
        state, sentence, remedy = self._state()
        hz = max((target.hz for target in self._targets if target.role == "main"), default=MAIN_HZ)
        return ProfileStatus(
            state, self._sampler.name, hz, sentence, remedy, dict(self._until), len(self._targets), self._samples, self._errors
        )

    def close(self) -> None:
        self._sampler.close()

    def _state(self) -> tuple[Literal["on", "off", "refused", "starting"], str, str]:
        if not self._enabled:
            return "off", f"Profiling is off. It would cost {COST}.", ""
        mains = [target for target in self._targets if target.role == "main"]
        troubles = self._troubles  # a new one at each turn, in the other thread
        refused = [troubles[target.pid] for target in mains if target.pid in troubles]
        if refused:
            return "refused" if len(refused) == len(mains) else "on", refused[0].sentence, refused[0].remedy
        if mains and not any(main.run in self._until for main in mains):
            return "starting", "The first stacks arrive within a few seconds.", ""
        return "on", "", ""

    def _count(self, profile: Profile) -> None:
        self._samples += profile.count
        self._errors += profile.errors
        if profile.role == "main":
            end_s = profile.start_s + (profile.end_mono_ns - profile.start_mono_ns) / 1e9
            self._until[profile.run] = max(end_s, self._until.get(profile.run, 0.0))

    def _find(self) -> list[Target]:
        mains = [main for activity in self._live_runs() for main in self._mains(activity)]
        many = len(mains) >= MANY_MAINS
        mains = [main._replace(hz=MANY_MAIN_HZ if many else MAIN_HZ) for main in mains]
        taken = {main.pid for main in mains} | {os.getpid()}
        workers = [worker for main in mains for worker in _workers(main, taken, many)]
        return [*mains, *workers]

    def _mains(self, activity: RunActivity) -> Iterator[Target]:
        for process in processes_of(activity, host=self._host):
            # Who only holds a file of the run open may be anything: a shell's `tee`, say.
            if process.pid != os.getpid() and (activity.starts or activity.info or runs_python(process.pid)):
                yield Target(activity.run, process.rank, process.pid, process.start_ticks, "main", MAIN_HZ)


def _workers(main: Target, taken: set[int], many: bool) -> Iterator[Target]:
    """The Python processes below a main, unless they are mains themselves (`mp.spawn` below rank 0)."""
    pids = [pid for pid in workers_of(main.pid) if pid not in taken]
    if many and len(pids) > MANY_WORKERS:
        first = int(time.monotonic() / ROTATE_S) * MANY_WORKERS % len(pids)
        pids = [*pids, *pids][first : first + MANY_WORKERS]
    for pid in pids:
        ticks = start_ticks(pid)
        if ticks is not None:
            yield main._replace(pid=pid, start_ticks=ticks, role="worker", hz=MANY_WORKER_HZ if many else WORKER_HZ)
