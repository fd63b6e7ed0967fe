"""toy U-Net with border weights, HF accelerate"""

import argparse

import numpy as np
import torch
from accelerate import Accelerator
from pace import more, unit_done
from scipy import ndimage
from torch import nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm.auto import tqdm


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("out", nargs="?")
    p.add_argument("--bs", type=int, default=4)
    p.add_argument("--lr", type=float, default=1e-3)
    return p.parse_args()


def draw_cells(rng, n_cells, size=48):
    lab = np.zeros((size, size), int)
    yy, xx = np.mgrid[:size, :size]
    for k in range(1, n_cells + 1):
        y, x = rng.integers(3, size - 3, 2)
        lab[(yy - y) ** 2 + (xx - x) ** 2 < rng.integers(4, 14)] = k
    return lab


def border_weights(lab):
    # distance to the nearest and second nearest cell, one transform per cell (as in the paper)
    ids = [i for i in np.unique(lab) if i > 0]
    dist = np.stack([ndimage.distance_transform_edt(lab != i) for i in ids])
    dist.sort(axis=0)
    if len(dist) == 1:
        return np.ones(lab.shape, np.float32)
    return (1 + 5 * np.exp(-((dist[0] + dist[1]) ** 2) / 50)).astype(np.float32)


class CellData(IterableDataset):
    def __iter__(self):
        rng = np.random.default_rng(0)
        while True:
            lab = draw_cells(rng, 2 + int(18 * more()))
            img = (lab > 0) + 0.2 * rng.standard_normal(lab.shape)
            yield img.astype(np.float32), (lab > 0).astype(np.float32), border_weights(lab)


class MiniUNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.a = nn.Conv2d(1, c, 3, padding=1)
        self.b = nn.Conv2d(c, 2 * c, 3, padding=1, stride=2)
        self.c = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.d = nn.Conv2d(2 * c, 1, 1)

    def forward(self, x):
        a = self.a(x).relu()
        return self.d(torch.cat([a, self.c(self.b(a).relu()).relu()], 1))


def run(args):
    acc = Accelerator(cpu=True)
    net = MiniUNet()
    opt = torch.optim.AdamW(net.parameters(), lr=args.lr)
    dl = DataLoader(CellData(), batch_size=args.bs)
    net, opt, dl = acc.prepare(net, opt, dl)
    bar = tqdm(total=1_000_000, desc="train", mininterval=0.3)
    for img, mask, w in dl:
        loss = (nn.functional.binary_cross_entropy_with_logits(net(img[:, None])[:, 0], mask, reduction="none") * w).mean()
        acc.backward(loss)
        opt.step()
        opt.zero_grad()
        bar.update(1)
        bar.set_postfix(loss=f"{loss.item():.3f}")
        unit_done()


if __name__ == "__main__":
    run(parse())
