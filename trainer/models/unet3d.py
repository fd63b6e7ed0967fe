"""A 3D U-Net (arXiv 1606.06650) with instance norms: the tissue of each voxel of a volume.

Shapes: B batch, C channels, K classes, X Y Z voxels.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMOOTH = 1.0  # voxels; what a class that is not in the patch does to the dice loss


class Shape(NamedTuple):
    patch: int  # voxels of a side; divisible by 2 ** (levels - 1)
    channels: int  # at full size; each level below doubles them and halves the sides
    levels: int
    classes: int


class Down(nn.Module):
    """One level on the way down, from the size of the level above."""

    def __init__(self, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        self.halve = nn.MaxPool3d(2) if halve else nn.Identity()
        self.convolutions = convolutions(inputs, outputs)

    def forward(self, x_BCXYZ: Tensor) -> Tensor:
        return self.convolutions(self.halve(x_BCXYZ))


class Up(nn.Module):
    """One level on the way up: the upsampled output from below, beside the level's output on the way down."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.grow = nn.ConvTranspose3d(2 * width, width, 2, stride=2)
        self.convolutions = convolutions(2 * width, width)

    def forward(self, x_BCXYZ: Tensor, passed_on_BCXYZ: Tensor) -> Tensor:
        return self.convolutions(torch.cat((passed_on_BCXYZ, self.grow(x_BCXYZ)), 1))


class UNet3d(nn.Module):
    """`model(volumes_BCXYZ, classes_BXYZ) -> loss`, both of uint8: cross entropy in nats per voxel plus the dice loss."""

    recomputed: ClassVar = (Down, Up)

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = [shape.channels * 2**level for level in range(shape.levels)]
        self.down = nn.ModuleList(
            Down(inputs, width, halve=inputs > 1) for inputs, width in zip([1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(Up(width) for width in reversed(widths[:-1]))
        self.head = nn.Conv3d(shape.channels, shape.classes, 1)

    def forward(self, volumes_BCXYZ: Tensor, classes_BXYZ: Tensor) -> Tensor:
        levels = [volumes_BCXYZ.float() / 255]
        for down in self.down:
            levels.append(down(levels[-1]))
        x_BCXYZ = levels.pop()
        for up in self.up:
            x_BCXYZ = up(x_BCXYZ, levels.pop())
        return segmentation_loss(self.head(x_BCXYZ).float(), classes_BXYZ.long())


def convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two, with their norms, at one size."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv3d(channels, outputs, 3, padding=1, bias=False),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def segmentation_loss(logits_BKXYZ: Tensor, classes_BXYZ: Tensor) -> Tensor:
    return F.cross_entropy(logits_BKXYZ, classes_BXYZ) + dice_loss(logits_BKXYZ, classes_BXYZ)


def dice_loss(logits_BKXYZ: Tensor, classes_BXYZ: Tensor) -> Tensor:
    """One minus the mean overlap of the classes (arXiv 1606.04797): rare ones count as much as common ones."""
    share_BKXYZ = logits_BKXYZ.softmax(1)
    truth_BKXYZ = F.one_hot(classes_BXYZ, logits_BKXYZ.shape[1]).movedim(-1, 1).to(share_BKXYZ.dtype)
    common_BK = (share_BKXYZ * truth_BKXYZ).sum((-3, -2, -1))
    both_BK = (share_BKXYZ + truth_BKXYZ).sum((-3, -2, -1))
    return 1 - ((2 * common_BK + SMOOTH) / (both_BK + SMOOTH)).mean()
