"""Embeddings of texts: vectors of length 1 whose product is the similarity.

Shapes: N texts, T tokens, W width.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import needed
from ..loaders import transformers_models
from ..table import ZooRow
from .arguments import texts_of
from .pretrained import found

if TYPE_CHECKING:
    import numpy as np

TASK = "embeddings"
BATCH = 32
POOLING = "1_Pooling/config.json"  # of sentence-transformers: how the vectors of tokens become one


class EmbeddingModel:
    def __init__(self, row: ZooRow, model: Any, tokenizer: Any, first_token: bool, longest: int) -> None:
        self.row, self._model, self._tokenizer = row, model, tokenizer
        self._first_token, self._longest = first_token, longest

    @classmethod
    def from_pretrained(cls, name: str, accept_licence: Collection[str] = ()) -> EmbeddingModel:
        """A model of the zoo that is on this host. Raises ModelsError, with the command that fetches it where it is not."""
        row, files = found(name, TASK, accept_licence, cls.__name__)
        with transformers_models.only(row, files) as folder:
            tokenizer = needed("transformers").AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model = transformers_models.loaded(row, folder)
            return cls(row, model, tokenizer, _pools_first_token(folder), int(row.preprocessing.get("longest", 512)))

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """float32 [N, W]; a text longer than the model takes is cut."""
        import numpy as np

        torch = needed("torch")
        texts = texts_of(texts, "texts")
        found_vectors = []
        for begin in range(0, len(texts), BATCH):
            batch = self._tokenizer(
                texts[begin : begin + BATCH],
                padding=True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden_NTW = self._model(**batch).last_hidden_state.float()
            if self._first_token:
                pooled_NW = hidden_NTW[:, 0]
            else:
                mask_NT1 = batch["attention_mask"].unsqueeze(-1).float()
                pooled_NW = (hidden_NTW * mask_NT1).sum(1) / mask_NT1.sum(1).clamp_min(1.0)
            found_vectors.append(torch.nn.functional.normalize(pooled_NW, dim=1).numpy())
        return (
            np.concatenate(found_vectors)
            if found_vectors
            else np.zeros((0, self._model.config.hidden_size), np.float32)
        )


def _pools_first_token(folder: Path) -> bool:
    """The mean of all tokens where the model does not say."""
    place = folder / POOLING
    return bool(json.loads(place.read_text()).get("pooling_mode_cls_token")) if place.exists() else False
