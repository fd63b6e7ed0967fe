"""Which cards a machine has, and how they reach each other, as the driver says it."""

from __future__ import annotations

from collectors.machine import inventory
from tests import fake_nvml
from tests.support.replayed_gpus import Machine, collect_until, library, machine

__all__ = ["library", "machine"]  # fixtures


def test_the_cards_their_ways_and_the_driver_are_described(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.hopper(8))
    collect_until(collector, lambda _: bool(collector.inventory().gpus))
    found = inventory.described(collector.inventory())
    assert found["gpu"].startswith("8 x NVIDIA H100") and found["driver"] == "580.65.06"
    assert found["gpu_topology"]["NVLink"][:3] == ["0-1", "0-2", "0-3"] and len(found["gpu_topology"]["NVLink"]) == 12
    assert len(found["gpu_topology"]["PCIe, another CPU"]) == 16


def test_a_single_card_without_nvlink_has_no_topology(machine: Machine) -> None:
    collector, _ = machine(fake_nvml.consumer())
    collect_until(collector, lambda _: bool(collector.inventory().gpus))
    assert inventory.described(collector.inventory()) == {"gpu": "NVIDIA GeForce RTX 4090", "driver": "580.65.06"}
