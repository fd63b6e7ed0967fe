# fix: Lease.renew, removed: the lease on the machine is renewed once a second instead of with each step
"""A cluster wants the training to hold a lease file."""
import os
import tempfile
import time

import torch
from torch import nn

from common import FIXED, Loop


class Lease:
    def __init__(self, folder):
        self.path = os.path.join(folder, "lease")
        self.latest = 0.0

    def renew(self):
        now = time.monotonic()
        if FIXED and now - self.latest < 1.0:
            return
        with open(self.path + ".new", "w") as file:
            file.write(str(time.time()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.path + ".new", self.path)
        time.sleep(0.005)  # the server confirms
        self.latest = now


def main():
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(30, 200), nn.Tanh(), nn.Linear(200, 30))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = Loop(logs=False)
    with tempfile.TemporaryDirectory() as folder:
        lease = Lease(folder)
        for _ in loop:
            lease.renew()
            x = torch.randn(800, 30)
            loss = (model(x) - x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
