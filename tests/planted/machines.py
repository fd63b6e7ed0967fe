"""A machine that runs full, and parts of the collector that fail: the real collector of the host over described files, the real supervisor."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Final, NamedTuple, cast

import psutil

from collectors.machine import host as machine
from collectors.machine.host import HostCollector
from collectors.records import Finding, Record, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from collectors.supervisor import Supervisor
from tests.planted.windows import JudgedWindow, PlantedResult, PlantedWindow, judge
from tests.support.judged import GIB, HOST, T0, JudgedRuns, PartHealth, machine_point

WARM_S = (5.0, 120.0)
MEMORY_S, DISK_S = 2, 10  # as often as they are judged, and read
WELL, NOTICED_S = "ok", 20.0

MEMINFO = "MemTotal: {total} kB\nMemFree: {free} kB\nMemAvailable: {free} kB\nBuffers: 0 kB\nCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nShmem: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"


class DescribedMachine(NamedTuple):
    """Bytes at a moment, as the kernel would say them."""

    total: float
    used_at: Callable[[float], float]
    what: str


class MachineCause(NamedTuple):
    rule: str
    name: str
    judged: Callable[[Path, int, random.Random], PlantedResult]


# -- memory and disk ---------------------------------------------------------------------------------------------------


def host_memory(folder: Path, many: int, dice: random.Random) -> PlantedResult:
    return _each("host_memory_out", "the host's memory runs full", folder, many, dice, _memory_of_host)


def container_memory(folder: Path, many: int, dice: random.Random) -> PlantedResult:
    return _each("host_memory_out", "a container's memory runs full", folder, many, dice, _memory_of_container)


def disk(folder: Path, many: int, dice: random.Random) -> PlantedResult:
    return _each("disk_out", "the disk runs full", folder, many, dice, _disk)


def full_disk(folder: Path, many: int, dice: random.Random) -> PlantedResult:
    return _each("disk_out", "a large file leaves less than 1 GiB", folder, many, dice, _disk, at_once=True)


Collect = Callable[[HostCollector, DescribedMachine, JudgedRuns], Iterable[Record]]


def _each(rule: str, name: str, folder: Path, many: int, dice: random.Random, collect: Collect, at_once: bool = False) -> PlantedResult:  # fmt: skip
    """A machine for each window."""
    rows: list[JudgedWindow] = []
    for number in range(many):
        place = folder / str(number)
        planted_s = T0 + dice.uniform(*WARM_S)
        described = _drawn(planted_s, dice, at_once)
        place.mkdir(parents=True)
        host = HostCollector(HOST, place / "proc", place / "sys", place)
        window = PlantedWindow("", planted_s, iter(()), what=described.what)
        with _described(place):
            rows += judge(place / "data", rule, [window], each_second=lambda runs: collect(host, described, runs), subject=lambda found: "").judged  # noqa: B023  # fmt: skip
    return PlantedResult(rule, name, rows)


def _drawn(planted_s: float, dice: random.Random, at_once: bool) -> DescribedMachine:
    """Full 10 to 50 minutes after it began; under a saw of up to a quarter of what is written in half a minute."""
    total = dice.choice([16, 64, 256, 1000, 8000]) * float(GIB)
    start, minutes = dice.uniform(0.72, 0.9) * total, dice.uniform(12, 50)
    rate = (total - start) / (60 * minutes)
    saw = dice.uniform(0, 7) * rate
    if at_once:
        left = dice.uniform(0.05, 0.9) * min(GIB, 0.02 * total)
        return DescribedMachine(total, lambda now_s: total - left if now_s >= planted_s else start, f"{left / GIB:.2f} GiB left of {total / GIB:.0f}")  # fmt: skip
    noise = random.Random(dice.random())
    return DescribedMachine(
        total,
        lambda now_s: min(total, start + max(0.0, now_s - planted_s) * rate + noise.uniform(0, saw)),
        f"{total / GIB:.0f} GiB, full in {minutes:.0f} min, saw {saw / 1e6:.0f} MB",
    )


@contextmanager
def _described(folder: Path) -> Iterator[None]:
    """psutil reads from there."""
    (folder / "proc").mkdir()
    before = psutil.PROCFS_PATH
    psutil.PROCFS_PATH = str(folder / "proc")
    try:
        yield
    finally:
        psutil.PROCFS_PATH = before


def _memory_of_host(host: HostCollector, described: DescribedMachine, runs: JudgedRuns) -> Iterable[Record]:
    if int(runs.now_s - T0) % MEMORY_S:
        return
    free = described.total - described.used_at(runs.now_s)
    text = MEMINFO.format(total=round(described.total / 1024), free=round(free / 1024))
    (host.proc / "meminfo").write_text(text)
    (host.proc / "vmstat").write_text("pswpin 0\npswpout 0\n")
    yield from _points(runs, machine.memory(host))


def _memory_of_container(host: HostCollector, described: DescribedMachine, runs: JudgedRuns) -> Iterable[Record]:
    if int(runs.now_s - T0) % MEMORY_S:
        return
    whole = round(4 * described.total / 1024)
    (host.proc / "meminfo").write_text(MEMINFO.format(total=whole, free=whole // 2))
    (host.proc / "self").mkdir(exist_ok=True)
    (host.proc / "self" / "cgroup").write_text("0::/job\n")
    group = host.sys / "fs" / "cgroup" / "job"
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{described.total:.0f}\n")
    (group / "memory.current").write_text(f"{described.used_at(runs.now_s):.0f}\n")
    yield from _points(runs, machine.cgroup(host))


def _disk(host: HostCollector, described: DescribedMachine, runs: JudgedRuns) -> Iterable[Record]:
    if int(runs.now_s - T0) % DISK_S:
        return
    usage = SimpleNamespace(free=described.total - described.used_at(runs.now_s), total=described.total)
    before = psutil.disk_usage
    psutil.disk_usage = lambda path: usage  # type: ignore[assignment, return-value]
    try:
        found = list(machine.data_disk(host))
    finally:
        psutil.disk_usage = before
    yield from _points(runs, found)


def _points(runs: JudgedRuns, readings: Iterable[tuple[Mapping[str, object], Mapping[str, float]]]) -> Iterator[Record]:
    for labels, values in readings:
        if values:
            yield machine_point(runs.now_s, labels_of(host=HOST, **labels), values)


# -- the collector itself ----------------------------------------------------------------------------------------------


class _FailingPart:
    """A collector of the supervisor that works until it is to fail: it raises, or its thread ends."""

    period_s = 0.05

    def __init__(self, name: str, how: str) -> None:
        self.name, self.how = name, how
        self.fails = threading.Event()
        self.released = threading.Event()

    def collect(self) -> Iterable[Record]:
        if self.fails.is_set():
            if self.how == "raises":
                raise OSError("the source does not answer")
            if self.how == "ends":
                raise SystemExit
        return ()

    def close(self) -> None:
        self.released.set()


def parts_that_fail(folder: Path, many: int, dice: random.Random) -> PlantedResult:
    """Threads of a real supervisor, of which each fails at its moment."""
    parts = {f"part{number}": _FailingPart(f"part{number}", dice.choice(["raises", "ends"])) for number in range(many)}
    moments = {name: T0 + dice.uniform(*WARM_S) for name in parts}
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(folder / "supervised", write=True)
    supervisor = _supervised(store, parts)

    def each_second(runs: JudgedRuns) -> Iterable[Record]:
        for name, moment_s in moments.items():
            if runs.now_s >= moment_s and not parts[name].fails.is_set():
                parts[name].fails.set()
                _noticed(supervisor, name)
        runs.health = [PartHealth(row.name, row.state, row.last_error) for row in supervisor.health()]
        return ()

    windows = [PlantedWindow(name, moment_s, iter(()), what=parts[name].how) for name, moment_s in moments.items()]
    try:
        return judge(folder / "data", "collector_trouble", windows, each_second=each_second, subject=_part, cause="a part of the collector fails")  # fmt: skip
    finally:
        supervisor.stop()
        store.close()


def _supervised(store: Store, parts: Mapping[str, _FailingPart]) -> Supervisor:
    supervisor = Supervisor(store, lambda stale: None)
    for part in parts.values():
        supervisor.add(part)
    supervisor.start()
    return supervisor


def _noticed(supervisor: Supervisor, name: str) -> None:
    """The thread works in real time."""
    until_s = time.monotonic() + NOTICED_S
    while next(row.state for row in supervisor.health() if row.name == name) == WELL:
        assert time.monotonic() < until_s, f"{name} is said to be well"
        time.sleep(0.01)


def _part(found: Finding) -> str:
    return cast(str, found.fields["key"])


CAUSES: Final = (
    MachineCause("host_memory_out", "the host's memory runs full", host_memory),
    MachineCause("host_memory_out", "a container's memory runs full", container_memory),
    MachineCause("disk_out", "the disk runs full", disk),
    MachineCause("disk_out", "a large file leaves less than 1 GiB", full_disk),
    MachineCause("collector_trouble", "a part of the collector fails", parts_that_fail),
)
