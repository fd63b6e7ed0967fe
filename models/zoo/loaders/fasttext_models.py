"""Classifiers of fastText, by its predicting part alone (`fasttext-predict`)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelsError, needed
from ..table import ZooRow

if TYPE_CHECKING:
    import numpy as np

LABEL = "__label__"
MAGIC = 793712314  # of the format: first four bytes
SETTINGS_END = 8 + 12 * 4 + 8  # magic, version, twelve settings and a threshold; the dictionary follows


def opened(row: ZooRow, files: Mapping[str, Path]) -> FasttextModel:
    return FasttextModel(_file(files))


def counted_in(files: Mapping[str, Path]) -> int:
    """Elements of both matrices, before their quantization: fastText keeps their shapes in the file."""
    with _file(files).open("rb") as file:
        file.seek(SETTINGS_END)
        entries, _, labels, _, pruned = struct.unpack("<iiiqq", file.read(28))
        for _ in range(entries):
            while file.read(1) != b"\0":
                pass
            file.seek(9, 1)  # how often, and of which kind
        file.seek(8 * max(0, pruned), 1)
        quantized, _, rows, width = struct.unpack("<??qq", file.read(18))
        if not quantized:
            raise ModelsError("the shapes of a model of fastText that is not quantized are elsewhere in its file")
    return int((rows + labels) * width)


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
        return [
            (label.removeprefix(LABEL), min(1.0, float(share))) for label, share in zip(labels, shares, strict=True)
        ]

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Texts [B] -> label [B], probability [B]."""
        import numpy as np

        first = [self.predict(str(text), 1)[0] for text in inputs["text"]]
        return {
            "label": np.array([label for label, _ in first]),
            "probability": np.array([share for _, share in first], np.float32),
        }


def _file(files: Mapping[str, Path]) -> Path:
    for path in files.values():
        if path.suffix in (".ftz", ".bin"):
            return path
    raise ModelsError(f"no model of fastText among {', '.join(files)}")
