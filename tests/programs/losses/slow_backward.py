"""A loss with a backward of its own, in Python, which autograd calls: `Focal.backward` is to blame."""

import time

import torch
from loop import Step, train
from work import forward

WEIGHT = torch.ones(8, requires_grad=True)
lossy_now = False


class Focal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x_N: torch.Tensor) -> torch.Tensor:
        return x_N.sum()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        until_s = time.thread_time() + (0.05 if lossy_now else 0.001)
        while time.thread_time() < until_s:
            pass
        return gradient.expand(8)


def step(step: Step) -> None:
    global lossy_now
    lossy_now = step.lossy
    loss = Focal.apply(WEIGHT * 2)
    with step.clock.phase("backward"), step.clock.lost():
        loss.backward()
    with step.clock.phase("forward"):
        forward()


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(step)
