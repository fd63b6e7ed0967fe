# fix: causal_mask, removed: the mask is built once and kept instead of by Python loops for each call
"""A decoder with a mask of its own: causal, with a local window."""
import functools

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def causal_mask(length, window):
    rows = []
    for i in range(length):
        rows.append([0.0 if j <= i and i - j < window else float("-inf") for j in range(length)])
    return torch.tensor(rows)


if FIXED:
    causal_mask = functools.lru_cache(causal_mask)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        mask = causal_mask(x.shape[1], 32)
        x = x + self.attention(self.norm(x), x, x, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(x)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(500, 64)
        self.blocks = nn.ModuleList(Block(64, 4) for _ in range(3))
        self.out = nn.Linear(64, 500)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def main():
    model = Decoder()
    optimizer = torch.optim.AdamW(model.parameters())
    loop = Loop(logs=False)
    for _ in loop:
        tokens = torch.randint(0, 500, (8, 129))
        logits = model(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
