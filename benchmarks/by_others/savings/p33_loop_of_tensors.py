# fix: pair_loss, removed: all pairs are compared in one matrix instead of one tensor operation for each pair
"""Contrastive training whose loss goes over pairs."""
import torch
from torch import nn

from common import FIXED, Loop


def pair_loss(left, right, margin=0.2):
    if FIXED:
        scores = left @ right.T
        gaps = (margin + scores - scores.diagonal()[:, None]).relu()
        return (gaps.sum() - gaps.diagonal().sum()) / len(left)
    total = 0.0
    for i in range(len(left)):
        own = left[i] @ right[i]
        for j in range(len(right)):
            if i != j:
                total = total + (margin + left[i] @ right[j] - own).relu()
    return total / len(left)


def main():
    torch.set_num_threads(1)
    encoders = nn.ModuleList([nn.Sequential(nn.Linear(200, 400), nn.ReLU(), nn.Linear(400, 64)) for _ in range(2)])
    optimizer = torch.optim.Adam(encoders.parameters())
    loop = Loop()
    while loop.running():
        x = torch.randn(24, 200)
        left = nn.functional.normalize(encoders[0](x), dim=1)
        right = nn.functional.normalize(encoders[1](x + 0.1 * torch.randn_like(x)), dim=1)
        loss = pair_loss(left, right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
