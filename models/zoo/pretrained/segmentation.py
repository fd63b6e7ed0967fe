"""Segmentation of images: a class for each pixel.

Shapes: H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ..loaders.loading import OpenedModel, opened
from ..table import ZooRow
from .image import prepared
from .pretrained import found

if TYPE_CHECKING:
    import numpy as np

TASK = "segmentation"


class SegmentationModel:
    def __init__(self, row: ZooRow, model: OpenedModel) -> None:
        self.row, self._model = row, model

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> SegmentationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TASK, accept_licence, cls.__name__)
        return cls(row, opened(row, files))

    @property
    def classes(self) -> list[str]:
        """By number; empty where the source states none."""
        return list(self.row.preprocessing.get("classes", []))

    def segment(self, image: Any) -> np.ndarray[Any, Any]:
        """The number of the class of each pixel, int64 [H, W], at the size to which the model resizes."""
        scores_1KHW = self._model.run({"image": prepared(image, self.row.preprocessing)})["out"]
        labels: np.ndarray[Any, Any] = scores_1KHW[0].argmax(0)
        return labels
