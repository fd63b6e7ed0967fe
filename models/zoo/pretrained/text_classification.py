"""Classification of texts: sentiment, topics."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...errors import needed
from ..loaders import transformers_models
from ..table import ZooRow
from .arguments import MOST_TOP, text_of, whole
from .image_classification import ClassShare
from .pretrained import found

TASK = "text-classification"


class TextClassificationModel:
    def __init__(self, row: ZooRow, model: Any, tokenizer: Any) -> None:
        self.row, self._model, self._tokenizer = row, model, tokenizer

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> TextClassificationModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TASK, accept_licence, cls.__name__)
        with transformers_models.only(row, files) as folder:
            tokenizer = needed("transformers").AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            return cls(row, transformers_models.loaded(row, folder), tokenizer)

    def classify(self, text: str, top: int = 5) -> list[ClassShare]:
        """The most probable classes, by the names that the model's files give them."""
        torch = needed("torch")
        whole(top, 1, MOST_TOP, "top")
        inputs = self._tokenizer(text_of(text, "a text"), truncation=True, return_tensors="pt")
        with torch.inference_mode():
            shares = torch.softmax(self._model(**inputs).logits[0].float(), 0)
        names = self._model.config.id2label
        order = torch.argsort(shares, descending=True)[:top].tolist()
        return [ClassShare(str(names.get(place, place)), float(shares[place])) for place in order]
