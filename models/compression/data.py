"""Labelled images to compress with, augmented by views."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..artifact.artifact import arrays_in
from ..errors import ModelsError, needed

if TYPE_CHECKING:
    import torch


FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION = "fashion-mnist"
VALIDATION, TEST = (
    12,
    6,
)  # each twelfth image of what is not for testing; each sixth of a file that has no split of its own
MAX_SIDE, MIN_ITEMS, MAX_CLASSES = 1024, 100, 10_000
MEASURED = 5_000  # images whose mean and deviation count


class LabelledImages(NamedTuple):
    images_NCHW: torch.Tensor
    classes_N: torch.Tensor  # int64

    def first(self, most: int) -> LabelledImages:
        return LabelledImages(self.images_NCHW[:most], self.classes_N[:most])


@dataclass(frozen=True)
class ImageSplits:
    """`test` is read once, for the verdict: nothing is chosen by it."""

    name: str
    licence: str
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    classes: int
    mirrors: bool  # whether a mirrored image is of the same class
    mean: tuple[float, ...]  # of a channel of `train`, values from 0 to 1
    deviation: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W"""
        channels, height, width = self.train.images_NCHW.shape[1:]
        return channels, height, width

    @property
    def preprocessing(self) -> dict[str, Any]:
        """For a manifest: from uint8 to what a model takes, `(image * scale - mean) / std` a channel."""
        return {
            "layout": "NCHW",
            "shape": list(self.shape),
            "scale": 1 / 255,
            "mean": list(self.mean),
            "std": list(self.deviation),
        }

    def prepared(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """float32, as models take them."""
        torch = needed("torch")
        device = images_NCHW.device
        mean, deviation = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (self.mean, self.deviation)
        )
        return (images_NCHW.float() / 255 - mean) / deviation


