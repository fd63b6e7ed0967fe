"""The GPU collector against a real libnvidia-ml.so.1 that replays described machines: see tests/fake_nvml."""

from __future__ import annotations

import ctypes
import ctypes.util
import getpass
import os
import subprocess
import sys
import time
from pathlib import Path

import nvitop
import psutil
import pytest

from collectors import catalog
from collectors.machine import gpu as gpu_device
from collectors.machine import inventory, nvml
from collectors.machine.inventory import NO_DRIVER
from tests import fake_nvml, record_nvml
from tests.support.replayed_gpus import Machine, collect_until, gpus_in, names_in, values_of
from tests.support.replayed_gpus import library as library  # a fixture
from tests.support.replayed_gpus import machine as machine  # a fixture


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
    assert {
        "gpu/utilization_pct",
        "gpu/memory_used_bytes",
        "gpu/power_w",
        "gpu/temperature_c",
        "gpu/sm_clock_mhz",
    } <= names


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


def test_mig_instances_stand_beside_their_card(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper() + "mig 0 1 20e9\nmig 0 2 40e9\nat 0 0 sm_active 50\n")
    points = collect_until(collector, lambda points: len([p for p in points if "gpu/sm_active_pct" in p.names]) >= 3)
    gpus = collector.inventory().gpus
    assert [(gpu.index, gpu.mig, gpu.memory_total_bytes) for gpu in gpus] == [
        (0, None, 85899345920),
        (0, 1, 20e9),
        (0, 2, 40e9),
    ]
    assert {dict(p.labels).get("mig") for p in points if "gpu/sm_active_pct" in p.names} == {None, "1", "2"}
    assert "gpu/utilization_pct" not in names_in(points)
    assert {dict(p.labels).get("mig") for p in points if "gpu/power_w" in p.names} == {None}


def test_processes_are_listed_with_name_command_and_user(machine: Machine) -> None:
    collector, _ = machine(
        fake_nvml.hopper() + f"process 0 {os.getpid()} 3e9 41 compute\nprocess 0 999999999 1e6 0 graphics\n"
    )
    collect_until(
        collector, lambda points: bool(collector.inventory().gpus and collector.inventory().gpus[0].processes)
    )
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
    print_inventory = "from collectors.machine.nvml import NvmlCollector as C; c = C('box'); c.collect(); i = c.inventory(); print(len(i.gpus), i.note)"
    done = subprocess.run(
        [sys.executable, "-c", print_inventory], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["8", "None"]


def test_a_machine_without_a_driver_shows_the_host() -> None:
    without = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"} | {"PYTHONPATH": "."}
    print_note = (
        "from collectors.machine.nvml import NvmlCollector as C; c = C('box'); print(c.collect(), c.inventory().note)"
    )
    done = subprocess.run([sys.executable, "-c", print_note], env=without, capture_output=True, text=True, check=True)
    if ctypes.util.find_library("nvidia-ml"):
        pytest.skip("this machine has a driver")
    assert done.stdout.strip() == f"[] {NO_DRIVER}"


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
    description = record_nvml.record(
        collector, seconds=1.5
    )  # from the first sample on: a busy machine slows the later ones
    collector.close()
    replayed, _ = machine(description)
    wanted = {"gpu/utilization_pct", "gpu/memory_used_bytes", "gpu/power_w", "gpu/sm_clock_mhz"}
    points = collect_until(replayed, lambda points: names_in(points) >= wanted)
    assert values_of(points, "gpu/utilization_pct")[-1] == 97
    assert values_of(points, "gpu/memory_used_bytes")[-1] == 9e9
    assert values_of(points, "gpu/sm_clock_mhz")[-1] == 2520
    assert replayed.inventory().gpus[0].name == "NVIDIA GeForce RTX 4090"
    assert not {"gpu/ecc_corrected", "gpu/sm_active_pct"} & names_in(points)
