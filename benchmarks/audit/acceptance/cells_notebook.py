# %% [markdown]
# # Embedding points so that neighbours stay neighbours

# %%
import numpy as np
import torch
from pace import more, unit_done

torch.manual_seed(0)
rng = np.random.RandomState(0)
X = rng.randn(400, 10)
X[:200] += 3

# %%
emb = torch.nn.Embedding(400, 2)
head = torch.nn.Sequential(torch.nn.Linear(2, 400), torch.nn.ReLU(), torch.nn.Linear(400, 400), torch.nn.ReLU(), torch.nn.Linear(400, 10))
opt = torch.optim.Adam([*emb.parameters(), *head.parameters()], lr=1e-2)
losses = []


# %%
def neighboursOf(i, k):
    d = []
    for j in range(len(X)):
        diff = X[i] - X[j]
        d.append((float(diff @ diff), j))
    return [j for _, j in sorted(d)[1 : k + 1]]


def pairsFor(ids, k=5):
    return [(i, j) for i in ids for j in neighboursOf(i, k)]


# %%
while True:
    anchors = rng.randint(0, 400, 2 + int(18 * more()))
    pairs = torch.tensor(pairsFor(anchors)[:60])
    a, b = emb(pairs[:, 0]), emb(pairs[:, 1])
    rec = head(emb.weight[:128]) - torch.tensor(X[:128], dtype=torch.float)
    loss = (a - b).pow(2).sum(1).mean() + rec.pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    losses.append(loss.item())
    unit_done()
    if len(losses) % 50 == 0:
        print(f"{np.mean(losses[-50:]):.4f}", flush=True)
