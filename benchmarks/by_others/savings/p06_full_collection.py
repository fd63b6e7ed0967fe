# fix: Trainer.free_memory, removed: gc.collect() is no longer called after every step
"""A trainer whose data set holds many small Python objects."""
import gc

import torch
from torch import nn

from common import FIXED, Loop


class Trainer:
    def __init__(self):
        torch.set_num_threads(1)
        self.graph = {n: [(n * k) % 9973 for k in range(6)] for n in range(120_000)}
        self.nodes = [{"id": n, "neighbours": tuple(self.graph[n])} for n in range(60_000)]
        self.table = nn.Embedding(9973, 64)
        self.head = nn.Linear(64, 64)
        self.optimizer = torch.optim.SGD([*self.table.parameters(), *self.head.parameters()], lr=0.1)

    def batch(self, size=512):
        picks = torch.randint(0, len(self.nodes), (size,)).tolist()
        return torch.tensor([self.nodes[i]["neighbours"] for i in picks])

    def free_memory(self):
        if not FIXED:
            gc.collect()

    def step(self):
        around = self.head(self.table(self.batch())).mean(1)
        loss = (around - around.roll(1, 0)).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.free_memory()
        return loss.item()


def main():
    trainer = Trainer()
    loop = Loop(logs=False)
    while loop.running():
        trainer.step()
        loop.done()


if __name__ == "__main__":
    main()
