# fix: describe_gradients, removed: gradients are described every 200 steps instead of every step
"""Standard logging to a file, with the gradients of all parameters."""
import logging
import os
import tempfile

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)
logger = logging.getLogger("training")


def describe_gradients(model, step):
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        logger.info(
            "step %d %s mean %.3e std %.3e max %.3e q99 %.3e", step, name, gradient.mean(), gradient.std(),
            gradient.abs().max(), gradient.flatten()[:20000].abs().quantile(0.99),
        )


def main():
    model = nn.Sequential(*[layer for _ in range(5) for layer in (nn.Linear(160, 160), nn.LayerNorm(160), nn.ReLU())])
    optimizer = torch.optim.Adam(model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        logging.basicConfig(filename=os.path.join(folder, "train.log"), level=logging.INFO)
        loop = Loop()
        while loop.running():
            x = torch.randn(96, 160)
            loss = (model(x) - x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            if not FIXED or loop.steps % 200 == 0:
                describe_gradients(model, loop.steps)
            optimizer.step()
            loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
