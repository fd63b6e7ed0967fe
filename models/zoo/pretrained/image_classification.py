"""Classification of images.

Shapes: H height, W width, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from ..loaders.loading import OpenedModel, opened
from ..table import ZooRow
from .arguments import MOST_TOP, whole
from .image import prepared
from .pretrained import found

if TYPE_CHECKING:
    pass

TASK = "image-classification"


class ClassShare(NamedTuple):
    label: str  # the class's name where the library knows it, else its number
    probability: float


class ImageClassificationModel:
    def __init__(self, row: ZooRow, model: OpenedModel) -> None:
        self.row, self._model = row, model

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> ImageClassificationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TASK, accept_licence, cls.__name__)
        return cls(row, opened(row, files))

    def classify(self, image: Any, top: int = 5) -> list[ClassShare]:
        """The most probable classes of a PIL image, or of an array [H, W, 3] of uint8."""
        import numpy as np

        whole(top, 1, MOST_TOP, "top")
        logits_1K = next(iter(self._model.run({"image": prepared(image, self.row.preprocessing)}).values()))
        exps_K = np.exp(logits_1K[0] - logits_1K[0].max())
        shares_K = exps_K / exps_K.sum()
        labels = self._labels(len(shares_K))
        return [ClassShare(labels[place], float(shares_K[place])) for place in np.argsort(-shares_K)[:top]]

    def _labels(self, count: int) -> list[str]:
        from importlib.util import find_spec

        names = self.row.preprocessing.get("labels")
        if names == "imagenet-1k" and count == 1000 and find_spec("timm"):
            from timm.data import ImageNetInfo

            info = ImageNetInfo()
            return [info.index_to_description(place) for place in range(count)]
        return [str(place) for place in range(count)]
