"""Peak FLOP/s of GPUs, and the share that a training uses."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Peak(NamedTuple):
    """Dense TFLOP/s of matrix products with sums in float32, from NVIDIA's data sheets (half of their figure where they count sparsity)."""

    device: str  # words of the name that PyTorch knows it by
    fp16: float
    bf16: float  # 0: has none
    tf32: float  # 0: has none
    fp32: float


# The first match counts, so the longer name stands first.
PEAKS = (
    Peak("B200", 2250, 2250, 1125, 75),
    Peak("GH200", 989.4, 989.4, 494.7, 66.9),
    Peak("H200 NVL", 835.5, 835.5, 417.5, 60),
    Peak("H200", 989.4, 989.4, 494.7, 66.9),
    Peak("H100 PCIe", 756, 756, 378, 51),
    Peak("H100 NVL", 835.5, 835.5, 417.5, 60),
    Peak("H100 80GB HBM3", 989.4, 989.4, 494.7, 66.9),
    Peak("A100", 312, 312, 156, 19.5),
    Peak("A30", 165, 165, 82, 10.3),
    Peak("A40", 149.7, 149.7, 74.8, 37.4),
    Peak("RTX A6000", 154.8, 154.8, 77.4, 38.7),
    Peak("A10", 125, 125, 62.5, 31.2),
    Peak("L40S", 362, 362, 183, 91.6),
    Peak("L40", 181, 181, 90.5, 90.5),
    Peak("L4", 121, 121, 60, 30.3),
    Peak("RTX 5090", 209.5, 209.5, 104.8, 104.8),
    Peak("RTX 4090", 165.2, 165.2, 82.6, 82.6),
    Peak("RTX 3090", 71, 71, 35.6, 35.6),
    Peak("V100 SXM2", 125, 0, 0, 15.7),
    Peak("V100 PCIE", 112, 0, 0, 14),
    Peak("T4", 65, 0, 0, 8.1),
)
SLOWER = ("Laptop", "MIG")  # run below the card whose name they bear


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s in "fp32", "tf32", "bf16" or "fp16"; None for a device that is not in the table, and for a CPU."""
    return peak_of(torch.cuda.get_device_name(device), precision) if device.type == "cuda" else None


def peak_of(name: str, precision: str) -> float | None:
    """`("NVIDIA A100-SXM4-80GB", "bf16") -> 312e12`"""
    words = f" {name.replace('-', ' ')} "
    if any(f" {other} " in words for other in SLOWER):
        return None
    peak = next((peak for peak in PEAKS if f" {peak.device} " in words), None)
    if peak is None:
        return None
    tera = {"fp32": peak.fp32, "tf32": peak.tf32, "bf16": peak.bf16, "fp16": peak.fp16}[precision]
    return tera * 1e12 or None


def mfu(flops_per_step: float, step_s: float, peak: float | None) -> float | None:
    """Model FLOPs utilization, 0 to 1: the model's FLOPs divided by the device's peak FLOPs in the time of a step."""
    return flops_per_step / step_s / peak if peak else None
