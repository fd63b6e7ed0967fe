# fix: read_manifest, overlapped: the manifest of the next chunk is read by a thread while the present chunk is trained
"""Chunks of 20 batches, each with a manifest on a slow share."""
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def read_manifest(number):
    time.sleep(0.25)
    return {"chunk": number, "offset": number / 100.0}


def chunks():
    number = 0
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(read_manifest, 0) if FIXED else None
        while True:
            if FIXED:
                manifest = following.result()
                following = pool.submit(read_manifest, number + 1)
            else:
                manifest = read_manifest(number)
            yield manifest
            number += 1


def batches():
    for manifest in chunks():
        for _ in range(20):
            yield torch.randn(256, 200) + manifest["offset"]


def main():
    model = nn.Sequential(nn.Linear(200, 600), nn.ReLU(), nn.Linear(600, 200))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    for x in batches():
        if not loop.running():
            break
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
