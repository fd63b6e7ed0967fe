"""Cards and places where the driver says less than of a whole card of a data centre on bare metal."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from . import BUSY, changes

OddCard: TypeAlias = Literal["MIG", "vGPU", "WSL2", "container", "GeForce"]
ODD_CARDS: tuple[OddCard, ...] = get_args(OddCard)

NAMES: dict[OddCard, str] = {
    "MIG": "NVIDIA A100-SXM4-80GB",
    "vGPU": "NVIDIA A40-24Q",
    "WSL2": "NVIDIA GeForce RTX 3080",
    "container": "NVIDIA H100 80GB HBM3",
    "GeForce": "NVIDIA GeForce RTX 4090",
}
LACKS: dict[OddCard, str] = {  # of the features of machine.h
    "MIG": "pcie_counters",
    "vGPU": "samples power power_instant energy power_limit temperature_v temperature margin thresholds fan reasons gpm pcie pcie_counters "
    "nvlink ecc remapped counters process_utilization events",
    "WSL2": "rates samples compute graphics process_utilization gpm ecc remapped counters margin nvlink pcie_counters events",
    "container": "process_utilization",
    "GeForce": "gpm ecc remapped nvlink counters margin pcie_counters process_utilization",
}
INSTANCES = {1: 20e9, 2: 40e9}  # of the card in MIG mode: id, memory
INSTANCE_BUSY_PCT = 80.0  # of the first one; the other is idle


def described(kind: OddCard, gpu: int = 0) -> list[str]:
    """Lines of a description; all of them are at work, with a context of a process that only some of them name."""
    lines = [f"name {gpu} {NAMES[kind]}", f"lacks {gpu} {LACKS[kind]}", *changes(str(gpu), 0, BUSY)]
    if kind == "MIG":
        lines += [f"mig {gpu} {number} {memory:g}" for number, memory in INSTANCES.items()]
        lines += changes(f"{gpu}.1", 0, {"utilization": INSTANCE_BUSY_PCT, "sm_active": 60, "memory_used": 15e9})
    if kind in ("vGPU", "GeForce"):
        lines.append(f"process {gpu} 1 9e9 50 compute")
    return lines


def machine(*kinds: OddCard) -> str:
    """A machine with these cards."""
    return (
        "\n".join([f"gpus {len(kinds)}", *(line for gpu, kind in enumerate(kinds) for line in described(kind, gpu))])
        + "\n"
    )
