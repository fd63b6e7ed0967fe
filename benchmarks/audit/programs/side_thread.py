"""Trains in many small operations, and has a thread beside it that watches the activations."""

import torch
from pace import more, unit_done
from torch import nn
from watcher import Watcher

WIDTH, DEPTH = 64, 24


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + torch.tanh(self.linear(self.norm(x)))


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, 1)
        self.seen = None

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        self.seen = x.detach()
        return self.head(x).squeeze(-1)


def main():
    torch.set_num_threads(1)
    torch.manual_seed(25)
    model = Stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    watcher = Watcher()
    count = 0
    while True:
        x = torch.randn(16, WIDTH)
        loss = (model(x) - x.sum(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        quantiles = int(110 * more())
        watcher.offer(model.seen.flatten().tolist(), 1 + quantiles)
        count += 1
        unit_done()
        if count % 25 == 0:
            print(f"loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
