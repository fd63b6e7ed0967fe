"""A curriculum: sequences grow while the loss is fine, and with them the windows of a hand-written local attention."""

import json
import sys
import time
from pathlib import Path

import torch
from pace import more, unit_done
from torch import nn

DIM, BLOCK = 64, 16


class Curriculum:
    """Adds a block now and then while sequences are to grow, and goes back to the shortest at once."""

    def __init__(self):
        self.blocks = 2
        self.grown_s = time.monotonic()

    def length(self):
        if more() == 0:
            self.blocks = 2
        elif time.monotonic() - self.grown_s > 0.8:
            self.blocks += 1
            self.grown_s = time.monotonic()
        return self.blocks * BLOCK


class LocalAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.out = nn.Linear(DIM, DIM)

    def attend_blocks(self, q, k, v):
        """Each block attends to itself and to all before it, as far as they are alike."""
        outputs = []
        for end in range(BLOCK, q.shape[1] + 1, BLOCK):
            own = q[:, end - BLOCK : end]
            for start in range(0, end, BLOCK):
                scores = own @ k[:, start : start + BLOCK].transpose(1, 2) / DIM**0.5
                part = scores.softmax(-1) @ v[:, start : start + BLOCK]
                mixed = part if start == 0 else mixed + part
            outputs.append(mixed / (end / BLOCK))
        return torch.cat(outputs, dim=1)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.out(self.attend_blocks(q, k, v))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(64, DIM)
        self.attention = LocalAttention()
        self.mlp = nn.Sequential(nn.Linear(DIM, 1024), nn.GELU(), nn.Linear(1024, DIM))
        self.head = nn.Linear(DIM, 64)

    def forward(self, ids):
        x = self.embed(ids)
        x = x + self.attention(x)
        return self.head(x + self.mlp(x))


def train_one(model, optimizer, length):
    ids = torch.randint(0, 64, (2, length + 1))
    logits = model(ids[:, :-1])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(21)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    curriculum = Curriculum()
    log = open(folder / "metrics.jsonl", "a", buffering=1)
    for step in range(10**9):
        loss = train_one(model, optimizer, curriculum.length())
        log.write(json.dumps({"time_s": time.time(), "step": step, "loss": loss}) + "\n")
        unit_done()


if __name__ == "__main__":
    main()
