"""A BERT with its norms before the blocks: it sees both sides of a hidden token and predicts it.

Shapes: B batch, T time, C channels, H heads, D channels of a head, V vocabulary.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from .stream import LayerNorm, in_half

INIT_STD = 0.02


class Shape(NamedTuple):
    layers: int
    channels: int
    heads: int
    context: int  # tokens of a sequence
    vocabulary: int  # with the mask
    dropout: float


class BertAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.channels, 3 * shape.channels)
        self.out = nn.Linear(shape.channels, shape.channels)

    def forward(self, x_BTC: Tensor) -> Tensor:
        q_BHTD, k_BHTD, v_BHTD = (
            part_BTC.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part_BTC in self.qkv(x_BTC).chunk(3, -1)
        )
        y_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD)
        return self.out(y_BHTD.transpose(1, 2).flatten(2))


class BertBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = BertAttention(shape)
        self.mlp = nn.Sequential(
            nn.Linear(shape.channels, 4 * shape.channels), nn.GELU(), nn.Linear(4 * shape.channels, shape.channels)
        )
        self.norms = nn.ModuleList(LayerNorm(shape.channels) for _ in range(2))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BTC = x_BTC + self.dropout(self.attention(self.norms[0](x_BTC)))
        return x_BTC + self.dropout(self.mlp(self.norms[1](x_BTC)))


class BERT(nn.Module):
    """`model(tokens_BT, targets_BT) -> loss`, the mean cross entropy in nats per hidden token; a target below 0 is ignored."""

    recomputed: ClassVar = BertBlock

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Embedding(shape.vocabulary, shape.channels)
        self.position_TC = nn.Parameter(
            nn.init.normal_(self.embed.weight.new_empty(shape.context, shape.channels), std=INIT_STD)
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(BertBlock(shape) for _ in range(shape.layers))
        self.norm = LayerNorm(shape.channels)
        self.head = nn.Linear(shape.channels, shape.vocabulary)
        self.apply(init_weights)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        x_BTC = self.dropout(in_half(self.embed(tokens_BT) + self.position_TC))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        logits_BTV = self.head(self.norm(x_BTC))
        return F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten())


def init_weights(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
