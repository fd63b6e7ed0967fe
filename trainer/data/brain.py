"""The MNI152 brain template of nilearn: patches of the T1 image, and the tissue of each voxel. Shapes: X Y Z voxels."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from .sample_order import Batch, Place

CLASSES = 3  # neither, grey matter, white matter
HELD_OUT_Y = (
    136  # from here to the front of the head; the template is symmetric, so left and right would predict each other
)
CENTRE_SPACING = 6  # voxels; one sample of an epoch for each such point that lies in tissue


class Patches:
    """An image_CXYZ of uint8 and its classes_XYZ, cut out around a point in tissue; in training, shifted and mirrored."""

    def __init__(self, image_XYZ: Tensor, classes_XYZ: Tensor, patch: int, varies: bool = False) -> None:
        if min(image_XYZ.shape) < patch:
            raise ValueError(f"a patch of {patch} voxels does not fit into {tuple(image_XYZ.shape)}")
        self.image_XYZ, self.classes_XYZ, self.patch, self.varies = image_XYZ, classes_XYZ, patch, varies
        grid_XYZ = classes_XYZ[::CENTRE_SPACING, ::CENTRE_SPACING, ::CENTRE_SPACING]
        self.centres = (grid_XYZ.nonzero() * CENTRE_SPACING).tolist()

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, place: Place) -> Batch:
        chance = place.random()
        cut = tuple(
            self._stretch(centre + (chance.randrange(CENTRE_SPACING) if self.varies else 0), length)
            for centre, length in zip(self.centres[place.sample], self.image_XYZ.shape, strict=True)
        )
        image_XYZ, classes_XYZ = self.image_XYZ[cut], self.classes_XYZ[cut]
        if self.varies and chance.random() < 0.5:
            image_XYZ, classes_XYZ = image_XYZ.flip(0), classes_XYZ.flip(0)
        return image_XYZ.unsqueeze(0), classes_XYZ

    def _stretch(self, centre: int, length: int) -> slice:
        """The range of one axis, moved inside the volume."""
        first = min(max(0, centre - self.patch // 2), length - self.patch)
        return slice(first, first + self.patch)


def load(patch: int) -> tuple[Patches, Patches]:
    """Train and validation: the back and the front of the one head."""
    try:
        from nilearn import datasets
    except ModuleNotFoundError as error:
        raise UserError("no brain to segment: install the MNI152 template with: pip install nilearn") from error
    loaders = (datasets.load_mni152_template, datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    image_XYZ, grey_XYZ, white_XYZ = (
        torch.from_numpy(load(resolution=1).get_fdata(dtype="float32")) for load in loaders
    )
    grey_XYZ, white_XYZ = (grey_XYZ > 0.5) & (grey_XYZ >= white_XYZ), (white_XYZ > 0.5) & (white_XYZ > grey_XYZ)
    classes_XYZ = grey_XYZ.byte() + 2 * white_XYZ.byte()
    image_XYZ = (image_XYZ * 255).round().byte()
    return (
        Patches(image_XYZ[:, :HELD_OUT_Y], classes_XYZ[:, :HELD_OUT_Y], patch, varies=True),
        Patches(image_XYZ[:, HELD_OUT_Y:], classes_XYZ[:, HELD_OUT_Y:], patch),
    )
