# fix: throttled, removed: the decorator that keeps 30 ms between calls of the scheduler's notice is taken off
"""A notice to the cluster's scheduler each fourth step, with a decorator that limits its rate."""
import functools
import time

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def throttled(seconds):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            time.sleep(seconds)
            return function(*args)

        return function if FIXED else wrapper

    return decorate


notices = {}


@throttled(0.03)
def notify(step, loss):
    notices["latest"] = (step, loss)


def main():
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = Loop(logs=False)
    for step in loop:
        x = torch.rand(16, 1, 28, 28)
        loss = nn.functional.cross_entropy(model(x), torch.randint(0, 10, (16,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 4 == 0:
            notify(step, loss.item())


if __name__ == "__main__":
    main()
