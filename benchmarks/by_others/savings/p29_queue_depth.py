# fix: Producer.run, overlapped: four producers fill the queue instead of one
"""A producer thread fetches batches from an archive and puts them into a queue."""
import queue
import threading
import time

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Producer(threading.Thread):
    def __init__(self, target):
        super().__init__(daemon=True)
        self.target = target

    def run(self):
        while True:
            time.sleep(0.025)  # archive
            batch = torch.randn(64, 256)
            self.target.put(batch / batch.norm(dim=1, keepdim=True))


def main():
    ready = queue.Queue(8)
    for _ in range(4 if FIXED else 1):
        Producer(ready).start()
    model = nn.Sequential(nn.Linear(256, 700), nn.ReLU(), nn.Linear(700, 700), nn.ReLU(), nn.Linear(700, 256))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    while loop.running():
        x = ready.get()
        loss = (model(x) - x).pow(2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
