"""Images shifted and mirrored, the same way each time: a view has a number, so that a teacher's answers to it can be kept.

Shapes: B batch, N number, C channels, H W height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

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
