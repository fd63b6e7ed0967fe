# leak: _work self.delivered.append((time.time(), message))
"""Weights' histograms are sent to an experiment server (here: a file) by a background thread."""
import json
import os
import queue
import tempfile
import threading
import time

import torch
from torch import nn

from common import running

torch.set_num_threads(1)


class Uploader(threading.Thread):
    def __init__(self, folder):
        super().__init__(daemon=True, name="uploader")
        self.pending = queue.Queue(maxsize=64)
        self.delivered = []
        self.path = os.path.join(folder, "latest.json")

    def send(self, record):
        self.pending.put(record)

    def _work(self, record):
        message = json.dumps(record)
        with open(self.path, "w") as file:
            file.write(message)
        self.delivered.append((time.time(), message))

    def run(self):
        while True:
            self._work(self.pending.get())


def histograms(model, bins=400):
    result = {}
    for name, weight in model.named_parameters():
        counts = torch.histc(weight.detach(), bins=bins)
        result[name] = {"low": weight.min().item(), "high": weight.max().item(), "counts": counts.tolist()}
    return result


def main():
    model = nn.Sequential(
        nn.Linear(100, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 2)
    )
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        uploader = Uploader(folder)
        uploader.start()
        step = 0
        while running():
            x = torch.randn(512, 100)
            loss = nn.functional.cross_entropy(model(x), (x.sum(1) > 0).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            uploader.send({"step": step, "loss": loss.item(), "weights": histograms(model)})
            step += 1


if __name__ == "__main__":
    main()
