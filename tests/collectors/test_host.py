"""The host collector on this machine, and on described ones where this machine lacks something."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from collectors.machine import host
from collectors.machine.finder import Finder
from collectors.machine.host import HostCollector, HostReading
from collectors.machine.proc import boot_id, start_ticks
from collectors.machine.run_state import RunActivity
from collectors.records import Event, Points
from collectors.store.engines import open_store
from collectors.supervisor import Supervisor
from tests.conftest import wait_for
from tests.support.claims import claiming_folder
from tests.support.replayed_gpus import names_in, values_of

DEADLINE_S = 30.0
TICK_S = 0.02


def collect_until(collector: HostCollector, done: Callable[[list[Points]], bool]) -> list[Points]:
    deadline = time.monotonic() + DEADLINE_S
    points: list[Points] = []
    while time.monotonic() < deadline:
        points += collector.collect()
        if done(points):
            return points
        time.sleep(TICK_S)
    raise AssertionError(f"not reached in {DEADLINE_S:g} s; seen: {sorted(names_in(points))}")


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that works, in a child of its own."""
    work = "import os\nos.fork()\nprint(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE, process_group=0)
    assert process.stdout and process.stdout.readline()
    yield process
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


def test_what_is_no_rate_comes_at_once(tmp_path: Path) -> None:
    names = names_in(HostCollector("box", data_path=tmp_path).collect())
    assert {
        "host/memory_used_bytes",
        "host/memory_total_bytes",
        "host/swap_used_bytes",
        "host/load_1m",
        "host/disk_free_bytes",
    } <= names


def test_rates_come_from_the_second_look_on() -> None:
    wanted = {"host/cpu_pct", "host/cpu_core_pct", "host/net_recv_bytes_per_s"}
    points = collect_until(HostCollector("box"), lambda points: names_in(points) >= wanted)
    assert all(dict(record.labels)["host"] == "box" and record.run is None for record in points)
    assert {dict(r.labels)["core"] for r in points if "host/cpu_core_pct" in r.names} == {
        str(n) for n in range(os.cpu_count() or 1)
    }


def test_a_busy_machine_reads_busy(busy: subprocess.Popen[bytes]) -> None:
    collector = HostCollector("box")
    points = collect_until(collector, lambda points: len(values_of(points, "host/cpu_pct")) >= 3)
    assert max(values_of(points, "host/cpu_pct")) > 80 / (os.cpu_count() or 1)
    assert max(values_of(points, "host/cpu_pct")) <= 100


def test_memory_is_what_the_kernel_says() -> None:
    points = HostCollector("box").collect()
    assert values_of(points, "host/memory_total_bytes") == [psutil.virtual_memory().total]


def test_collect_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = HostCollector("box")
    collector.collect()

    def sleep(seconds: float) -> None:
        raise AssertionError(f"it sleeps for {seconds} s")

    monkeypatch.setattr(time, "sleep", sleep)
    took_s = []
    for _ in range(5):
        began_s = time.monotonic()
        collector.collect()
        took_s.append(time.monotonic() - began_s)
    assert min(took_s) < 1.0, "a hundredth at rest"


def test_only_whole_real_disks_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "block/sda/device").mkdir(parents=True)
    (tmp_path / "block/loop0").mkdir()
    (tmp_path / "block/dm-0").mkdir()
    counts = {name: disk(1000) for name in ("sda", "sda1", "loop0", "dm-0")}
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: counts)
    collector = HostCollector("box", sys=tmp_path)
    assert list(host.disk(collector)) == [({}, {})]
    counts.update({name: disk(3000) for name in counts})
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 1)
    ((_, rates),) = host.disk(collector)
    assert rates["host/disk_read_bytes_per_s"] == pytest.approx(2000, rel=0.05)


def disk(read_bytes: int) -> SimpleNamespace:
    return SimpleNamespace(read_bytes=read_bytes, write_bytes=0)


def test_pressure_is_a_share_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = HostCollector("box", proc=tmp_path)
    assert list(host.pressure(collector)) == []  # a kernel without it
    (tmp_path / "pressure").mkdir()
    tell_pressure(tmp_path, 1_000_000)
    list(host.pressure(collector))
    tell_pressure(tmp_path, 1_250_000)
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 1)
    ((_, values),) = host.pressure(collector)
    assert values["host/pressure_io_pct"] == pytest.approx(25, rel=0.05)