def load(name: str, most: int | None = None) -> ImageSplits:
    """`fashion-mnist`, or the path of an .npz file with `images` (N H W or N C H W, uint8) and `labels` (N, from 0).

    At most `most` images for training, half as many for testing. Raises ModelsError.
    """
    if name == FASHION:
        (train, test), mirrors, licence = _fashion(FASHION_MNIST), True, "MIT (Fashion-MNIST)"
    elif name.endswith(".npz"):
        (train, test), mirrors, licence = _file(Path(name)), False, "that of the images it was trained on"
    else:
        raise ModelsError(
            f"there are no images {name!r}; give {FASHION}, or the path of an .npz file with images and labels"
        )
    if most is not None and most < MIN_ITEMS:
        raise ModelsError(f"{most} images are too few to train with; give {MIN_ITEMS} or more as --images")
    if most:
        train, test = train.first(most), test.first(max(most // 2, MIN_ITEMS))
    held = needed("torch").arange(len(train.classes_N)) % VALIDATION == 0
    kept = LabelledImages(train.images_NCHW[~held], train.classes_N[~held])
    scaled = kept.images_NCHW[:MEASURED].float() / 255
    return ImageSplits(
        name=Path(name).stem,
        licence=licence,
        train=kept,
        validation=LabelledImages(train.images_NCHW[held], train.classes_N[held]),
        test=test,
        classes=1 + max(int(part.classes_N.max()) for part in (train, test)),
        mirrors=mirrors,
        mean=tuple(round(value, 6) for value in scaled.mean((0, 2, 3)).tolist()),
        deviation=tuple(round(max(value, 1e-3), 6) for value in scaled.std((0, 2, 3)).tolist()),
    )


def _fashion(folder: Path) -> tuple[LabelledImages, LabelledImages]:
    if not folder.is_dir():
        raise ModelsError(f"there is no {folder}; install it with: sudo apt-get install -y dataset-fashion-mnist")
    train, test = (
        LabelledImages(
            _idx(folder / f"{part}-images-idx3-ubyte.gz").unsqueeze(1),
            _idx(folder / f"{part}-labels-idx1-ubyte.gz").long(),
        )
        for part in ("train", "t10k")
    )
    return train, test


def _idx(path: Path) -> torch.Tensor:
    """A file of bytes in the IDX format: magic with the number of dimensions, each of them in four bytes, the values."""
    torch = needed("torch")
    try:
        content = gzip.decompress(path.read_bytes())
        shape = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(content[3])]
        return torch.frombuffer(bytearray(content[4 + 4 * len(shape) :]), dtype=torch.uint8).view(shape)
    except (OSError, EOFError, IndexError, RuntimeError, ValueError) as error:
        raise ModelsError(
            f"{path} cannot be read; install it again with: sudo apt-get install --reinstall -y dataset-fashion-mnist"
        ) from error


def _is_side(sizes: tuple[int, ...]) -> bool:
    return all(1 <= size <= MAX_SIDE for size in sizes)


def _file(path: Path) -> tuple[LabelledImages, LabelledImages]:
    import numpy as np

    torch = needed("torch")
    how = f"make it with numpy.savez({path.name!r}, images=..., labels=...)"
    try:
        images, labels = arrays_in(path, ("images", "labels")).values()
    except FileNotFoundError as error:
        raise ModelsError(f"there is no {path}; {how}") from error
    except (OSError, ValueError) as error:
        raise ModelsError(f"{path} has no arrays `images` and `labels` that can be read ({error}); {how}") from error
    if images.ndim == 3:
        images = images[:, None]
    if images.dtype != np.uint8 or images.ndim != 4 or not 1 <= images.shape[1] <= 4 or not _is_side(images.shape[2:]):
        last = images.ndim == 4 and 1 <= images.shape[3] <= 4
        turn = "; channels come before height and width: images.transpose(0, 3, 1, 2)" if last else ""
        raise ModelsError(
            f"{path}: images are {images.dtype} {list(images.shape)}; they must be uint8, N C H W, up to {MAX_SIDE} pixels a side{turn}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or len(labels) < MIN_ITEMS or labels.min() < 0:
        raise ModelsError(f"{path}: labels must be whole numbers from 0, one an image, of at least {MIN_ITEMS} images")
    highest, different = int(labels.max()), len(np.unique(labels))
    if different < 2:
        raise ModelsError(f"{path}: all images have the label {highest}; a classifier needs two classes at least")
    if highest >= min(len(labels), MAX_CLASSES):
        raise ModelsError(
            f"{path}: the highest of {different} different labels is {highest}; number the classes from 0 without gaps"
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    every = LabelledImages(torch.from_numpy(images)[order], torch.from_numpy(labels.astype(np.int64))[order])
    test = torch.arange(len(labels)) % TEST == 0
    return LabelledImages(every.images_NCHW[~test], every.classes_N[~test]), LabelledImages(
        every.images_NCHW[test], every.classes_N[test]
    )


# Images shifted and mirrored, the same way each time: a view has a number, so that a teacher's answers to it can be kept.
#
# Shapes: B batch, N number, C channels, H W height and width.

SHIFT = 14  # the part of the side by which an image is shifted at most, in each direction


@dataclass(frozen=True)
class Views:
    """`count` views that are drawn from `seed`, taken in turn: view 0 in epoch 0, then view 1, and from the beginning again."""

    mirrors: bool
    count: int
    seed: int = 0

    def at(self, epoch: int, number: int) -> ImageView:
        """Of so many images."""
        chance = torch.Generator().manual_seed(self.seed * 10_007 + epoch % self.count)
        shifts_2N = torch.rand(2, number, generator=chance)
        mirrored_N = torch.rand(number, generator=chance) < 0.5
        return ImageView(shifts_2N, mirrored_N if self.mirrors else torch.zeros_like(mirrored_N))


class ImageView(NamedTuple):
    """How each image of a data set is shifted, as a share of the reach, and whether it is mirrored."""

    shifts_2N: Tensor
    mirrored_N: Tensor

    def cut(self, images_NCHW: Tensor, places_B: Tensor) -> Tensor:
        """images_BCHW of these places."""
        images_BCHW = images_NCHW[places_B]
        height, width = images_BCHW.shape[2:]
        reach = max(1, min(height, width) // SHIFT)
        down_B, right_B = (self.shifts_2N[:, places_B] * (2 * reach + 1)).long()
        padded_BCHW = F.pad(images_BCHW, (reach, reach, reach, reach))
        cuts = padded_BCHW.unfold(2, height, 1).unfold(3, width, 1)  # B C down right H W, of the same memory
        shifted_BCHW = cuts[torch.arange(len(places_B)), :, down_B, right_B]
        mirrored_B = self.mirrored_N[places_B]
        shifted_BCHW[mirrored_B] = shifted_BCHW[mirrored_B].flip(-1)
        return shifted_BCHW
