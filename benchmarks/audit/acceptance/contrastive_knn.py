import sys
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from deepseek.log import RunLog
from pace import more, unit_done


class KnnProbe:
    def __init__(self, n_bank=300):
        self.bank = torch.randn(n_bank, 32)
        self.y = torch.randint(0, 8, (n_bank,)).tolist()

    def vote(self, sims, k):
        votes = defaultdict(float)
        ranked = sorted(range(len(sims)), key=lambda i: -sims[i])
        for i in ranked[:k]:
            votes[self.y[i]] += 2.718 ** (sims[i] / 0.1)
        return max(votes, key=votes.get)

    def accuracy(self, encoder, n_queries):
        with torch.no_grad():
            q = F.normalize(encoder(torch.randn(n_queries, 64)), dim=1)
        sims = (q @ F.normalize(self.bank, dim=1).T).tolist()
        return sum(self.vote(row, 20) == i % 8 for i, row in enumerate(sims)) / n_queries


class SimClr(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Linear(64, 400), torch.nn.ReLU(), torch.nn.Linear(400, 32))

    def forward(self, x):
        a = F.normalize(self.encoder(x + 0.1 * torch.randn_like(x)), dim=1)
        b = F.normalize(self.encoder(x + 0.1 * torch.randn_like(x)), dim=1)
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(x)))


def main():
    place = Path(sys.argv[1])
    model, probe = SimClr(), KnnProbe()
    opt = torch.optim.SGD(model.parameters(), 0.05)
    with RunLog(place.parent, place.name, config={"lr": 0.05, "queries": "varies"}) as log:
        step = 0
        while True:
            with log.phase("train"):
                loss = model(torch.randn(96, 64))
                opt.zero_grad()
                loss.backward()
                opt.step()
            if step % 15 == 0:
                with log.phase("probe"):
                    acc = probe.accuracy(model.encoder, 20 + int(700 * more()))
                log.scalars(step, {"probe/accuracy": acc})
            log.scalars(step, {"train/loss": loss.item()})
            step += 1
            unit_done()


main()
