"""GPUs and drivers that are lost, replaced, missing or back, and what is said of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pynvml
import pytest

from collectors.machine import inventory, nvml, polled_card
from collectors.machine.nvml import NvmlCollector, StaleLibrary
from tests import fake_nvml
from tests.support.replayed_gpus import DEADLINE_S, Machine, collect_until, gpus_in, names_in, states
from tests.support.replayed_gpus import library as library  # a fixture
from tests.support.replayed_gpus import machine as machine  # a fixture


def test_a_lost_gpu_leaves_seven_and_comes_back_by_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polled_card, "LOST_RETRY_S", 0.2)
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


def test_a_gpu_that_answers_unknown_is_lost_with_the_drivers_words(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polled_card, "LOST_RETRY_S", 0.2)
    monkeypatch.setattr(nvml, "INVENTORY_S", 0.0)
    collector, control = machine(fake_nvml.hopper(2) + "lacks * memory_v2\n")  # it must also heal with an older driver
    control.gpu_error[1] = pynvml.NVML_ERROR_UNKNOWN
    collect_until(collector, lambda points: states(collector) == ["ok", "lost"])
    assert "Unknown Error" in collector.inventory().gpus[1].reason
    control.gpu_error[1] = 0
    collect_until(collector, lambda points: states(collector) == ["ok", "ok"])


def test_a_driver_of_another_version_is_named_and_tried_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "ABSENT_RETRY_S", 0.1)
    collector, control = machine(fake_nvml.hopper())
    control.init_error = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    assert collector.collect() == []
    assert (
        collector.inventory().note == "The NVIDIA driver and its library are of different versions: reboot to fix it."
    )
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
    assert (
        collector.inventory().note == "The NVIDIA library is installed, but its driver is not loaded: showing the host."
    )


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
    code = "from collectors.machine.nvml import NvmlCollector; one = NvmlCollector('box'); one.collect(); print(one.inventory().note)"
    command = ["unshare", "--mount", "sh", "-c", f'{show_driver} && exec "$@"', "sh", sys.executable, "-c", code]
    environment = {"LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML_TRACE": str(tmp_path / "trace")}
    environment |= {"FAKE_NVML_CONTROL": str(tmp_path / "control")}
    ran = subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
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
