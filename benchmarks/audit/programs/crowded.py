"""A small language model on random text. Nothing in it is ever slow; the machine may be."""

import json
import sys
import time
from pathlib import Path

import torch
from pace import unit_done
from torch import nn

LETTERS, LENGTH = 40, 32


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])

    def forward(self, x, mask):
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.norms[1](x))


class LanguageModel(nn.Module):
    def __init__(self, dim=64, depth=2):
        super().__init__()
        self.embed = nn.Embedding(LETTERS, dim)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))
        self.head = nn.Linear(dim, LETTERS)
        self.register_buffer("mask", torch.triu(torch.full((LENGTH, LENGTH), float("-inf")), 1))

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(x)


def draw_text(count):
    start = torch.randint(0, LETTERS, (count, 1))
    step = torch.randint(1, 4, (count, 1))
    return (start + step * torch.arange(LENGTH + 1)) % LETTERS


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = LanguageModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with open(folder / "train.jsonl", "a") as log:
        for step in range(10**9):
            text = draw_text(8)
            logits = model(text[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.write(json.dumps({"step": step, "time_s": time.time(), "train/loss": loss.item()}) + "\n")
            log.flush()
            unit_done()


if __name__ == "__main__":
    main()
