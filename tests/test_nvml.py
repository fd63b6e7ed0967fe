"""The GPU collector against a real libnvidia-ml.so.1 that replays described machines: see tests/fake_nvml."""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import getpass
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import nvitop
import psutil
import pynvml
import pytest
from fastapi import FastAPI

from collectors import catalog
from collectors.gpu import card as gpu_card
from collectors.gpu import device as gpu_device
from collectors.gpu import inventory, nvml
from collectors.gpu.nvml import NvmlCollector, StaleLibrary
from collectors.records import Points
from collectors.store.open import open_store
from dashboard import api
from dashboard.queries import Queries
from tests import fake_nvml, record_nvml

DEADLINE_S = 30.0
TICK_S = 0.02

Machine = Callable[..., tuple[NvmlCollector, fake_nvml.Shared]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = fake_nvml.build(tmp_path_factory.mktemp("fake_nvml"))
    ctypes.CDLL(str(path))  # the binding's own CDLL("libnvidia-ml.so.1") finds the one that is loaded, by its soname
    return path


@pytest.fixture
def machine(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """`machine(trace)` is a collector on a described machine, and the control block that reaches into it."""
    opened: list[NvmlCollector] = []

    def start(trace: str, root: Path = Path("/")) -> tuple[NvmlCollector, fake_nvml.Shared]:
        control = fake_nvml.Control(tmp_path / "control")
        (tmp_path / "trace").write_text(trace)
        monkeypatch.setenv("FAKE_NVML_TRACE", str(tmp_path / "trace"))
        monkeypatch.setenv("FAKE_NVML_CONTROL", str(control.path))
        opened.append(NvmlCollector("box", root))
        return opened[-1], control.shared

    yield start
    for collector in opened:
        collector.close()


def collect_until(collector: NvmlCollector, done: Callable[[list[Points]], bool]) -> list[Points]:
    """All points up to and with the call after which `done` holds."""
    deadline = time.monotonic() + DEADLINE_S
    points: list[Points] = []
    while time.monotonic() < deadline:
        points += collector.collect()
        if done(points):
            return points
        time.sleep(TICK_S)
    raise AssertionError(f"not reached in {DEADLINE_S:g} s; last inventory: {collector.inventory()}")


def names_in(points: list[Points]) -> set[str]:
    return {name for record in points for name in record.names}


def gpus_in(points: list[Points], name: str = "gpu/memory_used_bytes") -> set[str]:
    return {dict(record.labels)["gpu"] for record in points if name in record.names}


def values_of(points: list[Points], name: str) -> list[float]:
    return [value for record in points for found, value in zip(record.names, record.values, strict=True) if found == name]


def states(collector: NvmlCollector) -> list[str]:
    return [gpu.state for gpu in collector.inventory().gpus]


def test_every_metric_of_the_catalog_arrives_from_eight_hopper_cards(machine: Machine) -> None:
    collector, control = machine(fake_nvml.hopper(8))
    wanted = {metric.name for source in catalog.GPU for metric in source.metrics}
    control.xid[2] = 48
    points = collect_until(collector, lambda points: names_in(points) >= wanted)
    assert names_in(points) == wanted
    assert gpus_in(points) == set("01234567")
    labels = next(dict(record.labels) for record in points if dict(record.labels)["gpu"] == "0")
    assert labels == {"gpu": "0", "host": "box", "uuid": "GPU-00000000-fake-0000-0000-000000000000"}


def test_the_first_sample_comes_at_once(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper())
    names = names_in(collector.collect())
    assert {"gpu/utilization_pct", "gpu/memory_used_bytes", "gpu/power_w", "gpu/temperature_c", "gpu/sm_clock_mhz"} <= names


def test_units_are_those_of_the_catalog(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper())
    rates = {"gpu/sm_active_pct", "gpu/graphics_active_pct", "gpu/slowed_by_power_s"}
    points = collect_until(collector, lambda points: names_in(points) >= rates)
    expected = {
        "gpu/utilization_pct": 97,
        "gpu/memory_used_bytes": 66e9,
        "gpu/power_w": 640,
        "gpu/power_instant_w": 640,
        "gpu/power_limit_w": 700,
        "gpu/temperature_c": 66,
        "gpu/memory_temperature_c": 78,
        "gpu/temperature_margin_c": 21,
        "gpu/temperature_slowdown_c": 87,
        "gpu/sm_clock_mhz": 1755,
        "gpu/clock_event_reasons": 4,
        "gpu/graphics_active_pct": 97,
        "gpu/sm_active_pct": 88,
        "gpu/tensor_active_pct": 57,
        "gpu/pcie_rx_bytes_per_s": 3.4e9,
        "gpu/nvlink_tx_bytes_per_s": 88e9,
    }
    assert {name: values_of(points, name)[-1] for name in expected} == pytest.approx(expected, rel=0.01)


def test_a_dip_between_two_polls_is_kept_by_the_drivers_own_buffer(machine: Machine) -> None:
    collector, control = machine(fake_nvml.dip(1.3, 0.4))
    points = poll_each_second(collector, control, seconds=3)
    assert min(values_of(points, "gpu/utilization_pct")) <= 20
    lowest = [record.time_s for record in points if record.names == ("gpu/utilization_pct",) and record.values[0] <= 20]
    assert all(1.3 <= time_s - control.epoch_s <= 1.9 for time_s in lowest if time_s)
    assert collector.inventory().gpus[0].sample_period_s == pytest.approx(1 / 6, abs=0.001)


def test_without_the_buffer_the_same_dip_is_missed(machine: Machine) -> None:
    collector, control = machine(fake_nvml.dip(1.3, 0.4) + "lacks * samples\n")
    assert min(values_of(poll_each_second(collector, control, seconds=3), "gpu/utilization_pct")) > 90


@pytest.mark.parametrize(("lacks", "lowest_pct"), [("", (0, 20)), ("lacks * samples\n", (90, 100))])
def test_the_dip_reads_in_points_what_the_buffer_kept_of_it(
    machine: Machine, tmp_path: Path, lacks: str, lowest_pct: tuple[float, float]
) -> None:
    collector, control = machine(fake_nvml.dip(1.3, 0.4) + lacks)
    store = open_store(tmp_path / "store", write=True)
    store.append(poll_each_second(collector, control, seconds=3))
    app = FastAPI()
    api.register(app, Queries(store, tmp_path, tmp_path / "store"))
    asked = {"series": "gpu/utilization_pct", "gpu": "0", "from": control.epoch_s, "to": control.epoch_s + 3}
    with ThreadPoolExecutor(1) as elsewhere:  # this thread has a loop already while a browser is open
        (told,) = elsewhere.submit(asyncio.run, answer(app, "/api/v1/points", asked)).result()["series"]
    store.close()
    low, high = lowest_pct
    assert low <= min(told["min"]) <= high


async def answer(app: FastAPI, path: str, parameters: dict[str, object]) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return (await client.get(path, params=parameters)).json()


def poll_each_second(collector: NvmlCollector, control: fake_nvml.Shared, seconds: int) -> list[Points]:
    points = []
    for second in range(seconds + 1):
        time.sleep(max(0.0, control.epoch_s + second - time.time()))
        points += collector.collect()
    return points


def test_no_sample_of_the_buffer_is_told_twice(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper())
    points = collect_until(collector, lambda points: len(values_of(points, "gpu/utilization_pct")) > 10)
    times = [record.time_s for record in points if "gpu/utilization_pct" in record.names]
    assert times == sorted(set(times), key=lambda time_s: time_s or 0)


def test_an_idle_gpu_whose_buffer_is_empty_is_polled(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_card, "POLL_AFTER_S", 0.2)
    collector, _ = machine("gpus 1\n")
    points = collect_until(collector, lambda points: len(values_of(points, "gpu/utilization_pct")) >= 3)
    assert set(values_of(points, "gpu/utilization_pct")) == {0.0}


def test_a_consumer_card_shows_what_it_has_and_nothing_else(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.consumer())
    wanted = {"gpu/utilization_pct", "gpu/memory_used_bytes", "gpu/power_w", "gpu/fan_pct", "gpu/pcie_rx_bytes_per_s"}
    points = collect_until(collector, lambda points: names_in(points) >= wanted)
    missing = (
        "gpu/ecc_corrected",
        "gpu/power_limit_w",
        "gpu/sm_active_pct",
        "gpu/memory_temperature_c",
        "gpu/nvlink_tx_bytes_per_s",
    )
    assert not names_in(points) & set(missing)
    assert collector.inventory().gpus[0].power_limit_w is None
    assert collector.inventory().gpus[0].name == "NVIDIA GeForce RTX 4090"


def test_an_older_driver_is_read_through_its_older_calls(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper() + "lacks * temperature_v memory_v2 samples\n")
    points = collector.collect()
    assert {"gpu/temperature_c", "gpu/memory_used_bytes", "gpu/utilization_pct"} <= names_in(points)
    assert "gpu/memory_reserved_bytes" in catalog_names() - names_in(points)


def catalog_names() -> set[str]:
    return {metric.name for source in catalog.GPU for metric in source.metrics}


def test_a_lost_gpu_leaves_seven_and_comes_back_by_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_device, "LOST_RETRY_S", 0.2)
    monkeypatch.setattr(nvml, "INVENTORY_S", 0.0)
    collector, control = machine(fake_nvml.hopper(8))
    collect_until(collector, lambda points: len(gpus_in(points)) == 8)
    control.xid[3], control.gpu_error[3] = 79, pynvml.NVML_ERROR_GPU_IS_LOST
    points = collect_until(collector, lambda points: states(collector)[3] == "lost" and "gpu/xid" in names_in(points))
    lost = collector.inventory().gpus[3]
    clock = time.strftime("%H:%M:%S", time.localtime(lost.since_s))
    assert states(collector).count("ok") == 7
    assert ("gpu/xid", 79.0) in [(record.names[0], record.values[0]) for record in points]
    assert lost.since_s and abs(lost.since_s - time.time()) < DEADLINE_S
    collect_until(collector, lambda points: "XID" in collector.inventory().gpus[3].reason)
    assert collector.inventory().gpus[3].reason == f"GPU 3 stopped answering at {clock} (XID 79)."
    points = collect_until(collector, lambda points: len(gpus_in(points)) == 7)
    assert "3" not in gpus_in(points)
    control.gpu_error[3] = 0
    collect_until(collector, lambda points: "3" in gpus_in(points) and states(collector)[3] == "ok")
    assert collector.inventory().gpus[3].reason == ""


def test_a_gpu_that_answers_unknown_is_lost_with_the_drivers_words(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_device, "LOST_RETRY_S", 0.2)
    monkeypatch.setattr(nvml, "INVENTORY_S", 0.0)
    collector, control = machine(fake_nvml.hopper(2) + "lacks * memory_v2\n")  # it must also heal with an older driver
    control.gpu_error[1] = pynvml.NVML_ERROR_UNKNOWN
    collect_until(collector, lambda points: states(collector) == ["ok", "lost"])
    assert "Unknown Error" in collector.inventory().gpus[1].reason
    control.gpu_error[1] = 0
    collect_until(collector, lambda points: states(collector) == ["ok", "ok"])


def test_a_driver_of_another_version_is_named_and_tried_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "ABSENT_RETRY_S", 0.1)
    collector, control = machine(fake_nvml.hopper())
    control.init_error = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    assert collector.collect() == []
    assert collector.inventory().note == "The NVIDIA driver and its library are of different versions: reboot to fix it."
    control.init_error = 0
    collect_until(collector, lambda points: len(collector.inventory().gpus) == 1)
    assert collector.inventory().note is None


