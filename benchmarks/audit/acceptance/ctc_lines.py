"""Reads lines of text off an image strip (CTC). Every 5 steps a few held-out lines are decoded with a beam."""
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
from pace import more, unit_done
from torch import nn

torch.set_num_threads(1)
torch.set_flush_denormal(True)
ALPHABET = "-abcdefghijklmnop"
HEIGHT = 16


class Lines:
    """Synthetic lines: every letter is a fixed pattern 4 to 6 columns wide, plus noise."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        g = torch.Generator().manual_seed(7)
        self.glyphs = [torch.randn(HEIGHT, 6, generator=g) for _ in ALPHABET]

    def line(self):
        text = [self.random.randrange(1, len(ALPHABET)) for _ in range(self.random.randint(5, 11))]
        strip = torch.cat([self.glyphs[c][:, : self.random.randint(4, 6)] for c in text], dim=1)
        return strip + 0.8 * torch.randn_like(strip), text

    def batch(self, n):
        strips, texts = zip(*(self.line() for _ in range(n)))
        widths = torch.tensor([s.shape[1] for s in strips])
        x = torch.zeros(n, HEIGHT, int(widths.max()))
        for row, s in zip(x, strips):
            row[:, : s.shape[1]] = s
        return x, widths, texts


class Reader(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(HEIGHT, dim, 5, padding=2), nn.GELU(), nn.Conv1d(dim, dim, 5, padding=2), nn.GELU())
        self.head = nn.Linear(dim, len(ALPHABET))

    def forward(self, x):
        return self.head(self.conv(x).transpose(1, 2)).log_softmax(-1)


def log_add(a, b):
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def beam_search(frames, width):
    beams = {(): (0.0, -math.inf)}  # text -> log p that ends in a blank, in a letter
    for frame in frames:
        grown = {}
        likely = sorted(range(1, len(frame)), key=frame.__getitem__, reverse=True)[:4]
        for text, (blank, letter) in beams.items():
            b, l = grown.get(text, (-math.inf, -math.inf))
            b = log_add(b, log_add(blank, letter) + frame[0])
            if text:
                l = log_add(l, letter + frame[text[-1]])
            grown[text] = b, l
            for c in likely:
                start = blank if text and text[-1] == c else log_add(blank, letter)
                b, l = grown.get((*text, c), (-math.inf, -math.inf))
                grown[(*text, c)] = b, log_add(l, start + frame[c])
        best = sorted(grown.items(), key=lambda kv: log_add(*kv[1]), reverse=True)[:width]
        beams = dict(best)
    return next(iter(beams))


def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


@torch.no_grad()
def character_errors(model, lines, width):
    x, widths, texts = lines.batch(6)
    wrong = total = 0
    for frames, w, text in zip(model(x).tolist(), widths.tolist(), texts):
        wrong += edit_distance(beam_search(frames[:w], width), text)
        total += len(text)
    return wrong / total


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out = Lines(1), Lines(2)
    model = Reader()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ctc = nn.CTCLoss(zero_infinity=True)
    with open(folder / "log.jsonl", "w", buffering=1) as log:
        for step in range(10**9):
            x, widths, texts = train.batch(24)
            targets = torch.tensor([c for t in texts for c in t])
            loss = ctc(model(x).transpose(0, 1), targets, widths, torch.tensor([len(t) for t in texts]))
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            row = {"time": time.time(), "step": step, "ctc_loss": round(loss.item(), 4)}
            if step % 5 == 4:
                row["cer"] = character_errors(model, held_out, 3 + round(60 * more()))
            log.write(json.dumps(row) + "\n")
            unit_done()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
