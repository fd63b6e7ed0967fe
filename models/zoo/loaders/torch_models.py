"""What all PyTorch models share: counting, running, and weights from safetensors or `torch.load(weights_only=True)`."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelsError, needed

if TYPE_CHECKING:
    import numpy as np


def parameters_of(module: Any) -> int:
    """Each shared tensor once; buffers are no parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def weights(files: Mapping[str, Path]) -> dict[str, Any]:
    """The tensors of the one file that holds them. Raises ModelsError for what is not plain tensors."""
    for path in files.values():
        if path.suffix == ".safetensors":
            loaded: dict[str, Any] = needed("safetensors.torch").load_file(path)
            return loaded
    for path in files.values():
        if path.suffix in (".bin", ".pt", ".pth"):
            try:
                found = needed("torch").load(path, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
                raise ModelsError(
                    f"{path} holds more than tensors, or is broken: it is not opened ({_first_line(error)})"
                ) from error
            return dict(found)
    raise ModelsError(f"no weights among {', '.join(files)}: only safetensors, .bin, .pt and .pth files are opened")


def filled(module: Any, tensors: Mapping[str, Any], place: str) -> Any:
    """The module with these weights, in evaluation mode. Raises ModelsError where they do not fit."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelsError(
            f"the weights of {place} do not fit the model ({_first_line(error)}): fetch it again"
        ) from error
    return module.eval()


class TorchModel:
    """A module whose inputs and outputs are named by position."""

    def __init__(self, module: Any, outputs: tuple[str, ...]) -> None:
        self.module, self._outputs = module, outputs

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        torch = needed("torch")
        with torch.inference_mode():
            found = self.module(*(torch.from_numpy(value) for value in inputs.values()))
        results = found if isinstance(found, (tuple, list)) else [found]
        return {name: value.float().numpy() for name, value in zip(self._outputs, results, strict=True)}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
