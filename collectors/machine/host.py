"""Reads the machine: processors, memory, pressure, disks, network, container limits, and what each run uses."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import psutil

from ..catalog import HOST, Timetable
from ..records import Labels, Points, labels_of
from .proc import TICKS_PER_S, descendants
from .proc import alive as lives
from .run_state import RunProcess

Values: TypeAlias = dict[str, float]
HostReading: TypeAlias = tuple[dict[str, object], Values]  # the varying labels; the values by name

VIRTUAL_CARDS = (
    "lo",
    "ifb",
    "veth",
    "docker",
    "br-",
    "virbr",
    "cni",
    "flannel",
    "cali",
    "tun",
    "tap",
    "dummy",
    "tailscale",
)
PERIODS_S = {source.key: source.period_s for source in HOST}
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

log = logging.getLogger(__name__)


class HostCollector:
    """The first sample comes at once, rates from the second on. A source that cannot be read costs only its own values."""

    name = "host"
    period_s = 0.5

    def __init__(
        self,
        host: str,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        data_path: Path | None = None,
        processes: Callable[[], Mapping[str, Sequence[RunProcess]]] = dict,
    ) -> None:
        """`data_path` lies on the disk whose free space is reported; `processes` are the runs' by run. psutil reads from its own PROCFS_PATH."""
        self.host = host
        self.proc = proc
        self.sys = sys
        self.data_path = data_path
        self.processes = processes
        self.counters: dict[str, Counters] = {}
        self._timetable = Timetable(HOST)
        self._faults: dict[str, str] = {}  # by source, why it could not be read when it was last due

    def collect(self) -> list[Points]:
        now_s = time.monotonic()
        rows: dict[
            tuple[Labels, float], Values
        ] = {}  # values with one period and the same labels share a row, and so an axis
        for _, key in self._timetable.due(now_s):
            self._timetable.done(key, now_s)
            for labels, values in self._read(key):
                rows.setdefault((labels, PERIODS_S[key]), {}).update(values)
        time_s = time.time()
        return [
            Points(None, labels, tuple(values), tuple(values.values()), time_s, None)
            for (labels, _), values in rows.items()
            if values
        ]

    def trouble(self) -> str:
        """One sentence that names a source which cannot be read; "" where all can."""
        first = next((f"{key} cannot be read ({why})" for key, why in self._faults.items()), "")
        return first + (f"; nor can {len(self._faults) - 1} more" if len(self._faults) > 1 else "")

    def _read(self, key: str) -> Iterator[tuple[Labels, Values]]:
        """What a source gives, up to its fault; it is tried again when it is due the next time."""
        try:
            for labels, values in READERS[key](self):
                yield labels_of(host=self.host, **labels), {name: float(value) for name, value in values.items()}
            self._faults.pop(key, None)
        except Exception as error:  # whatever goes wrong in one source must not cost the others their values
            if key not in self._faults:
                log.warning("%s cannot be read", key, exc_info=True)
            self._faults[key] = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Nothing is held open."""

    def added(self, key: str, counts: Values) -> Values:
        return self.counters.setdefault(key, Counters()).added(counts)

    def rates(self, key: str, counts: Values) -> Values:
        return self.counters.setdefault(key, Counters()).rates(counts)


class Counters:
    """The increase of counters since they were last read."""

    def __init__(self) -> None:
        self._before: Values = {}
        self._read_s = 0.0

    def added(self, counts: Values) -> Values:
        """Nothing for a new counter; 0 for one that went back, e.g. when a disk was removed."""
        before, self._before = self._before, counts
        return {name: max(0.0, count - before[name]) for name, count in counts.items() if name in before}

    def rates(self, counts: Values) -> Values:
        """The same per second."""
        then_s, self._read_s = self._read_s, time.monotonic()
        return {name: added / (self._read_s - then_s) for name, added in self.added(counts).items()}


def cpu(machine: HostCollector) -> Iterator[HostReading]:
    busy = busy_of(machine.added("cpu", psutil.cpu_times()._asdict()))
    yield {}, {f"host/cpu_{name}": value for name, value in busy.items()}


def cores(machine: HostCollector) -> Iterator[HostReading]:
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        busy = busy_of(machine.added(f"core {core}", times._asdict()))
        yield {"core": core}, {"host/cpu_core_pct": busy["pct"]} if busy else {}


def busy_of(added: Values) -> Values:
    """Shares of the time that passed: `pct` busy, `iowait_pct` idle with a disk request pending."""
    guests = added.get("guest", 0) + added.get("guest_nice", 0)  # already counted as user and nice
    total = sum(added.values()) - guests
    if total <= 0:
        return {}
    waiting = added.get("iowait", 0)
    return {"pct": 100 * (total - added["idle"] - waiting) / total, "iowait_pct": 100 * waiting / total}


def memory(machine: HostCollector) -> Iterator[HostReading]:
    ram, swap = psutil.virtual_memory(), psutil.swap_memory()
    yield (
        {},
        {
            "host/memory_used_bytes": ram.total - ram.available,
            "host/memory_total_bytes": ram.total,
            "host/swap_used_bytes": swap.used,
        },
    )


def disk(machine: HostCollector) -> Iterator[HostReading]:
    """Whole disks only: partitions, mappings and RAIDs would count the same bytes again."""
    counts = psutil.disk_io_counters(perdisk=True, nowrap=False)
    real = {disk.name for disk in (machine.sys / "block").glob("*") if (disk / "device").exists()}
    disks = [count for name, count in counts.items() if name in real]
    if disks:
        read, written = sum(d.read_bytes for d in disks), sum(d.write_bytes for d in disks)
        yield {}, machine.rates("disk", {"host/disk_read_bytes_per_s": read, "host/disk_write_bytes_per_s": written})


def net(machine: HostCollector) -> Iterator[HostReading]:
    """Cards with a device; in a container, whose only card is virtual, all except known internal ones."""
    counts = psutil.net_io_counters(pernic=True, nowrap=False)
    real = [name for name in counts if (machine.sys / "class/net" / name / "device").exists()]
    cards = [counts[name] for name in real or (name for name in counts if not name.startswith(VIRTUAL_CARDS))]
    received, sent = sum(card.bytes_recv for card in cards), sum(card.bytes_sent for card in cards)
    yield {}, machine.rates("net", {"host/net_recv_bytes_per_s": received, "host/net_sent_bytes_per_s": sent})


def load(machine: HostCollector) -> Iterator[HostReading]:
    yield {}, {"host/load_1m": os.getloadavg()[0]}


def pressure(machine: HostCollector) -> Iterator[HostReading]:
    """`some avg10=0.00 avg60=0.00 avg300=0.00 total=4786081`: the total is in microseconds."""
    stalled_us = {}
    for kind in ("cpu", "memory", "io"):
        try:
            line = (machine.proc / "pressure" / kind).read_text().splitlines()[0]
        except OSError:  # the kernel has none, or (EOPNOTSUPP) was started with psi=0
            return
        stalled_us[f"host/pressure_{kind}_pct"] = float(line.rpartition("total=")[2])
    yield {}, {name: min(100.0, rate_us / 1e4) for name, rate_us in machine.rates("pressure", stalled_us).items()}


def data_disk(machine: HostCollector) -> Iterator[HostReading]:
    if machine.data_path is None:
        return
    try:
        usage = psutil.disk_usage(str(machine.data_path))
    except OSError:  # the folder or its server is gone: the store reports it; the machine's charts continue
        return
    yield {}, {"host/disk_free_bytes": usage.free, "host/disk_total_bytes": usage.total}


def cgroup(machine: HostCollector) -> Iterator[HostReading]:
    """The lowest limits from this process's cgroup up to the root; nothing where there are none."""
    limits = list(memory_limits(machine))
    values: Values = {}
    if limits:
        limit, used = min(limits)
        if limit < psutil.virtual_memory().total:  # v1 expresses "none" by an impossible number
            values = {"host/cgroup_memory_limit_bytes": limit, "host/cgroup_memory_used_bytes": used}
    quotas = list(cpu_limits(machine))
    if quotas:
        values["host/cgroup_cpu_limit_cores"] = min(quotas)
    yield {}, values