def test_a_reloaded_driver_is_opened_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "RELOAD_RETRY_S", 0.1)
    collector, control = machine(fake_nvml.hopper(2))
    collect_until(collector, lambda points: len(gpus_in(points)) == 2)
    control.error, control.init_error = pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    collect_until(collector, lambda points: "not loaded" in (collector.inventory().note or ""))
    control.error = control.init_error = 0
    collect_until(collector, lambda points: len(gpus_in(points)) == 2)
    assert states(collector) == ["ok", "ok"]


def test_a_driver_replaced_under_the_library_asks_for_a_new_process(machine: Machine) -> None:
    collector, control = machine(fake_nvml.hopper())
    collector.collect()
    control.error = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    with pytest.raises(StaleLibrary, match="replaced"):
        collect_until(collector, lambda points: False)


def test_a_library_without_its_driver_is_one_sentence(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_NVML_TRACE", raising=False)
    collector = NvmlCollector("box")
    assert collector.collect() == []
    assert collector.inventory().note == "The NVIDIA library is installed, but its driver is not loaded: showing the host."


def test_a_container_without_devices_is_told_how_to_get_them(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "root/proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "root/proc/driver/nvidia/version").touch()
    collector, _ = machine("gpus 0\n", tmp_path / "root")
    assert collector.collect() == []
    assert collector.inventory().note == inventory.NO_DEVICES


def test_the_container_is_known_by_the_kernels_own_files(library: Path, tmp_path: Path) -> None:
    """In a mount namespace where the host's driver shows in /proc, as it does in a container that was given no device."""
    (tmp_path / "trace").write_text("gpus 0\n")
    fake_nvml.Control(tmp_path / "control")
    show_driver = "mount -t tmpfs tmpfs /proc/driver && mkdir /proc/driver/nvidia && touch /proc/driver/nvidia/version"
    code = "from collectors.gpu.nvml import NvmlCollector; one = NvmlCollector('box'); one.collect(); print(one.inventory().note)"
    command = ["unshare", "--mount", "sh", "-c", f'{show_driver} && exec "$@"', "sh", sys.executable, "-c", code]
    environment = {"LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML_TRACE": str(tmp_path / "trace")}
    environment |= {"FAKE_NVML_CONTROL": str(tmp_path / "control")}
    ran = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False
    )
    if "unshare:" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip("needs the right to make a mount namespace")
    assert ran.stdout.strip() == inventory.NO_DEVICES, ran.stderr


def test_no_gpu_is_one_sentence(machine: Machine) -> None:
    collector, _ = machine("gpus 0\n")
    assert collector.collect() == []
    assert collector.inventory() == inventory.Inventory((), inventory.NO_GPU)


def test_a_gpu_that_is_plugged_in_appears(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "PLUG_CHECK_S", 0.1)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    collector, control = machine(fake_nvml.hopper(2), tmp_path)
    control.plugged = 1
    collect_until(collector, lambda points: len(collector.inventory().gpus) == 1)
    control.plugged = 2
    (tmp_path / "dev/nvidia1").touch()
    collect_until(collector, lambda points: len(collector.inventory().gpus) == 2)


def test_mig_instances_stand_beside_their_card(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper() + "mig 0 1 20e9\nmig 0 2 40e9\nat 0 0 sm_active 50\n")
    points = collect_until(collector, lambda points: len([p for p in points if "gpu/sm_active_pct" in p.names]) >= 3)
    gpus = collector.inventory().gpus
    assert [(gpu.index, gpu.mig, gpu.memory_total_bytes) for gpu in gpus] == [(0, None, 85899345920), (0, 1, 20e9), (0, 2, 40e9)]
    assert {dict(p.labels).get("mig") for p in points if "gpu/sm_active_pct" in p.names} == {None, "1", "2"}
    assert "gpu/utilization_pct" not in names_in(points)
    assert {dict(p.labels).get("mig") for p in points if "gpu/power_w" in p.names} == {None}


def test_processes_are_listed_with_name_command_and_user(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper() + f"process 0 {os.getpid()} 3e9 41 compute\nprocess 0 999999999 1e6 0 graphics\n")
    collect_until(collector, lambda points: bool(collector.inventory().gpus and collector.inventory().gpus[0].processes))
    ours, gone = collector.inventory().gpus[0].processes
    assert (ours.pid, ours.kind, ours.used_memory_bytes, ours.utilization_pct) == (os.getpid(), "compute", 3e9, 41)
    assert ours.user == getpass.getuser()
    assert ours.command == " ".join(psutil.Process().cmdline())[: inventory.COMMAND_LENGTH]
    assert (gone.kind, gone.name, gone.command) == ("graphics", "", "")


def test_a_slow_call_is_made_less_often_and_said_so(machine: Machine) -> None:
    collector, control = machine(fake_nvml.hopper())
    control.slow_us = 30_000
    collect_until(collector, lambda points: any(looks.sentence for looks in collector.inventory().looks))
    (slow,) = [looks for looks in collector.inventory().looks if looks.sentence]
    assert slow.source == "gpu.processes"
    assert slow.sentence.endswith("s, not in 1 s.")


def test_the_driver_is_asked_no_more_often_than_the_catalog_says(machine: Machine) -> None:
    collector, control = machine(fake_nvml.hopper(8))
    collector.collect()
    per_gpu = sum(source.calls / source.period_s for source in gpu_device.PER_GPU)
    allowed_per_s = 8 * per_gpu + sum(source.calls / source.period_s for source in nvml.FOR_ALL)
    calls, started_s = control.calls, time.monotonic()
    collect_until(collector, lambda points: time.monotonic() - started_s > 3)
    assert (control.calls - calls) / (time.monotonic() - started_s) < allowed_per_s


def test_the_unmodified_binding_finds_the_library_by_its_path(tmp_path: Path) -> None:
    environment = {**os.environ, **fake_nvml.environment(tmp_path, fake_nvml.eight_gpus()), "PYTHONPATH": "."}
    print_inventory = "from collectors.gpu.nvml import NvmlCollector as C; c = C('box'); c.collect(); i = c.inventory(); print(len(i.gpus), i.note)"
    done = subprocess.run([sys.executable, "-c", print_inventory], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", "None"]


def test_a_machine_without_a_driver_shows_the_host() -> None:
    without = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"} | {"PYTHONPATH": "."}
    print_note = "from collectors.gpu.nvml import NvmlCollector as C; c = C('box'); print(c.collect(), c.inventory().note)"
    done = subprocess.run([sys.executable, "-c", print_note], env=without, capture_output=True, text=True, check=True)
    if ctypes.util.find_library("nvidia-ml"):
        pytest.skip("this machine has a driver")
    assert done.stdout.strip() == "[] No NVIDIA driver found: showing the host."


def test_values_are_those_that_nvitop_reads(machine: Machine, request: pytest.FixtureRequest) -> None:
    collector, _ = machine(fake_nvml.hopper(2))
    points = collect_until(collector, lambda points: len(gpus_in(points)) == 2)
    request.addfinalizer(nvitop.libnvml.nvmlShutdown)  # it keeps the library open, with this machine in it
    for device in nvitop.Device.all():
        ours = [record for record in points if dict(record.labels)["gpu"] == str(device.index)]
        assert values_of(ours, "gpu/memory_used_bytes")[-1] == device.memory_used()
        assert values_of(ours, "gpu/power_w")[-1] == pytest.approx(device.power_usage() / 1e3)
        assert values_of(ours, "gpu/temperature_c")[-1] == device.temperature()
        assert values_of(ours, "gpu/sm_clock_mhz")[-1] == device.sm_clock()
        assert values_of(ours, "gpu/utilization_pct")[-1] == device.gpu_utilization()


def test_a_recorded_machine_replays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "INVENTORY_S", 0.0)
    collector, _ = machine(fake_nvml.consumer())
    description = record_nvml.record(collector, seconds=1.5)  # from the first sample on: a busy machine slows the later ones
    collector.close()
    replayed, _ = machine(description)
    wanted = {"gpu/utilization_pct", "gpu/memory_used_bytes", "gpu/power_w", "gpu/sm_clock_mhz"}
    points = collect_until(replayed, lambda points: names_in(points) >= wanted)
    assert values_of(points, "gpu/utilization_pct")[-1] == 97
    assert values_of(points, "gpu/memory_used_bytes")[-1] == 9e9
    assert values_of(points, "gpu/sm_clock_mhz")[-1] == 2520
    assert replayed.inventory().gpus[0].name == "NVIDIA GeForce RTX 4090"
    assert not {"gpu/ecc_corrected", "gpu/sm_active_pct"} & names_in(points)
