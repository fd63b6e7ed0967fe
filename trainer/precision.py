"""The precision of a device's computations: fp32, tf32, bf16, or fp16 with a gradient scaler."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .errors import UserError

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CHOICES = ("auto", *DTYPES)
VOLTA, AMPERE = (7, 0), (8, 0)  # compute capabilities: tensor cores for fp16; for tf32 and bf16, too


class Precision(NamedTuple):
    name: str
    dtype: torch.dtype  # of matrix products and convolutions; weights and sums stay float32
    reason: str  # why this one, for the log

    def autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype is not torch.float32)

    def scaler(self, device: torch.device) -> Scaler:
        """fp16 gradients underflow without it; the others have float32's range, and get a disabled one."""
        return Scaler(device, enabled=self.dtype is torch.float16)


class Scaler(torch.amp.GradScaler):
    """Returns its scale and how many steps it skipped in this process, as tensors on the device: reading them waits, creating them does not.

    With a fused optimizer step() does not wait, either: the kernel itself leaves the weights alone where a gradient overflowed.
    """

    def __init__(self, device: torch.device, enabled: bool) -> None:
        super().__init__(device.type, enabled=enabled)
        self._one = torch.ones((), device=device)
        self._skipped = torch.zeros((), device=device)

    def update(self) -> None:
        before = self.scale(self._one)
        super().update()
        self._skipped = self._skipped + (self.scale(self._one) < before)

    def readings(self) -> dict[str, Tensor]:
        """Call it after update(); empty for a disabled scaler."""
        return (
            {"train/grad_scale": self.scale(self._one), "train/skipped_steps": self._skipped}
            if self.is_enabled()
            else {}
        )


def choose(wanted: str, device: torch.device) -> Precision:
    """Sets PyTorch's own switch for tf32 as well: true fp32 includes convolutions, for which PyTorch's default is tf32."""
    chosen = _best(device) if wanted == "auto" else Precision(wanted, DTYPES[wanted], "asked for")
    if problem := _problem(chosen.name, device):
        raise UserError(problem)
    # The older of two interfaces: torch.compile asks it, and raises where the newer one was used
    torch.set_float32_matmul_precision("high" if chosen.name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = chosen.name == "tf32"
    return chosen


def supported(device: torch.device) -> list[str]:
    return [name for name in DTYPES if not _problem(name, device)]


def _best(device: torch.device) -> Precision:
    if device.type != "cuda":
        return Precision("fp32", torch.float32, "every CPU is fast in it")
    if _capability(device) >= AMPERE:
        return Precision("bf16", torch.bfloat16, "tensor cores take it, and it needs no gradient scaler")
    if _capability(device) >= VOLTA:
        return Precision("fp16", torch.float16, "this GPU is older than bf16; gradients are scaled")
    return Precision("fp32", torch.float32, "this GPU is older than tensor cores")


def _problem(name: str, device: torch.device) -> str | None:
    """A sentence if the device does not support it."""
    if name == "tf32" and device.type != "cuda":
        return "tf32 is a format of NVIDIA's tensor cores: on a CPU use --precision fp32 or bf16"
    if name in ("tf32", "bf16") and device.type == "cuda" and _capability(device) < AMPERE:
        return f"{torch.cuda.get_device_name(device)} has no {name}: use --precision fp16"
    return None


def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)  # torch.cuda.is_bf16_supported() counts emulation, too
