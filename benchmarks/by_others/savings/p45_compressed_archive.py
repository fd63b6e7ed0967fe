# fix: unpack, removed: the arrays are stored uncompressed in memory instead of as zlib data
"""Volumes kept compressed in memory."""
import zlib

import numpy as np
import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)
rng = np.random.default_rng(0)
VOLUMES = [(rng.random((48, 48, 48)) * 20).astype(np.int16) for _ in range(30)]
STORED = VOLUMES if FIXED else [zlib.compress(v.tobytes(), 6) for v in VOLUMES]


def unpack(stored):
    if FIXED:
        return stored
    return np.frombuffer(zlib.decompress(stored), np.int16).reshape(48, 48, 48)


def main():
    model = nn.Sequential(nn.Conv3d(1, 8, 5, 3), nn.ReLU(), nn.Conv3d(8, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 343, 2))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop(logs=False)
    for _ in loop:
        chosen = rng.integers(0, 30, 4)
        x = torch.from_numpy(np.stack([unpack(STORED[i]) for i in chosen]).astype(np.float32))[:, None] / 20
        loss = nn.functional.cross_entropy(model(x), torch.from_numpy(chosen % 2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
