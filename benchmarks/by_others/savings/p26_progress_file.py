# fix: Report.write, removed: the report is written every 50 steps instead of every step
"""Rewrites a status page for colleagues after each step."""
import html
import os
import tempfile

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Report:
    def __init__(self, folder, every):
        self.path = os.path.join(folder, "status.html")
        self.every = every
        self.losses = []

    def update(self, step, loss):
        self.losses = [*self.losses[-1999:], loss]
        if step % self.every == 0:
            self.write()

    def write(self):
        rows = "".join(f"<tr><td>{n}</td><td>{html.escape(f'{loss:.5f}')}</td></tr>" for n, loss in enumerate(self.losses))
        with open(self.path, "w") as file:
            file.write(f"<table>{rows}</table>")


def main():
    model = nn.Sequential(nn.Linear(60, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 1))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    with tempfile.TemporaryDirectory() as folder:
        report = Report(folder, 50 if FIXED else 1)
        report.losses = [1.0] * 2000  # of an earlier run
        while loop.running():
            x = torch.randn(200, 60)
            loss = (model(x).squeeze(1) - x.prod(1).tanh()).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            report.update(loop.steps, loss.item())
            loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
