"""The model as LitServe serves it: its worker processes import this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litserve
import numpy as np

from models.artifact import Artifact


class LitModel(litserve.LitAPI):  # type: ignore[misc]
    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(**options)
        self.folder = folder

    def setup(self, device: Any) -> None:
        self.session = Artifact.open(self.folder, check=False).session()

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # an annotation would be the type that FastAPI validates
        return np.array(request["input"], np.float32)

    def batch(self, inputs: Any) -> Any:
        return np.concatenate(inputs)

    def predict(self, rows: Any) -> Any:
        return next(iter(self.session.run({"x": rows}).values()))

    def unbatch(self, output: Any) -> Any:
        return [output[place : place + 1] for place in range(len(output))]

    def encode_response(self, output: Any) -> Any:
        return {"output": output.tolist()}
