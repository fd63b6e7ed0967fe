# fix: evaluate, removed: the evaluation takes 4 of the 40 batches
"""An evaluation with exact ranks after each 30 steps."""
import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def evaluate(model, users, batches):
    ranks = []
    with torch.no_grad():
        for number in range(batches):
            scores = model(users[number * 64 : number * 64 + 64])
            ranks += (scores.argsort(1, descending=True).argsort(1)[:, 0]).tolist()
    return sum(1 / (1 + rank) for rank in ranks) / len(ranks)


def main():
    users = torch.randn(64 * 40, 64)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 1500))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    while loop.running():
        x = torch.randn(64, 64)
        loss = nn.functional.cross_entropy(model(x), torch.randint(0, 1500, (64,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values = {"loss": loss.item()}
        if loop.steps % 30 == 29:
            values["mrr"] = evaluate(model, users, 4 if FIXED else 40)
        loop.done(**values)


if __name__ == "__main__":
    main()
