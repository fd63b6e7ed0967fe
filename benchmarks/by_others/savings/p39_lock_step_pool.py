# fix: augment, process: pool of 2 processes with batches ahead instead of augmenting in the training process
"""Elastic distortion in numpy."""
from collections import deque
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def augment(seed, count=16, side=48):
    rng = np.random.default_rng(seed)
    pictures = rng.random((count, side, side), dtype=np.float32)
    result = np.empty_like(pictures)
    for number, picture in enumerate(pictures):
        shift = rng.standard_normal((2, side, side))
        for _ in range(12):
            shift = (shift + np.roll(shift, 1, 1) + np.roll(shift, -1, 1) + np.roll(shift, 1, 2) + np.roll(shift, -1, 2)) / 5
        rows, columns = np.mgrid[:side, :side] + shift * 8
        result[number] = picture[rows.astype(int) % side, columns.astype(int) % side]
    return result


def batches():
    if not FIXED:
        seed = 0
        while True:
            yield augment(seed)
            seed += 1
    pool = ProcessPoolExecutor(2)
    waiting = deque(pool.submit(augment, seed) for seed in range(6))
    seed = 6
    try:
        while True:
            yield waiting.popleft().result()
            waiting.append(pool.submit(augment, seed))
            seed += 1
    finally:
        pool.shutdown(cancel_futures=True)


def main():
    stream = batches()
    model = nn.Sequential(nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 81, 8))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    while loop.running():
        x = torch.from_numpy(next(stream))[:, None]
        loss = model(x).logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())
    stream.close()


if __name__ == "__main__":
    main()
