# fix: save_pictures, overlapped: pictures are written by a pool of one thread
"""A generator whose pictures are saved every 8 steps to a slow folder."""
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def save_pictures(folder, step, pictures):
    np.save(os.path.join(folder, f"{step % 4}.npy"), pictures)
    time.sleep(0.1)  # the folder is remote


def main():
    generator = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 1024), nn.Sigmoid())
    judge = nn.Sequential(nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 1))
    optimizer = torch.optim.Adam([*generator.parameters(), *judge.parameters()], lr=1e-4)
    loop = Loop()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        while loop.running():
            pictures = generator(torch.randn(96, 32))
            loss = judge(pictures).mean().pow(2) + (pictures.mean() - 0.3).pow(2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loop.steps % 8 == 0:
                arguments = (folder, loop.steps, pictures.detach()[:16].numpy().copy())
                pool.submit(save_pictures, *arguments) if FIXED else save_pictures(*arguments)
            loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
