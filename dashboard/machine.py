"""The machine now: its GPUs, the newest value of every metric, who uses them, and what the dashboard costs."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from collectors import catalog
from collectors.catalog import Metric, Source
from collectors.machine.host import busy_of
from collectors.machine.proc import PROC, TICKS_PER_S, command_of, descendants, printable, user_of
from collectors.store.store import LastPoint, Series
from deepseek.log.redaction import without_secrets

MISSED_LOOKS = 3  # a value is no longer that of now when so many looks at its source have returned nothing new
MIN_FRESH_S = 10.0  # ... and this much time has passed
LASTING = ("gpu.xid",)  # of what happens at a moment the last one stays known

_ROWS: dict[str, tuple[Metric, Source]] = {metric.name: (metric, source) for metric, source in catalog.rows()}


class Value(NamedTuple):
    """The current value of one series."""

    metric: Metric
    labels: Mapping[str, str]
    value: float


class RunOfProcess(NamedTuple):
    """The run that a process belongs to."""

    run: str
    rank: int
    is_worker: bool = False  # whether it is a child of the rank's own process


@dataclass(frozen=True)
class Machine:
    """`gpus` and `looks` are rows of the collector's inventory; `note` says why there is no GPU."""

    host: str
    gpus: list[dict[str, Any]]
    note: str | None
    looks: list[dict[str, Any]]
    values: list[Value]  # in the order of the catalog

    def latest(self, gpu: Mapping[str, Any]) -> dict[str, float]:
        """By metric, of one GPU or MIG instance."""
        return {value.metric.name: value.value for value in self.values if value.labels.get("uuid") == gpu["uuid"]}


@dataclass(frozen=True)
class GpuUser:
    """A process with a context on a GPU; `owner` where it belongs to a run. `reserved_bytes`: what PyTorch's allocator has of that GPU."""

    gpu: int
    mig: int | None
    process: dict[str, Any]
    owner: RunOfProcess | None
    reserved_bytes: float | None = None

    @property
    def outside_bytes(self) -> float | None:
        """Held beside PyTorch's allocator: CUDA's context, NCCL's buffers, cuDNN, other libraries. None where that is not known."""
        used = self.process["used_memory_bytes"]
        return None if used is None or self.reserved_bytes is None else max(0.0, used - self.reserved_bytes)


def values_now(
    series: Iterable[Series], last: Mapping[int, LastPoint], gpus: Iterable[Mapping[str, Any]], now_s: float
) -> list[Value]:
    """What of the stored values still holds: a silent source and a lost GPU have no current value."""
    lost = {gpu["uuid"] for gpu in gpus if gpu["state"] == "lost"}
    values = []
    for listed in series:
        if listed.name not in _ROWS or listed.id not in last:
            continue
        metric, source = _ROWS[listed.name]
        labels = dict(listed.labels)
        if source.key in LASTING or (labels.get("uuid") not in lost and _fresh(source, last[listed.id], now_s)):
            values.append(Value(metric, labels, last[listed.id].value))
    order = {name: place for place, name in enumerate(_ROWS)}
    return sorted(
        values,
        key=lambda value: (order[value.metric.name], int(value.labels.get("gpu", 0)), value.labels.get("mig", "")),
    )


def _fresh(source: Source, last: LastPoint, now_s: float) -> bool:
    return now_s - (last.time_s or 0.0) < max(MIN_FRESH_S, MISSED_LOOKS * source.period_s)


# The processes of this host that use most of its CPU and memory now.
#
# They are read only when somebody asks, at most once a second, for all clients together.

KEPT_S = 1.0  # an answer is given to all who ask within this time
STALE_S = 10.0  # an older look says nothing of now: two new ones are taken
BETWEEN_S = 0.3  # ... so far apart; CPU times have a resolution of 10 ms
MAX_BY_CPU, MAX_BY_MEMORY = 20, 10
MIN_CORES = 0.005  # less is shown as none
COMMAND_LENGTH = 400
COMMANDS = 1024  # whose secrets are looked for once

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class HostProcess:
    """`command` has no secrets; of a thread of the kernel it is the name in brackets. `owner`: the run that it belongs to."""

    pid: int
    user: str
    command: str
    cpu_cores: float
    resident_bytes: int
    owner: RunOfProcess | None


@dataclass(frozen=True)
class HostSnapshot:
    """`processes` are sorted by CPU, then by memory. `busy_cores` is the kernel's own account of the whole machine: what the processes
    lack of it was used by some that have ended, or that are not visible from here."""

    time_s: float
    measured_s: float  # over which the CPU was measured
    cores: int
    busy_cores: float
    counted: int  # of all processes
    counted_cores: float
    processes: list[HostProcess]


class _ProcessUsage(NamedTuple):
    """Of one process, up to now."""

    name: str
    ticks: int  # of CPU
    start_ticks: int
    resident_bytes: int


class _HostSample(NamedTuple):
    at_s: float  # CLOCK_MONOTONIC
    times: Mapping[str, float]  # of all cores, seconds
    uses: Mapping[int, _ProcessUsage]  # by pid


