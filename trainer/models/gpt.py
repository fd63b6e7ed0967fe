"""A small GPT: rotary positions, normed queries and keys, squared ReLU, no biases.

Shapes: B batch, T time, C channels, H heads, D channels of a head, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROTARY_BASE = 10_000


class Size(NamedTuple):
    layers: int
    channels: int
    heads: int
    context: int  # tokens that a prediction may look back at
    batch: int  # sequences a step, unless the command line says otherwise
    lr: float  # at its peak


SIZES = {
    "tiny": Size(layers=2, channels=128, heads=4, context=128, batch=8, lr=3e-3),  # about 50 ms a step on one CPU core
    "base": Size(layers=12, channels=768, heads=6, context=1024, batch=16, lr=6e-4),  # 85M parameters, for a GPU
}


class GPT(nn.Module):
    """`model(tokens_BT) -> logits_BTV`; `model(tokens_BT, targets_BT) -> loss`, the mean cross entropy in nats a token."""

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, size.channels)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.head = nn.Linear(size.channels, vocabulary, bias=False)
        cos_TD, sin_TD = rotary_angles(size.context, size.channels // size.heads)
        self.register_buffer("cos_TD", cos_TD, persistent=False)
        self.register_buffer("sin_TD", sin_TD, persistent=False)
        self._init_weights(size)

    def _init_weights(self, size: Size) -> None:
        """Each block starts as the identity, so that depth costs nothing at first."""
        for weight in self.parameters():
            nn.init.normal_(weight, std=size.channels**-0.5)
        for block in self.blocks:
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.mlp.down.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor | None = None) -> Tensor:
        time = tokens_BT.shape[1]
        x_BTC = norm(self.embed(tokens_BT))
        for block in self.blocks:
            x_BTC = block(x_BTC, self.cos_TD[:time], self.sin_TD[:time])
        logits_BTV = self.head(norm(x_BTC))
        if targets_BT is None:
            return logits_BTV
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten())


class Block(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.attention = Attention(size)
        self.mlp = MLP(size)

    def forward(self, x_BTC: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
        x_BTC = x_BTC + self.attention(norm(x_BTC), cos_TD, sin_TD)
        return x_BTC + self.mlp(norm(x_BTC))


class Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.channels, 3 * size.channels, bias=False)
        self.out = nn.Linear(size.channels, size.channels, bias=False)

    def forward(self, x_BTC: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
        q_BHTD, k_BHTD, v_BHTD = (
            part_BTC.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part_BTC in self.qkv(x_BTC).chunk(3, -1)
        )
        q_BHTD, k_BHTD = norm(rotate(q_BHTD, cos_TD, sin_TD)), norm(rotate(k_BHTD, cos_TD, sin_TD))
        y_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True)
        return self.out(y_BHTD.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.up = nn.Linear(size.channels, 4 * size.channels, bias=False)
        self.down = nn.Linear(4 * size.channels, size.channels, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x_BTC)).square())


def norm(x: Tensor) -> Tensor:
    """RMS norm over the last dimension, without a weight."""
    return F.rms_norm(x, (x.shape[-1],))


def rotary_angles(context: int, head_channels: int) -> tuple[Tensor, Tensor]:
    """cos_TD and sin_TD of RoFormer's rotation (arXiv 2104.09864), with the two halves of a head's channels as pairs."""
    frequency_D = ROTARY_BASE ** -(torch.arange(0, head_channels, 2) / head_channels)
    angle_TD = torch.outer(torch.arange(context), frequency_D).repeat(1, 2)
    return angle_TD.cos(), angle_TD.sin()


def rotate(x_BHTD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    first, second = x_BHTD.chunk(2, -1)
    return (x_BHTD * cos_TD + torch.cat((-second, first), -1) * sin_TD).type_as(x_BHTD)
