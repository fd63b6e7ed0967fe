"""ResNet-50 for small images: as in arXiv 1512.03385, but it begins with a 3x3 convolution that keeps the size.

Shapes: B batch, C channels, H W height and width, K classes.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4  # channels of a block's output to those of its 3x3 convolution


class Shape(NamedTuple):
    blocks: tuple[int, ...]  # of each stage; a stage halves the image (but the first) and doubles the channels
    width: int  # channels of the first stage's 3x3 convolutions
    classes: int
    momentum: float  # of the norms' running statistics: a run of few steps wants more than the usual 0.1


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            convolution(inputs, width, 1, 1, momentum),
            nn.ReLU(inplace=True),
            convolution(width, width, 3, stride, momentum),
            nn.ReLU(inplace=True),
            convolution(width, EXPANSION * width, 1, 1, momentum),
        )
        nn.init.zeros_(self.convolutions[-1][-1].weight)  # each block starts as the identity
        alike = stride == 1 and inputs == EXPANSION * width
        self.shortcut = nn.Identity() if alike else convolution(inputs, EXPANSION * width, 1, stride, momentum)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.convolutions(x_BCHW) + self.shortcut(x_BCHW), inplace=True)


class ResNet(nn.Module):
    """`model(images_BCHW, classes_B) -> loss`: grey images of uint8; the mean cross entropy in nats per image."""

    recomputed: ClassVar = Bottleneck

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        layers = [convolution(1, shape.width, 3, 1, shape.momentum), nn.ReLU(inplace=True)]
        inputs = shape.width
        for stage, blocks in enumerate(shape.blocks):
            for block in range(blocks):
                width, stride = shape.width * 2**stage, 2 if stage and not block else 1
                layers.append(Bottleneck(inputs, width, stride, shape.momentum))
                inputs = EXPANSION * width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, shape.classes)
        self.to(memory_format=torch.channels_last)  # what convolutions in half precision want

    def forward(self, images_BCHW: Tensor, classes_B: Tensor) -> Tensor:
        x_BCHW = (images_BCHW.float() / 255).contiguous(memory_format=torch.channels_last)
        logits_BK = self.head(self.layers(x_BCHW).mean((-2, -1)))
        return F.cross_entropy(logits_BK.float(), classes_B)


def convolution(inputs: int, outputs: int, kernel: int, stride: int, momentum: float) -> nn.Sequential:
    """With its norm, and an output of the input's size over the stride."""
    weights = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(weights.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(weights, nn.BatchNorm2d(outputs, momentum=momentum))
