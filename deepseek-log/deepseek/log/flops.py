"""Model FLOPs utilization (MFU): the FLOPs that a model's arithmetic needs, as a share of what its cards can do in the same time.

MFU is as PaLM defines it (Chowdhery and others, 2022, appendix B): recomputation does not count. It is blank where the FLOPs, the data type or
the card's peak is not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


class Peak(NamedTuple):
    """Dense TFLOP/s of matrix products with sums in float32, from the makers' data sheets (half of their figure where they count sparsity)."""

    device: str  # words of the name that the driver and PyTorch know it by
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
    Peak("MI325X", 1307.4, 1307.4, 653.7, 163.4),
    Peak("MI300X", 1307.4, 1307.4, 653.7, 163.4),
    Peak("MI250X", 191.5, 191.5, 0, 47.9),  # of one of its two chips: each is a device of its own
    Peak("MI210", 181, 181, 0, 45.3),
)
SLOWER = ("Laptop", "MIG")  # run below the card whose name they bear


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
    """0 to 1: the model's FLOPs divided by the device's peak FLOPs in the time of a step."""
    return flops_per_step / step_s / peak if peak else None


# What a run's configuration says of its arithmetic. Keys are the last part of a name with dots.

PRECISION_KEYS = ("precision", "mixed_precision", "amp_dtype", "autocast_dtype", "dtype", "torch_dtype")
PATTERNS: Mapping[Precision, str] = {
    "bf16": r"bf16|bfloat16",
    "fp16": r"fp16|float16|half|16|16-mixed|16-true",
    "tf32": r"tf32",
    "fp32": r"fp32|float32|float|32|32-true|no|none",
}
FLOPS_KEYS = ("flops_per_step", "model_flops_per_step")
TOKEN_KEYS = ("flops_per_token", "model_flops_per_token")
PARAMETER_KEYS = ("num_parameters", "n_parameters", "parameters", "num_params", "n_params", "params")
OF_PARAMETERS = 6.0  # forward 2, backward 4 for each parameter and token; attention beside its weights is left out (Kaplan and others, 2020)


def precision_of(config: Mapping[str, object]) -> Precision | None:
    """`{"precision": "bf16-mixed"} -> "bf16"`; None where it is not said, or not understood."""
    flagged = next((name for name in PATTERNS if config.get(name) is True), None)
    said = next((config[key] for key in PRECISION_KEYS if key in config), None)
    text = str(said).removeprefix("torch.").strip().lower()
    named = (name for name, pattern in PATTERNS.items() if re.fullmatch(rf"(?:{pattern})(?:-mixed|-true)?", text))
    return flagged or next(named, None)


def flops_per_s(config: Mapping[str, object], steps_per_s: float | None, tokens_per_s: float | None) -> float | None:
    """Of all cards together: by FLOPs of a step, else of a token, else by the number of parameters."""
    if steps_per_s and (flops := _positive(config, FLOPS_KEYS)):
        return flops * steps_per_s
    if not tokens_per_s:
        return None
    of_token = _positive(config, TOKEN_KEYS) or OF_PARAMETERS * (_positive(config, PARAMETER_KEYS) or 0.0)
    return of_token * tokens_per_s or None


def _positive(config: Mapping[str, object], keys: tuple[str, ...]) -> float | None:
    values = (config.get(key) for key in keys)
    return next(
        (
            float(one)
            for one in values
            if isinstance(one, (int, float)) and not isinstance(one, bool) and 0 < one < 1e30
        ),
        None,
    )


def utilization(
    config: Mapping[str, object], gpu: str, gpus: int, steps_per_s: float | None, tokens_per_s: float | None
) -> float | None:
    """MFU of a run on `gpus` cards that are `gpu` (`8 x NVIDIA H100 80GB HBM3`); None where it is not known, or impossible."""
    last = {key.rpartition(".")[2]: value for key, value in config.items()} | dict(config)
    flops, precision = flops_per_s(last, steps_per_s, tokens_per_s), precision_of(last)
    if flops is None or precision is None or "," in gpu:
        return None
    peak = peak_of(gpu, precision)
    share = flops / (peak * gpus) if peak else None
    return share if share is not None and share <= 1 else None
