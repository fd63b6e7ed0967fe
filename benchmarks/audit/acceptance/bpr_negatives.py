"""Matrix factorization for recommendations (BPR). Negatives are what neither the user nor similar users have taken."""
import logging

import numpy as np
import scipy.sparse as sp
import torch
from pace import more, unit_done

torch.set_num_threads(1)
torch.set_flush_denormal(True)
logging.basicConfig(level=logging.INFO, format="[%(asctime)s] %(name)s: %(message)s")
logger = logging.getLogger("bpr")


def interactions(rng, users=1500, items=2500):
    taste, kind = rng.normal(size=(users, 4)), rng.normal(size=(items, 4))
    rows, cols = [], []
    for u, n in enumerate(np.minimum(rng.pareto(1.2, users) * 8 + 5, 200).astype(int)):
        liked = np.argsort(-(kind @ taste[u]) + rng.normal(0, 1.0, items))[: 4 * n]
        rows += [u] * n
        cols += rng.choice(liked, n, replace=False).tolist()
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, cols)), shape=(users, items))


class NegativeSampler:
    def __init__(self, seen, rng):
        self.seen, self.rng = seen, rng
        overlap = (seen @ seen.T).tolil()
        overlap.setdiag(0)
        self.similar = [np.array(cols)[np.argsort(-np.array(vals))] for cols, vals in zip(overlap.rows, overlap.data)]

    def taken_nearby(self, user, k):
        taken = set(self.seen[user].indices.tolist())
        for other in self.similar[user][:k]:
            taken.update(self.seen[other].indices.tolist())
        return taken

    def draw(self, users, k):
        out = np.empty(len(users), np.int64)
        for at, user in enumerate(users):
            taken = self.taken_nearby(user, k)
            item = self.rng.integers(self.seen.shape[1])
            while item in taken:
                item = self.rng.integers(self.seen.shape[1])
            out[at] = item
        return out


class Factors(torch.nn.Module):
    def __init__(self, users, items, dim=48):
        super().__init__()
        self.user = torch.nn.Embedding(users, dim, sparse=True)
        self.item = torch.nn.Embedding(items, dim, sparse=True)
        self.tower = torch.nn.Sequential(torch.nn.Linear(dim, 256), torch.nn.Tanh(), torch.nn.Linear(256, dim))
        for e in (self.user, self.item):
            torch.nn.init.normal_(e.weight, std=0.1)

    def forward(self, u, i):
        return (self.tower(self.user(u)) * self.item(i)).sum(1)


@torch.no_grad()
def auc(model, seen, rng, n=200):
    users = rng.integers(0, seen.shape[0], n)
    hits = 0.0
    for u in users:
        liked = seen[u].indices
        scores = model.item.weight @ model.tower(model.user.weight[u])
        hits += (scores[liked].mean() > scores).float().mean().item()
    return hits / n


class Trainer:
    def __init__(self, batch=64):
        self.rng = np.random.default_rng(8)
        self.seen = interactions(self.rng)
        self.pairs = np.column_stack(self.seen.nonzero())
        self.sampler = NegativeSampler(self.seen, self.rng)
        self.model = Factors(*self.seen.shape)
        self.opt = torch.optim.SGD(
            [{"params": self.model.tower.parameters(), "lr": 0.05}, {"params": [self.model.user.weight, self.model.item.weight]}], lr=3.0
        )
        self.batch = batch

    def train_batch(self):
        users, items = self.pairs[self.rng.integers(0, len(self.pairs), self.batch)].T
        others = self.sampler.draw(users, 2 + round(3.5 * more()))
        u = torch.as_tensor(users, dtype=torch.long)
        gap = self.model(u, torch.as_tensor(items, dtype=torch.long)) - self.model(u, torch.from_numpy(others))
        loss = torch.nn.functional.softplus(-gap).mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return loss.item()

    def fit(self):
        while True:
            losses = []
            for _ in range(25):
                losses.append(self.train_batch())
                unit_done()
            logger.info("loss=%.4f", np.mean(losses))
            if self.rng.random() < 0.25:
                logger.info("auc=%.4f", auc(self.model, self.seen, self.rng))


if __name__ == "__main__":
    Trainer().fit()
