"""Tells kinds of time series apart. What is slow is behind properties and `__getitem__`; it begins slow, as after a cold start."""

import csv
import sys
from pathlib import Path

import torch
from pace import more, unit_done
from samples import Config, SeriesSet
from torch import nn
from torch.utils.data import DataLoader

CONFIG = Config({"data": {"length": 120}, "train": {"batch": 48, "rate": 1e-3}})


def lags_now():
    return 4 + int(70 * more())


def build_model():
    return nn.Sequential(nn.Linear(8, 640), nn.ELU(), nn.Linear(640, 640), nn.ELU(), nn.Linear(640, 3))


def fit(model, loader, writer, flush):
    optimizer = torch.optim.NAdam(model.parameters(), lr=CONFIG.train.rate)
    for step, (inputs, kinds) in enumerate(loader):
        loss = nn.functional.cross_entropy(model(inputs), kinds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        writer.writerow([step, f"{loss.item():.5f}"])
        flush()
        unit_done()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(SeriesSet(CONFIG, lags_now), batch_size=CONFIG.train.batch, num_workers=0)
    with open(folder / "loss.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss"])
        fit(build_model(), loader, writer, file.flush)


if __name__ == "__main__":
    main()