class HostProcesses:
    """Asked from several threads: one of them looks, and the others wait for what it finds."""

    def __init__(self, owners: Callable[[], Mapping[int, RunOfProcess]], proc: Path = PROC) -> None:
        """`owners`: by pid, the runs' processes and their children."""
        self._owners, self._proc = owners, proc
        self._lock = threading.Lock()
        self._before: _HostSample | None = None
        self._answer: HostSnapshot | None = None

    def look(self) -> HostSnapshot:
        with self._lock:
            if self._answer is not None and self._before is not None and time.monotonic() - self._before.at_s < KEPT_S:
                return self._answer
            before = self._before
            if before is None or time.monotonic() - before.at_s > STALE_S:
                before = _look(self._proc)
                time.sleep(BETWEEN_S)
            now = _look(self._proc)
            self._before, self._answer = now, self._compared(before, now)
            return self._answer

    def _compared(self, before: _HostSample, now: _HostSample) -> HostSnapshot:
        elapsed_s = max(now.at_s - before.at_s, 1e-3)
        cores = {pid: _used_s(use, before.uses.get(pid)) / elapsed_s for pid, use in now.uses.items()}
        used = [pid for pid, used_cores in cores.items() if used_cores >= MIN_CORES]
        chosen = {*heapq.nlargest(MAX_BY_CPU, used, key=cores.__getitem__)}
        chosen |= {*heapq.nlargest(MAX_BY_MEMORY, now.uses, key=lambda pid: now.uses[pid].resident_bytes)}
        all_cores, busy = (
            os.cpu_count() or 1,
            busy_of({name: now.times[name] - then for name, then in before.times.items()}),
        )
        owners = self._owners()
        shown = [self._process(pid, now.uses[pid], cores[pid], owners.get(pid)) for pid in chosen]
        return HostSnapshot(
            time_s=time.time(),
            measured_s=elapsed_s,
            cores=all_cores,
            busy_cores=all_cores * busy.get("pct", 0.0) / 100,
            counted=len(now.uses),
            counted_cores=sum(cores.values()),
            processes=sorted(
                (process for process in shown if process is not None),
                key=lambda process: (-process.cpu_cores, -process.resident_bytes),
            ),
        )

    def _process(self, pid: int, use: _ProcessUsage, cores: float, owner: RunOfProcess | None) -> HostProcess | None:
        """None where it has ended meanwhile."""
        try:
            uid = (self._proc / str(pid)).stat().st_uid
        except OSError:
            return None
        words = command_of(pid, self._proc)
        return HostProcess(pid, _user(uid), _shown(tuple(words)) or f"[{use.name}]", cores, use.resident_bytes, owner)


def _used_s(use: _ProcessUsage, before: _ProcessUsage | None) -> float:
    """CPU seconds since the look before; a process that was not there then has used all of its own since."""
    then = before.ticks if before is not None and before.start_ticks == use.start_ticks else 0
    return max(0, use.ticks - then) / TICKS_PER_S


def _look(proc: Path) -> _HostSample:
    """About 20 us a process."""
    at_s, times = time.monotonic(), psutil.cpu_times()._asdict()
    uses = {
        int(entry.name): use
        for entry in os.scandir(proc)
        if entry.name.isdecimal() and (use := _use(entry.path)) is not None
    }
    return _HostSample(at_s, times, uses)


def _use(folder: str) -> _ProcessUsage | None:
    """None where it is gone, or not to be seen."""
    try:
        with open(f"{folder}/stat", "rb") as file:  # noqa: PTH123  # a Path costs twice the call
            stat = file.read()
    except OSError:
        return None
    name_at, end = stat.find(b"("), stat.rfind(b")")
    fields = stat[end + 2 :].split()
    if end < 0 or len(fields) < 22:
        return None
    name = printable(stat[name_at + 1 : end].decode(errors="replace"))
    return _ProcessUsage(name, int(fields[11]) + int(fields[12]), int(fields[19]), int(fields[21]) * PAGE_BYTES)


@lru_cache(COMMANDS)
def _shown(words: tuple[str, ...]) -> str:
    """A command line without its secrets."""
    return printable(" ".join(without_secrets(words)).strip()[:COMMAND_LENGTH])


@lru_cache(COMMANDS)
def _user(uid: int) -> str:
    """A directory service may take its time for each."""
    return user_of(uid)


# What the dashboard itself costs: CPU and memory of the web process, the collector and its samplers.

INTERVAL_S = 1.0


@dataclass(frozen=True)
class Cost:
    """`cpu_pct` is of one core, over the last second or more; `profiler_pct` is the part of it that samples stacks."""

    cpu_pct: float
    rss_bytes: int
    profiler_pct: float


class CostMeter:
    """Measures at most once a second; asked from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cpu_s: dict[tuple[int, float], float] = {}  # by pid and its start
        self._at = time.monotonic()
        self._cost = Cost(0.0, 0, 0.0)
        self._measure(None)

    def read(self, collector_pid: int | None) -> Cost:
        with self._lock:
            if time.monotonic() - self._at >= INTERVAL_S:
                self._measure(collector_pid)
            return self._cost

    def _measure(self, collector_pid: int | None) -> None:
        now, spent_s, rss_bytes = time.monotonic(), {}, 0
        used_s = {True: 0.0, False: 0.0}
        for pid, samples in _processes(collector_pid):
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    key, times = (pid, process.create_time()), process.cpu_times()
                    rss_bytes += process.memory_info().rss
            except psutil.Error:  # ended meanwhile
                continue
            spent_s[key] = times.user + times.system
            used_s[samples] += spent_s[key] - self._cpu_s.get(key, spent_s[key])
        elapsed_s = max(now - self._at, 1e-3)
        profiler_pct = 100 * used_s[True] / elapsed_s
        self._cost = Cost(round(100 * used_s[False] / elapsed_s + profiler_pct, 2), rss_bytes, round(profiler_pct, 2))
        self._cpu_s, self._at = spent_s, now


def _processes(collector_pid: int | None) -> Iterator[tuple[int, bool]]:
    """The web and collector processes, and the samplers below the collector; whether it is a sampler."""
    yield os.getpid(), False
    if collector_pid is not None:
        yield collector_pid, False
        yield from ((pid, True) for pid in descendants(collector_pid))
