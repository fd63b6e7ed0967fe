"""AMD's cards, as the amdgpu driver describes them in /sys."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from collectors.catalog import GPU
from collectors.machine import amd, polled_card
from collectors.machine.amd import AmdCollector
from collectors.machine.finder import gpus_of
from collectors.machine.gpus import GpuCollector
from collectors.machine.inventory import Gpu
from collectors.records import Points
from dashboard.commands.doctor import CheckedHost, check_gpu
from tests.conftest import wait_for
from tests.planted.moved_time import moved
from tests.support.fake_amd import MI300X, RADEON, AmdMachine


@pytest.fixture
def machine(tmp_path: Path) -> AmdMachine:
    return AmdMachine(tmp_path)


def seen(collector: AmdCollector, index: int = 0) -> dict[str, float]:
    """Of one look at everything."""
    found: dict[str, float] = {}
    for row in collector.collect():
        assert isinstance(row, Points)
        if dict(row.labels)["gpu"] == str(index):
            found |= dict(zip(row.names, row.values, strict=True))
    return found


def only(collector: AmdCollector) -> Gpu:
    (gpu,) = collector.inventory().gpus
    return gpu


def test_every_value_of_an_instinct_card_has_its_unit(machine: AmdMachine) -> None:
    machine.card(1, MI300X, "0000:1b:00.0", kfd=45412)
    machine.process(os.getpid(), 45412, 150_000_000_000, 228)
    machine.process(1, 999, 1_000_000, 3)  # on another card
    collector = AmdCollector("box", machine.root)
    assert seen(collector) == pytest.approx(
        {
            "gpu/utilization_pct": 87,
            "gpu/memory_utilization_pct": 31,
            "gpu/memory_used_bytes": 150323855360,
            "gpu/memory_total_bytes": 206141652992,
            "gpu/power_w": 612,
            "gpu/power_limit_w": 750,
            "gpu/sm_clock_mhz": 2100,
            "gpu/memory_clock_mhz": 1300,
            "gpu/temperature_c": 71,
            "gpu/memory_temperature_c": 58,
            "gpu/temperature_slowdown_c": 100,
            "gpu/temperature_shutdown_c": 105,
            "gpu/pcie_generation": 5,
            "gpu/pcie_width": 16,
            "gpu/ecc_uncorrected": 0,
            "gpu/ecc_corrected": 3,
            "gpu/processes": 1,
        }
    )
    gpu = only(collector)
    assert (gpu.name, gpu.uuid, gpu.state, gpu.power_limit_w) == (
        "AMD Instinct MI300X OAM",
        "GPU-5a7c21e4f0b3d981",
        "ok",
        750,
    )
    (process,) = gpu.processes
    assert (process.pid, process.used_memory_bytes, process.utilization_pct) == (os.getpid(), 150_000_000_000, 75)
    assert process.name


def test_all_names_are_in_the_catalog(machine: AmdMachine) -> None:
    machine.card(0, MI300X | RADEON, "0000:03:00.0", kfd=1)
    names = {metric.name for source in GPU for metric in source.metrics}
    assert seen(AmdCollector("box", machine.root)).keys() <= names


def test_what_a_card_does_not_tell_is_unknown_and_never_zero(machine: AmdMachine) -> None:
    files = {name: value for name, value in RADEON.items() if name != "gpu_busy_percent"}
    device = machine.card(
        0,
        files | {"mem_busy_percent": "", "hwmon/hwmon2/power1_cap": "N/A", "current_link_speed": "Unknown"},
        "0000:03:00.0",
    )
    collector = AmdCollector("box", machine.root)
    assert seen(collector) == pytest.approx(
        {
            "gpu/memory_used_bytes": 2147483648,
            "gpu/memory_total_bytes": 25753026560,
            "gpu/power_w": 41,
            "gpu/temperature_c": 44,
            "gpu/temperature_slowdown_c": 110,
            "gpu/fan_pct": 20,
            "gpu/processes": 0,
        }
    )
    gpu = only(collector)
    assert (gpu.name, gpu.uuid, gpu.power_limit_w) == ("AMD GPU 0x744c", f"GPU-{device.name}", None)
    assert "are not known" in gpu.processes_note


def test_a_card_that_is_powered_down_is_not_woken(machine: AmdMachine) -> None:
    device = machine.card(0, RADEON | {"power/runtime_status": "suspended"}, "0000:03:00.0")
    collector = AmdCollector("box", machine.root)
    assert seen(collector) == {}
    assert only(collector).state == "ok"
    machine.write(device / "power/runtime_status", "active")
    wait_for(lambda: seen(collector).get("gpu/utilization_pct") == 12, because="it is not read once it wakes")


def test_a_card_that_stops_answering_is_lost_and_comes_back(
    machine: AmdMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled_card, "LOST_RETRY_S", 1.0)
    files = [MI300X | {"unique_id": number} for number in (1, 2)]
    first, _ = (machine.card(number, each, f"0000:{number}b:00.0") for number, each in enumerate(files))
    collector = AmdCollector("box", machine.root)
    with moved(1e9, (amd, polled_card)) as clock:
        collector.collect()
        machine.write(first / "mem_info_vram_total", "")
        clock.now_s += 1
        collector.collect()
        lost, well = collector.inventory().gpus
        assert (lost.state, well.state, lost.since_s) == ("lost", "ok", clock.now_s)
        assert lost.reason.startswith("GPU 0 stopped answering at ") and "amdgpu" in lost.reason
        clock.now_s += 2
        assert {dict(row.labels)["gpu"] for row in collector.collect()} == {"1"}
        machine.write(first / "mem_info_vram_total", MI300X["mem_info_vram_total"])
        clock.now_s += 5
        assert {dict(row.labels)["gpu"] for row in collector.collect()} == {"0", "1"}
        assert [gpu.state for gpu in collector.inventory().gpus] == ["ok", "ok"]


def test_cards_are_numbered_by_their_place_on_the_bus_behind_other_makers(machine: AmdMachine) -> None:
    machine.card(7, MI300X | {"unique_id": "first"}, "0000:0c:00.0")
    machine.card(2, MI300X | {"unique_id": "second"}, "0000:9c:00.0")
    machine.card(3, {"vendor": "0x1a03"}, "0000:04:00.0")  # the server's own screen
    collector = AmdCollector("box", machine.root)
    collector.collect(first=4)
    assert [(gpu.index, gpu.uuid) for gpu in collector.inventory().gpus] == [(4, "GPU-first"), (5, "GPU-second")]


def test_a_container_without_the_devices_says_how_to_be_given_them(
    machine: AmdMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.card(0, MI300X, "0000:03:00.0")
    shutil.rmtree(machine.root / "dev/dri")
    collector = GpuCollector("box", machine.root)
    assert collector.collect() == []
    assert collector.inventory().note == amd.NO_DEVICES


def test_partitions_of_one_chip_are_told_apart(machine: AmdMachine) -> None:
    for number, address in ((0, "0000:03:00.0"), (1, "0000:03:00.1")):
        machine.card(number, MI300X | {"current_compute_partition": "CPX"}, address)
    collector = AmdCollector("box", machine.root)
    collector.collect()
    assert len({gpu.uuid for gpu in collector.inventory().gpus}) == 2


def test_the_doctor_names_the_cards_and_says_what_a_container_lacks(machine: AmdMachine) -> None:
    place = CheckedHost((), machine.root, 0, machine.root)
    machine.card(0, MI300X, "0000:03:00.0")
    machine.card(1, MI300X, "0000:04:00.0")
    found = check_gpu(place)
    assert (found.verdict, found.sentence) == ("ok", "driver amdgpu: 2 x AMD Instinct MI300X OAM.")
    shutil.rmtree(machine.root / "dev/dri")
    found = check_gpu(place)
    assert found.verdict == "warning" and "--device=/dev/kfd" in found.remedy


def test_a_rank_is_on_the_cards_that_rocm_leaves_visible() -> None:
    gpus = [{"index": index, "uuid": f"GPU-{index}", "name": f"card {index}", "mig": None} for index in range(4)]
    assert gpus_of([], {"HIP_VISIBLE_DEVICES": "2,3"}, gpus) == ([2, 3], "HIP_VISIBLE_DEVICES")
    assert gpus_of([], {"ROCR_VISIBLE_DEVICES": "GPU-1"}, gpus) == ([1], "ROCR_VISIBLE_DEVICES")


def test_a_machine_without_any_driver_says_so_in_one_sentence(tmp_path: Path) -> None:
    collector = GpuCollector("box", tmp_path)
    assert collector.collect() == []
    note = collector.inventory().note
    assert note is not None and note.count(".") == 1
