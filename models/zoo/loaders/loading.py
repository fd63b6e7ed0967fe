"""A row becomes a model: empty on PyTorch's meta device, or with its weights and ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import ModelsError
from ..table import ZooRow

if TYPE_CHECKING:
    import numpy as np

MODULES = {
    "timm": "timm_models",
    "torchvision": "torchvision_models",
    "transformers": "transformers_models",
    "gguf": "gguf_models",
    "onnx": "onnx_models",
    "fasttext": "fasttext_models",
    "efficientnet-lite": "efficientnet_lite",
    "facenet": "facenet_cascade",
    "resemblyzer": "voice_encoder",
}


class OpenedModel(Protocol):
    """Arrays in, arrays out, as the library computes them: no preprocessing. For one thread at a time."""

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]: ...


def opened(row: ZooRow, files: Mapping[str, Path]) -> OpenedModel:
    """With the weights in these files, which were checked. Raises ModelsError where a library is lacking or a file does not fit."""
    model: OpenedModel = _module(row).opened(row, files)
    return model


def untrained(row: ZooRow) -> OpenedModel:
    """With random weights, for times. Raises ModelsError where the row has no such form, or its library is lacking."""
    module = _module(row)
    if not hasattr(module, "untrained"):
        raise ModelsError(f"{row.name} is timed once it is here: deepseek-models fetch {row.name}")
    model: OpenedModel = module.untrained(row)
    return model


def on_meta(row: ZooRow) -> Any:
    """The torch.nn.Module without memory for its weights; takes 0.1 to 5 s. Raises ModelsError where the row has no such form."""
    module = _module(row)
    if not hasattr(module, "on_meta"):
        raise ModelsError(f"{row.name} is no PyTorch model: its parameters are counted in its files")
    return module.on_meta(row)


def counted_in(row: ZooRow, files: Mapping[str, Path]) -> int:
    """Parameters in the files of a row that is no PyTorch model. Raises ModelsError."""
    number: int = _module(row).counted_in(files)
    return number


def example(row: ZooRow, batch: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs of the shapes that the row states, the same at each call: they say nothing, and suffice for times and golden outputs.

    `batch` is the first dimension. Raises ModelsError where the row states none.
    """
    import numpy as np

    chance = np.random.default_rng(0)
    made: dict[str, np.ndarray[Any, Any]] = {}
    if not row.preprocessing.get("inputs"):
        raise ModelsError(f"{row.name} has no example: its inputs are made by the processor that is fetched with it")
    for spec in row.preprocessing["inputs"]:
        if spec["dtype"] == "str":
            made[spec["name"]] = np.array([spec["value"]] * spec["shape"][0])
        elif "value" in spec:
            made[spec["name"]] = np.full(spec["shape"], spec["value"], spec["dtype"])
        elif np.dtype(spec["dtype"]).kind in "iu":
            made[spec["name"]] = chance.integers(0, spec["below"], spec["shape"], spec["dtype"])
        else:
            made[spec["name"]] = chance.standard_normal([batch, *spec["shape"][1:]]).astype(spec["dtype"])
    return made


def _module(row: ZooRow) -> Any:
    return import_module(f".{MODULES[row.loader]}", __package__)