def tell_pressure(proc: Path, total_us: int) -> None:
    for kind in ("cpu", "memory", "io"):
        line = (
            f"some avg10=0.00 avg60=0.00 avg300=0.00 total={total_us}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        )
        (proc / "pressure" / kind).write_text(line)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_narrowest_cgroup_limit_counts(tmp_path: Path, version: str) -> None:
    memory, cpu = (tmp_path / "sys/fs/cgroup" / name for name in (("memory", "cpu") if version == "v1" else ("", "")))
    own, limits = ("8:memory:/pod/job\n3:cpu,cpuacct:/pod/job\n", V1) if version == "v1" else ("0::/pod/job\n", V2)
    for root in (memory, cpu):
        (root / "pod/job").mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    for name, (pod, job) in limits.items():
        root = memory if name.startswith("memory") else cpu
        (root / "pod" / name).write_text(pod)
        (root / "pod/job" / name).write_text(job)
    collector = HostCollector("box", proc=tmp_path / "proc", sys=tmp_path / "sys")
    expected = {
        "host/cgroup_memory_limit_bytes": 2000000,
        "host/cgroup_memory_used_bytes": 600000,
        "host/cgroup_cpu_limit_cores": 1.5,
    }
    assert list(host.cgroup(collector)) == [({}, expected)]


V2 = {  # file -> (in the pod's cgroup, in the job's below it)
    "memory.max": ("2000000\n", "max\n"),
    "memory.current": ("600000\n", "500000\n"),
    "cpu.max": ("400000 100000\n", "150000 100000\n"),
}
V1 = {
    "memory.limit_in_bytes": ("2000000\n", "9223372036854771712\n"),
    "memory.usage_in_bytes": ("600000\n", "500000\n"),
    "cpu.cfs_quota_us": ("-1\n", "150000\n"),
    "cpu.cfs_period_us": ("100000\n", "100000\n"),
}


def test_a_run_is_charged_for_its_children(busy: subprocess.Popen[bytes], tmp_path: Path) -> None:
    fields = {"pid": busy.pid, "pid_start_ticks": start_ticks(busy.pid), "boot_id": boot_id(), "host": "box"}
    start = Event("mine", "start", time.time(), rank=1, fields=fields)
    activity = RunActivity("mine", claiming_folder(), {}, [start], [], time.time(), None)
    finder = Finder("box")
    collector = HostCollector("box", processes=lambda: finder.find([activity]))
    points = collect_until(collector, lambda points: "host/run_cpu_pct" in names_in(points))
    ours = [record for record in points if "host/run_processes" in record.names]
    assert dict(ours[-1].labels) == {"host": "box", "run": "mine", "rank": "1"}
    assert values_of(ours, "host/run_processes")[-1] == 2
    assert values_of(ours, "host/run_memory_bytes")[-1] > 2e6
    assert values_of(ours, "host/run_cpu_pct")[-1] > 5, "of what other programs leave"


def test_a_run_that_ended_is_forgotten(tmp_path: Path) -> None:
    live = [RunActivity("mine", claiming_folder(), {}, [own_start()], [], time.time(), None)]
    finder = Finder("box")
    collector = HostCollector("box", processes=lambda: finder.find(live))
    assert "host/run_memory_bytes" in names_in(collector.collect())
    before = len(collector.counters)
    live.clear()
    collect_until(collector, lambda points: len(collector.counters) < before)


def own_start() -> Event:
    fields = {"pid": os.getpid(), "pid_start_ticks": start_ticks(os.getpid()), "boot_id": boot_id(), "host": "box"}
    return Event("mine", "start", time.time(), fields=fields)


def test_a_source_that_cannot_be_read_costs_only_itself_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = [True]

    def load(machine: HostCollector) -> Iterator[HostReading]:
        yield {}, {"host/load_1m": 0.25}
        if broken:
            raise OSError("not today")

    monkeypatch.setitem(host.READERS, "host.load", load)
    monkeypatch.setitem(host.READERS, "host.memory", lambda machine: iter([({}, {"host/swap_used_bytes": None})]))
    store = open_store(tmp_path / "data", write=True)
    supervisor = Supervisor(store, on_stale=lambda error: None)
    supervisor.add(HostCollector("box", data_path=tmp_path))
    supervisor.start()
    try:
        wait_for(
            lambda: (
                {"host/cpu_pct", "host/load_1m", "host/disk_free_bytes"}
                <= {series.name for series in store.series(None)}
            )
        )
        said = wait_for(lambda: supervisor.health()[0].last_error)
        assert said.startswith("host.memory cannot be read (TypeError: ") and said.endswith("; nor can 1 more")
        assert supervisor.health()[0].state == "ok"
        broken.clear()
        wait_for(lambda: not supervisor.health()[0].last_error.endswith("more"))
    finally:
        supervisor.stop()
        store.close()
    assert [record.message for record in caplog.records] == ["host.memory cannot be read", "host.load cannot be read"]
