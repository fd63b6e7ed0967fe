"""Keep the residual stream of a transformer in autocast's precision: by default it stays float32, and so does most of the kept memory.

Autocast lets norms compute in float32 from a float32 copy, which the backward pass keeps. These also sum in float32, but in
registers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def in_half(x: Tensor) -> Tensor:
    """In autocast's precision if that is on, else unchanged. Later additions already have that precision."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if not x.is_meta and torch.is_autocast_enabled(device) else x


def rms_norm(x: Tensor) -> Tensor:
    """Over the last dimension, without a weight."""
    with without_autocast(x):
        return F.rms_norm(x, (x.shape[-1],))


class LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """The autocast state of its device. The meta device, on which FLOPs are counted, has no autocast."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
