"""A regression whose log mixes everything: stamps, colours, tables, warnings, progress."""

import logging
import sys
import warnings

import torch
from pace import more, unit_done
from report_table import format_table
from torch import nn

GREEN, YELLOW, END = "\033[32m", "\033[33m", "\033[0m"
EPOCH = 120


def set_up_logging():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d | %(levelname)-8s | %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


class Regression:
    def __init__(self):
        self.model = nn.Sequential(nn.Linear(40, 320), nn.SiLU(), nn.Linear(320, 320), nn.SiLU(), nn.Linear(320, 3))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3)
        self.truth = torch.randn(40, 3)
        self.best = float("inf")

    def step(self):
        x = torch.randn(128, 40)
        loss = (self.model(x) - (x @ self.truth).tanh()).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def report(self, epoch, it, loss):
        logging.info("%s[epoch %d | it %d/%d]%s loss=%.5f", GREEN, epoch, it, EPOCH, END, loss)
        if loss < self.best:
            self.best = loss
        elif loss > 2 * self.best:
            warnings.warn(f"loss {loss:.4f} is twice the best", stacklevel=1)
        rows = 1 + int(40 * more())
        for line in format_table(self.model, rows)[: 2 + rows]:
            print("   ", line)


def main():
    set_up_logging()
    torch.manual_seed(16)
    job = Regression()
    logging.info("%d parameters", sum(p.numel() for p in job.model.parameters()))
    for epoch in range(10**6):
        logging.info("%s--- epoch %d%s", YELLOW, epoch, END)
        for it in range(EPOCH):
            loss = job.step()
            unit_done()
            if it % 2 == 0:
                job.report(epoch, it, loss)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
