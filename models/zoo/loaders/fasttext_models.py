"""Classifiers of fastText, by its predicting part alone (`fasttext-predict`)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelsError
from ...extras import needed
from ..row import ZooRow

if TYPE_CHECKING:
    import numpy as np

LABEL = "__label__"
MAGIC = 793712314  # of the format: first four bytes


def opened(row: ZooRow, files: Mapping[str, Path]) -> FasttextModel:
    return FasttextModel(_file(files))


class FasttextModel:
    """Raises ModelsError for a file that is no model of fastText."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if file.read(4) != struct.pack("<i", MAGIC):
                raise ModelsError(f"{path} is no model of fastText: fetch it again")
        self._model = needed("fasttext").load_model(str(path))

    def predict(self, text: str, top: int) -> list[tuple[str, float]]:
        """`[("en", 0.98), ("de", 0.01)]`, the most probable first."""
        labels, shares = self._model.predict(text.replace("\n", " "), k=top)
        return [(label.removeprefix(LABEL), min(1.0, float(share))) for label, share in zip(labels, shares, strict=True)]

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Texts [B] -> label [B], probability [B]."""
        import numpy as np

        first = [self.predict(str(text), 1)[0] for text in inputs["text"]]
        return {"label": np.array([label for label, _ in first]), "probability": np.array([share for _, share in first], np.float32)}


def _file(files: Mapping[str, Path]) -> Path:
    for path in files.values():
        if path.suffix in (".ftz", ".bin"):
            return path
    raise ModelsError(f"no model of fastText among {', '.join(files)}")
