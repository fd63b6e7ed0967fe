"""Fashion-MNIST as Debian packages it, else scikit-learn's handwritten digits: grey images of ten kinds. Shapes: N number, C channels."""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from .sample_order import Batch, Place

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
SHIFT_SHARE = 1 / 14  # of the side, at most, in each direction
VALIDATION_EVERY = 5  # digits: each fifth is held out; Fashion-MNIST has a split of its own


class Images:
    """An image_CHW of uint8 and its class; in training, clothes may be mirrored, and each image is shifted a little."""

    def __init__(self, images_NCHW: Tensor, classes_N: Tensor, shifts: bool = False, mirrors: bool = False) -> None:
        self.images_NCHW, self.classes_N = images_NCHW, classes_N
        self.shifts, self.mirrors = shifts, mirrors

    def __len__(self) -> int:
        return len(self.images_NCHW)

    def __getitem__(self, place: Place) -> Batch:
        image_CHW, chance = self.images_NCHW[place.sample], place.random()
        if self.mirrors and chance.random() < 0.5:
            image_CHW = image_CHW.flip(-1)
        if self.shifts:
            reach = int(image_CHW.shape[-1] * SHIFT_SHARE)
            image_CHW = image_CHW.roll((chance.randint(-reach, reach), chance.randint(-reach, reach)), (-2, -1))
        return image_CHW, self.classes_N[place.sample]


def load(folder: Path = FASHION_MNIST) -> tuple[Images, Images]:
    """Train and validation, of whichever data set is installed."""
    return _fashion_mnist(folder) if folder.is_dir() else _digits(folder)


def _fashion_mnist(folder: Path) -> tuple[Images, Images]:
    train, validation = (
        (_idx(folder, f"{name}-images-idx3"), _idx(folder, f"{name}-labels-idx1")) for name in ("train", "t10k")
    )
    return (
        Images(train[0].unsqueeze(1), train[1].long(), shifts=True, mirrors=True),
        Images(validation[0].unsqueeze(1), validation[1].long()),
    )


def _idx(folder: Path, name: str) -> Tensor:
    """An IDX file of bytes: two zeros, the type (8 is uint8), the number of dimensions, each of them in 4 bytes, the values."""
    path = folder / f"{name}-ubyte.gz"
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(
            f"cannot read {path}: install it again with: apt install --reinstall dataset-fashion-mnist"
        ) from error
    dimensions = content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, 4 + 4 * dimensions, 4)]
    return torch.frombuffer(bytearray(content[4 + 4 * dimensions :]), dtype=torch.uint8).view(shape)


def _digits(folder: Path) -> tuple[Images, Images]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise UserError(
            f"no images: there is no {folder}; install them with: apt install dataset-fashion-mnist, or: pip install scikit-learn"
        ) from error
    digits = load_digits()
    images_NCHW = torch.from_numpy(digits.images * 255 / 16).byte().unsqueeze(1)
    classes_N = torch.from_numpy(digits.target).long()
    validation = torch.arange(len(classes_N)) % VALIDATION_EVERY == 0
    return Images(images_NCHW[~validation], classes_N[~validation]), Images(
        images_NCHW[validation], classes_N[validation]
    )