def memory_limits(machine: HostCollector) -> Iterator[tuple[int, int]]:
    """(limit, used) in bytes."""
    for folder in cgroups(machine, "memory"):
        for limit_file, used_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = first_word(folder / limit_file), first_word(folder / used_file)
            if limit.isdigit() and used.isdigit():
                yield int(limit), int(used)


def cpu_limits(machine: HostCollector) -> Iterator[float]:
    """In cores."""
    for folder in cgroups(machine, "cpu"):
        words = read(folder / "cpu.max").split() or [
            first_word(folder / "cpu.cfs_quota_us"),
            first_word(folder / "cpu.cfs_period_us"),
        ]
        if all(word.isdigit() for word in words):  # "max" and -1 are no limit
            yield int(words[0]) / int(words[1])


def cgroups(machine: HostCollector, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of those above it. `4:memory:/job/1` is v1, `0::/job/1` v2."""
    for line in read(machine.proc / "self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = machine.sys / "fs/cgroup" / (controller if controllers else "")
        folder = root / path.lstrip("/")
        yield from [folder, *folder.parents][: len(folder.relative_to(root).parts) + 1]


def first_word(path: Path) -> str:
    return (read(path).split() or [""])[0]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # this kernel, or this cgroup, does not have it
        return ""


def runs(machine: HostCollector) -> Iterator[HostReading]:
    """The resources of each rank of the live runs, with its children; of a process of several runs they are read once."""
    used: dict[str, Values] = {}
    for run, processes in machine.processes().items():
        for process in processes:
            key = f"process {process.pid} {process.start_ticks}"
            if key not in used:
                if not lives(process.pid, process.start_ticks, machine.proc):  # gone since it was found
                    continue
                used[key] = usage_of(machine, key, [process.pid, *descendants(process.pid, machine.proc)])
            yield {"run": run, "rank": process.rank or None}, used[key]
    for key in [key for key in machine.counters if key.startswith("process ") and key not in used]:
        del machine.counters[key]


def usage_of(machine: HostCollector, key: str, pids: list[int]) -> Values:
    """Summed over processes, the first of which is the rank. A process counts from its second sample; its use between its last sample and its end is lost."""
    counts: Values = {}
    resident_bytes = threads = 0
    for pid in pids:
        stat = read(machine.proc / str(pid) / "stat").rpartition(")")[2].split()
        if not stat:  # it is gone
            continue
        counts[f"cpu {pid}"] = (int(stat[11]) + int(stat[12])) / TICKS_PER_S
        resident_bytes += int(stat[21]) * PAGE_BYTES
        threads += int(stat[17])
        io = dict(line.split(": ") for line in read(machine.proc / str(pid) / "io").splitlines())
        if io:  # another user's is not readable
            counts[f"read {pid}"], counts[f"write {pid}"] = float(io["read_bytes"]), float(io["write_bytes"])
    waits = read(
        machine.proc / f"{pids[0]}/task/{pids[0]}/schedstat"
    ).split()  # ns on a core, ns in the run queue, slices
    if len(waits) == 3:
        counts["waits"] = int(waits[1]) / 1e9
    values: Values = {
        "host/run_memory_bytes": resident_bytes,
        "host/run_processes": len(pids),
        "host/run_threads": threads,
    }
    rates = machine.rates(key, counts)
    names = {
        "cpu": ("host/run_cpu_pct", 100), "waits": ("host/run_core_wait_pct", 100),
        "read": ("host/run_read_bytes_per_s", 1), "write": ("host/run_write_bytes_per_s", 1),
    }  # fmt: skip
    for what, (name, factor) in names.items():
        shares = [rate for count, rate in rates.items() if count.startswith(what)]
        if shares:
            values[name] = factor * sum(shares)
    return values


READERS: dict[str, Callable[[HostCollector], Iterator[HostReading]]] = {  # by the catalog's source
    "host.cpu": cpu,
    "host.cores": cores,
    "host.memory": memory,
    "host.disk": disk,
    "host.net": net,
    "host.load": load,
    "host.pressure": pressure,
    "host.cgroup": cgroup,
    "host.data_disk": data_disk,
    "host.runs": runs,
}
