"""Training tasks: a row names a model, its data, and the settings of each size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .data import brain, small_images, stdlib_text
from .data.sample_order import Batch, Data
from .models import bert, gpt, resnet50, unet3d


class Size(NamedTuple):
    shape: Any  # of the model, as its module defines it
    batch: int  # samples a step, unless the command line says otherwise
    lr: float  # at its peak
    validation: int  # held-out samples that a validation takes


class Task(NamedTuple):
    model: Callable[[Any], nn.Module]  # of a shape; called with inputs and targets it returns the loss
    data: Callable[[Any], tuple[Data, Data]]  # for a shape: train and validation
    unit: str  # what throughput counts: tokens or samples
    sizes: Mapping[str, Size]  # tiny is for a minute on two CPU cores, base for a GPU

    def units(self, inputs: torch.Tensor) -> int:
        return inputs.numel() if self.unit == "tokens" else len(inputs)


def windows(shape: gpt.Shape) -> tuple[Data, Data]:
    train, validation = stdlib_text.load()
    return stdlib_text.Windows(train, shape.context), stdlib_text.Windows(validation, shape.context)


def masked_windows(shape: bert.Shape) -> tuple[Data, Data]:
    train, validation = stdlib_text.load()
    return stdlib_text.MaskedWindows(train, shape.context), stdlib_text.MaskedWindows(validation, shape.context)


def images(shape: resnet50.Shape) -> tuple[Data, Data]:
    return small_images.load()


def patches(shape: unet3d.Shape) -> tuple[Data, Data]:
    return brain.load(shape.patch)


BYTES, BYTES_AND_MASK = stdlib_text.VOCABULARY, stdlib_text.MASK + 1
TASKS = {
    "gpt": Task(
        gpt.GPT,
        windows,
        "tokens",
        {
            "tiny": Size(gpt.Shape(layers=2, channels=128, heads=4, context=128, vocabulary=BYTES), 8, 3e-3, 64),
            "base": Size(gpt.Shape(layers=12, channels=768, heads=6, context=1024, vocabulary=BYTES), 16, 6e-4, 256),
        },
    ),
    "bert": Task(
        bert.BERT,
        masked_windows,
        "tokens",
        {
            "tiny": Size(bert.Shape(2, 128, 4, context=128, vocabulary=BYTES_AND_MASK, dropout=0.1), 8, 1e-3, 64),
            "base": Size(bert.Shape(12, 768, 12, context=512, vocabulary=BYTES_AND_MASK, dropout=0.1), 32, 2e-4, 256),
        },
    ),
    "resnet50": Task(
        resnet50.ResNet,
        images,
        "samples",
        {
            "tiny": Size(
                resnet50.Shape((1, 1, 1, 1), width=16, classes=small_images.CLASSES, momentum=0.3), 32, 3e-3, 128
            ),
            "base": Size(
                resnet50.Shape((3, 4, 6, 3), width=64, classes=small_images.CLASSES, momentum=0.1), 256, 1e-3, 2048
            ),
        },
    ),
    "unet3d": Task(
        unet3d.UNet3d,
        patches,
        "samples",
        {
            "tiny": Size(unet3d.Shape(patch=24, channels=8, levels=3, classes=brain.CLASSES), 2, 5e-3, 16),
            "base": Size(unet3d.Shape(patch=96, channels=32, levels=5, classes=brain.CLASSES), 2, 1e-3, 16),
        },
    ),
}


def flops_per_sample(model: Callable[[], nn.Module], batch: Batch) -> float:
    """Of the forward and backward pass, as PyTorch counts them: matrix products and convolutions. Nothing is computed for it."""
    with torch.device("meta"):
        counted = model().eval()  # the same sums, and one sample is enough: a batch norm that learns wants more
    inputs, targets = (part.to("meta") for part in batch)
    with FlopCounterMode(display=False) as counter:
        counted(inputs, targets).backward()
    return counter.get_total_flops() / len(inputs)
