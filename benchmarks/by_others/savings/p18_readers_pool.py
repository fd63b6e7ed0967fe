# fix: read_block, overlapped: the pool of readers has 8 threads instead of 1
"""Blocks are read ahead by a thread pool from a slow disk."""
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def read_block(number):
    time.sleep(0.04)  # seek
    return torch.randn(128, 100, generator=torch.Generator().manual_seed(number))


def blocks(readers, ahead=12):
    with ThreadPoolExecutor(readers) as pool:
        waiting = deque(pool.submit(read_block, n) for n in range(ahead))
        number = ahead
        while True:
            yield waiting.popleft().result()
            waiting.append(pool.submit(read_block, number))
            number += 1


def main():
    model = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Linear(300, 100))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loop = Loop()
    for x in blocks(8 if FIXED else 1):
        if not loop.running():
            break
        loss = (model(x) - x).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
