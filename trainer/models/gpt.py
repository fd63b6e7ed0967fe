"""A small GPT: rotary positions, normed queries and keys, squared ReLU, no biases.

Shapes: B batch, T time, C channels, H heads, D channels of a head, V vocabulary.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .stream import in_half, rms_norm

ROTARY_BASE = 10_000


class Shape(NamedTuple):
    layers: int
    channels: int
    heads: int
    context: int  # tokens that a prediction may look back at
    vocabulary: int


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.mlp = MLP(shape)

    def forward(self, x_BTC: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
        x_BTC = x_BTC + self.attention(rms_norm(x_BTC), cos_TD, sin_TD)
        return x_BTC + self.mlp(rms_norm(x_BTC))


class GPT(nn.Module):
    """`model(tokens_BT) -> logits_BTV`; `model(tokens_BT, targets_BT) -> loss`, the mean cross entropy in nats per token."""

    recomputed: ClassVar = Block  # what activation checkpointing keeps only the inputs of

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Embedding(shape.vocabulary, shape.channels)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.head = nn.Linear(shape.channels, shape.vocabulary, bias=False)
        cos_TD, sin_TD = rotary_angles(shape.context, shape.channels // shape.heads)
        self.register_buffer("cos_TD", cos_TD, persistent=False)
        self.register_buffer("sin_TD", sin_TD, persistent=False)
        self._init_weights(shape)

    def _init_weights(self, shape: Shape) -> None:
        """Each block starts as the identity, so that depth costs nothing at first."""
        for weight in self.parameters():
            nn.init.normal_(weight, std=shape.channels**-0.5)
        for block in self.blocks:
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.mlp.down.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor | None = None) -> Tensor:
        time = tokens_BT.shape[1]
        x_BTC = rms_norm(in_half(self.embed(tokens_BT)))
        for block in self.blocks:
            x_BTC = block(x_BTC, self.cos_TD[:time], self.sin_TD[:time])
        logits_BTV = self.head(rms_norm(x_BTC))
        if targets_BT is None:
            return logits_BTV
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten())


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.channels, 3 * shape.channels, bias=False)
        self.out = nn.Linear(shape.channels, shape.channels, bias=False)

    def forward(self, x_BTC: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
        q_BHTD, k_BHTD, v_BHTD = (
            part_BTC.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part_BTC in self.qkv(x_BTC).chunk(3, -1)
        )
        q_BHTD, k_BHTD = rms_norm(rotate(q_BHTD, cos_TD, sin_TD)), rms_norm(rotate(k_BHTD, cos_TD, sin_TD))
        y_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True)
        return self.out(y_BHTD.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.channels, 4 * shape.channels, bias=False)
        self.down = nn.Linear(4 * shape.channels, shape.channels, bias=False)

    def forward(self, x_BTC: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x_BTC)).square())


def rotary_angles(context: int, head_channels: int) -> tuple[Tensor, Tensor]:
    """cos_TD and sin_TD of RoFormer's rotation (arXiv 2104.09864), with the two halves of a head's channels as pairs."""
    frequency_D = ROTARY_BASE ** -(torch.arange(0, head_channels, 2) / head_channels)
    angle_TD = torch.outer(torch.arange(context), frequency_D).repeat(1, 2)
    return angle_TD.cos(), angle_TD.sin()


def rotate(x_BHTD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    first, second = x_BHTD.chunk(2, -1)
    return (x_BHTD * cos_TD + torch.cat((-second, first), -1) * sin_TD).type_as(x_BHTD)
