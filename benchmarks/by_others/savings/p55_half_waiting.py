# fix: decode, removed: decoded samples are kept in a cache of the data set; the wait for the store stays
"""A wait and a decoding for each sample in the training process."""
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop

cache = {}


def decode(number):
    if FIXED and number in cache:
        return cache[number]
    raw = np.random.default_rng(number).integers(0, 255, 256 * 40).astype(np.uint8)
    value, values = 0, []
    for byte in raw.tolist():
        value = (value * 5 + byte) & 255
        values.append(value)
    cache[number] = torch.tensor(values, dtype=torch.float32).view(40, 256).mean(0) / 255
    return cache[number]



class Samples(Dataset):
    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        time.sleep(0.0005)
        return decode(index % 64)


def main():
    torch.set_num_threads(1)
    loader = DataLoader(Samples(), batch_size=16)
    model = nn.Sequential(nn.Linear(256, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 256))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loop = Loop(logs=False)
    for x in loader:
        if not loop.running():
            break
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done()


if __name__ == "__main__":
    main()
