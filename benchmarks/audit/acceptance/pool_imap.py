import math
import multiprocessing as mp
import random

import torch
from pace import more, unit_done

N_WORKERS = 2


def grow_molecule(seed):
    rnd = random.Random(seed)
    n = 10 + int(6 * more())
    return [(rnd.gauss(0, 2), rnd.gauss(0, 2), rnd.gauss(0, 2), rnd.choice("CNOH")) for _ in range(n)]


def angle_histogram(atoms, bins=24):
    h = [0.0] * bins
    for i, a in enumerate(atoms):
        for j, b in enumerate(atoms):
            if j == i:
                continue
            for k in range(j + 1, len(atoms)):
                if k == i:
                    continue
                c = atoms[k]
                u = [b[t] - a[t] for t in range(3)]
                v = [c[t] - a[t] for t in range(3)]
                cos = sum(p * q for p, q in zip(u, v)) / (math.hypot(*u) * math.hypot(*v) + 1e-9)
                h[min(bins - 1, int((cos + 1) / 2 * bins))] += 1
    s = sum(h) or 1
    return [x / s for x in h]


def composition(atoms):
    return [sum(a[3] == e for a in atoms) / len(atoms) for e in "CNOH"]


def featurize(seed):
    atoms = grow_molecule(seed)
    return angle_histogram(atoms) + composition(atoms)


class Throttle:
    """imap takes its input as fast as it can: hand it out piece by piece instead"""

    def __init__(self, pool, ahead):
        self.pool, self.ahead, self.seed = pool, ahead, 0
        self.pending = []

    def get(self, bs):
        while len(self.pending) < self.ahead:
            self.pending.append(self.pool.map_async(featurize, range(self.seed, self.seed + bs)))
            self.seed += bs
        return torch.tensor(self.pending.pop(0).get())


def main():
    mp.set_start_method("fork")
    with mp.Pool(N_WORKERS) as pool:
        src = Throttle(pool, 2)
        model = torch.nn.Sequential(torch.nn.Linear(28, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
        opt = torch.optim.Adam(model.parameters())
        it = 0
        while True:
            x = src.get(4)
            loss = (model(x).squeeze(1) - x[:, :24].max(1).values).abs().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            it += 1
            unit_done()
            if it % 10 == 0:
                print(f"it={it} mae={loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
