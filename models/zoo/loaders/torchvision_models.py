"""Models of torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...extras import needed
from ..row import ZooRow
from .torch_models import TorchModel, filled, weights

if TYPE_CHECKING:
    import numpy as np

IMAGES = "image"  # of a detection model, which takes a list of them


def on_meta(row: ZooRow) -> Any:
    with needed("torch").device("meta"):
        return made(row)


def opened(row: ZooRow, files: Mapping[str, Path]) -> TorchvisionModel:
    return TorchvisionModel(filled(made(row), weights(files), row.name), ())


def untrained(row: ZooRow) -> TorchvisionModel:
    return TorchvisionModel(made(row).eval(), ())


def made(row: ZooRow) -> Any:
    """With random weights."""
    models = needed("torchvision.models")
    config = dict(row.config or {})
    if config.pop("backbone", False):
        config["weights_backbone"] = None
    return models.get_model(row.architecture, weights=None, **config)


class TorchvisionModel(TorchModel):
    """A segmentation model gives a table of images, a detection model one of boxes."""

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        torch = needed("torch")
        values = [torch.from_numpy(value) for value in inputs.values()]
        with torch.inference_mode():
            found = self.module(list(values[0]) if "detection" in type(self.module).__module__ else values[0])
        if isinstance(found, list):
            found = found[0]
        tensors = found if isinstance(found, dict) else {"output": found}
        return {name: value.numpy() for name, value in tensors.items()}
