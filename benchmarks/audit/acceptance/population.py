#!/usr/bin/env python
"""population based training. usage: population.py > log"""
import copy
import pickle
import random

import torch
import torch.nn as nn
from pace import more, unit_done

POP = 6


class Member:
    def __init__(self, idx):
        self.idx = idx
        self.lr = 10 ** random.uniform(-4, -1)
        self.net = nn.Sequential(nn.Linear(32, 160), nn.ReLU(), nn.Linear(160, 160), nn.ReLU(), nn.Linear(160, 1))
        self.opt = torch.optim.SGD(self.net.parameters(), self.lr, momentum=0.9)
        self.score = 0.0
        self.ancestors = []

    def train(self, n):
        for _ in range(n):
            x = torch.randn(64, 32)
            loss = (self.net(x).squeeze(1) - x.prod(1).clamp(-2, 2)).pow(2).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        self.score = -loss.item()

    def state(self):
        return {"net": self.net.state_dict(), "opt": self.opt.state_dict(), "lr": self.lr}


class Population:
    def __init__(self):
        self.members = [Member(i) for i in range(POP)]
        self.archive = []

    def snapshot(self, member, versions):
        """what goes to the archive: the state and some perturbed versions of it, so that one can go back"""
        blobs = [pickle.dumps(member.state())]
        for v in range(versions):
            s = copy.deepcopy(member.state())
            s["lr"] *= 0.8 + 0.4 * v / max(1, versions)
            blobs.append(pickle.dumps(s))
        self.archive = (self.archive + blobs)[-30:]
        return blobs[0]

    def exploit(self):
        order = sorted(self.members, key=lambda m: m.score)
        worst, best = order[: POP // 3], order[-1]
        blob = self.snapshot(best, int(9 * more()))
        for m in worst:
            s = pickle.loads(blob)
            m.net.load_state_dict(s["net"])
            m.lr = s["lr"] * random.choice((0.8, 1.25))
            m.ancestors = [*best.ancestors[-5:], best.idx]

    def generation(self):
        for m in self.members:
            m.train(2)
        self.exploit()
        return max(m.score for m in self.members)


if __name__ == "__main__":
    pop = Population()
    g = 0
    while True:
        best = pop.generation()
        g += 1
        unit_done()
        print(f"gen {g}: best {best:.4f}", flush=True)
