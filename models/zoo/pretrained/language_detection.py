"""Which language a text is in."""

from __future__ import annotations

from collections.abc import Collection

from ...errors import ModelsError
from ..loaders.fasttext_models import FasttextModel
from ..loaders.loading import opened
from ..table import ZooRow
from .arguments import MOST_TOP, text_of, whole
from .image_classification import ClassShare
from .pretrained import found

TASK = "language-detection"


class LanguageDetectionModel:
    def __init__(self, row: ZooRow, model: FasttextModel) -> None:
        self.row, self._model = row, model

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> LanguageDetectionModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TASK, accept_licence, cls.__name__)
        model = opened(row, files)
        if not isinstance(model, FasttextModel):
            raise ModelsError(f"{row.name} is opened by TextClassificationModel")
        return cls(row, model)

    def detect(self, text: str, top: int = 1) -> list[ClassShare]:
        """`[ClassShare("en", 0.98)]`: codes of ISO 639, the most probable first."""
        whole(top, 1, MOST_TOP, "top")
        if not text_of(text, "a text").strip():
            raise ModelsError("an empty text has no language: give at least a word")
        return [ClassShare(label, share) for label, share in self._model.predict(text, top)]
