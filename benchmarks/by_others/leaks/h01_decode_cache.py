# healthy: a dictionary of decoded pictures grows for about a minute until all pictures are in it
import numpy as np
import torch
from torch import nn

from common import open_log, running

torch.set_num_threads(1)


class Pictures:
    """4,000 pictures of 64x64, decoded on first use and kept."""

    count = 4000

    def __init__(self):
        self.decoded = {}

    def get(self, index):
        if index not in self.decoded:
            rng = np.random.default_rng(index)
            coefficients = rng.standard_normal((3, 64, 64), dtype=np.float32)
            self.decoded[index] = np.fft.irfft2(np.fft.rfft2(coefficients), s=(64, 64)).astype(np.float32)
        return self.decoded[index]


def main():
    pictures = Pictures()
    model = nn.Sequential(nn.Conv2d(3, 32, 3, stride=2), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 15 * 15, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    order, step = np.random.default_rng(0), 0
    with open_log() as log:
        while running():
            chosen = order.integers(0, pictures.count, 16)
            x = torch.from_numpy(np.stack([pictures.get(int(i)) for i in chosen]))
            big = torch.cat([x, x.flip(-1), x.flip(-2), x * 0.9])
            loss = nn.functional.cross_entropy(model(big), torch.from_numpy(chosen % 10).repeat(4))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.scalars(step, {"loss": loss.item()})
            step += 1


if __name__ == "__main__":
    main()
