# fix: Board.publish, removed: the writer thread copies under the lock and writes after it, so training no longer waits for the lock
"""Weights' norms are published to a board that a thread writes to a slow share."""
import threading
import time

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Board:
    def __init__(self):
        self.lock = threading.Lock()
        self.values = {}
        threading.Thread(target=self._write_all, daemon=True).start()

    def publish(self, name, value):
        with self.lock:
            self.values[name] = value

    def _write(self, values):
        time.sleep(0.03)  # the share answers
        return len(values)

    def _write_all(self):
        while True:
            if FIXED:
                with self.lock:
                    values = dict(self.values)
                self._write(values)
            else:
                with self.lock:
                    self._write(self.values)
            time.sleep(0.05)


def main():
    model = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 128))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    board = Board()
    loop = Loop()
    while loop.running():
        x = torch.randn(512, 128)
        loss = (model(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        board.publish("norm", float(model[0].weight.detach().norm()))
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
