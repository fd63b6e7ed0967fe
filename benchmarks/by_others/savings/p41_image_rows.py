# fix: unpack, removed: bits are unpacked with numpy.unpackbits instead of a loop over bytes
"""Black and white pictures stored as bits, in two files: this one trains."""
import torch
from torch import nn

from common import Loop
from bit_archive import Archive

torch.set_num_threads(1)


def main():
    archive = Archive()
    model = nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 49, 10))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    while loop.running():
        x, y = archive.sample(24)
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
