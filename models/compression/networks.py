"""Plain convolutional students and the ResNet teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = (64, 128, 256, 512)  # channels of a network of width 1
CHANNELS_OF = 16  # channels are a multiple of it: what vector units take at once
LARGE_SIDE = 128  # from this side on the stem is ImageNet's: 7x7 with stride 2, and pooling
EXPANSION = 4


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, width, 3, stride), conv(width, width, 3)
        self.shortcut = nn.Identity() if stride == 1 and inputs == width else conv(inputs, width, 1, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x_BCHW))) + self.shortcut(x_BCHW))


class WideBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut: ResNet-50's bottleneck."""

    expansion = EXPANSION

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, width, 1), conv(width, width, 3, stride)
        self.third = conv(width, EXPANSION * width, 1)
        self.shortcut = (
            nn.Identity() if stride == 1 and inputs == EXPANSION * width else conv(inputs, EXPANSION * width, 1, stride)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner_BCHW = F.relu(self.second(F.relu(self.first(x_BCHW))))
        return F.relu(self.third(inner_BCHW) + self.shortcut(x_BCHW))


class ResidualNet(nn.Module):
    """`net(images_BCHW) -> logits_BK`; each stage but the first halves the image."""

    def __init__(
        self,
        block: Callable[[int, int, int], nn.Module],
        expansion: int,
        blocks: tuple[int, ...],
        width: float,
        channels: int,
        side: int,
        classes: int,
    ) -> None:
        super().__init__()
        stages = [max(CHANNELS_OF, round(stage * width / CHANNELS_OF) * CHANNELS_OF) for stage in STAGES]
        large = side >= LARGE_SIDE
        self.stem = conv(channels, stages[0], 7 if large else 3, 2)
        self.pool: nn.Module = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        layers: list[nn.Module] = []
        inputs = stages[0]
        for place, (stage, count) in enumerate(zip(stages, blocks, strict=True)):
            for number in range(count):
                layers.append(block(inputs, stage, 2 if place and not number else 1))
                inputs = stage * expansion
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        x_BCHW = self.layers(self.pool(F.relu(self.stem(images_BCHW))))
        return self.head(x_BCHW.mean((2, 3)))


class NetShape(NamedTuple):
    """Of the images and classes that a network is for."""

    channels: int
    side: int
    classes: int


def student(width: float, shape: NetShape) -> ResidualNet:
    """ResNet-18 of another width: 0.75 has 6.3 million parameters, 0.5 has 2.8, 0.25 has 0.7."""
    return ResidualNet(BasicBlock, 1, (2, 2, 2, 2), width, *shape)


def resnet18(shape: NetShape) -> ResidualNet:
    return student(1.0, shape)


def resnet34(shape: NetShape) -> ResidualNet:
    return ResidualNet(BasicBlock, 1, (3, 4, 6, 3), 1.0, *shape)


def resnet50(shape: NetShape) -> ResidualNet:
    """25.6 million parameters for 1,000 classes."""
    return ResidualNet(WideBlock, EXPANSION, (3, 4, 6, 3), 1.0, *shape)


TEACHERS: dict[str, Callable[[NetShape], ResidualNet]] = {
    "resnet50": resnet50,
    "resnet34": resnet34,
    "resnet18": resnet18,
    "resnet18x0.5": lambda shape: student(0.5, shape),
}  # largest first


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
