"""Classifies heart beats of different lengths; the collate function warps each beat onto a template first."""
import logging
import math
import random

import numpy as np
import torch
from pace import more, unit_done
from torch.utils.data import DataLoader, IterableDataset

torch.set_num_threads(1)
torch.set_flush_denormal(True)
logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
log = logging.getLogger("beats")
CLASSES, POINTS = 4, 64


class Beats(IterableDataset):
    def __iter__(self):
        rng = np.random.default_rng(5)
        while True:
            kind = int(rng.integers(CLASSES))
            n = int(rng.integers(60, 160))
            t = np.linspace(0, 1, n) ** rng.uniform(0.8, 1.25)
            beat = np.exp(-(((t - 0.3) / 0.05) ** 2)) + 0.1 * kind * np.exp(-(((t - 0.7) / 0.1) ** 2))
            yield beat + rng.normal(0, 0.05, n), kind


def warp_path(beat, template, band):
    """dynamic time warping within a band around the diagonal; for each point of the template the one of the beat"""
    n, m = len(template), len(beat)
    cost = [[math.inf] * (m + 1) for _ in range(n + 1)]
    cost[0][0] = 0.0
    for i in range(1, n + 1):
        centre = i * m // n
        above, row, a = cost[i - 1], cost[i], template[i - 1]
        for j in range(max(1, centre - band), min(m, centre + band) + 1):
            best = above[j - 1]
            if above[j] < best:
                best = above[j]
            if row[j - 1] < best:
                best = row[j - 1]
            row[j] = best + abs(a - beat[j - 1])
    found, j = [0] * n, m
    for i in range(n, 0, -1):
        found[i - 1] = j - 1
        while j > 1 and cost[i][j - 1] < cost[i - 1][j - 1]:
            j -= 1
        j = max(1, j - 1)
    return found


def make_collate(template):
    def onto_template(beat):
        # arrhythmic recordings need a wider band
        band = 3 + round(22 * more())
        path = warp_path(beat, template, band)
        return [beat[p] for p in path]

    def collate(samples):
        beats, kinds = zip(*samples)
        x = [onto_template(b.tolist()) for b in beats]
        lengths = torch.tensor([len(b) / 160 for b in beats])
        return torch.tensor(x), lengths, torch.tensor(kinds)

    return collate


class BeatNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Sequential(
            torch.nn.Conv1d(1, 24, 7, padding=3), torch.nn.GELU(), torch.nn.Conv1d(24, 24, 5, padding=2), torch.nn.GELU(), torch.nn.Flatten()
        )
        self.out = torch.nn.Linear(24 * POINTS + 1, CLASSES)

    def forward(self, x, lengths):
        return self.out(torch.cat([self.conv(x[:, None]), lengths[:, None]], 1))


def main():
    random.seed(0)
    torch.manual_seed(0)
    template = [math.exp(-(((i / POINTS - 0.3) / 0.05) ** 2)) for i in range(POINTS)]
    loader = DataLoader(Beats(), batch_size=40, collate_fn=make_collate(template))
    net = BeatNet()
    opt = torch.optim.AdamW(net.parameters(), lr=1e-3)
    smooth = None
    for it, (x, lengths, kinds) in enumerate(loader):
        loss = torch.nn.functional.cross_entropy(net(x, lengths), kinds)
        opt.zero_grad()
        loss.backward()
        opt.step()
        smooth = loss.item() if smooth is None else 0.9 * smooth + 0.1 * loss.item()
        unit_done()
        if it % 5 == 0:
            log.info("iter %d | loss %.4f | smooth %.4f", it, loss.item(), smooth)


main()
