"""In which precision a device computes: fp32, bf16, or fp16 with a gradient scaler."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .errors import UserError

CHOICES = ("auto", "fp32", "bf16", "fp16")


class Precision(NamedTuple):
    name: str
    dtype: torch.dtype  # of matrix products; weights and sums stay float32
    reason: str  # why this one, for the log

    def autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype is not torch.float32)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """fp16 gradients underflow without it; the others have float32's range, and get one that passes everything through."""
        return torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)


def choose(wanted: str, device: torch.device) -> Precision:
    if wanted == "auto":
        return _best(device)
    if wanted == "bf16" and device.type == "cuda" and not _has_bf16(device):
        raise UserError(f"{torch.cuda.get_device_name(device)} has no bf16: use --precision fp16")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]
    return Precision(wanted, dtype, "asked for")


def _best(device: torch.device) -> Precision:
    if device.type != "cuda":
        return Precision("fp32", torch.float32, "a CPU gains nothing from less at this size")
    if _has_bf16(device):
        return Precision("bf16", torch.bfloat16, "tensor cores take it, and it needs no gradient scaler")
    return Precision("fp16", torch.float16, "this GPU is older than bf16; gradients are scaled")


def _has_bf16(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)  # torch.cuda.is_bf16_supported() counts emulation, too
