"""A PyTorch module as it is, for comparison: eager, without gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import needed

if TYPE_CHECKING:
    import numpy as np
    import torch


class TorchSession:
    """The threads are the process's: give all sessions that are timed together the same number."""

    def __init__(self, module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str], threads: int) -> None:
        self._torch, self._module, self._threads = needed("torch"), module.eval(), threads
        self._inputs, self._outputs = list(inputs), list(outputs)

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        torch = self._torch
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            found = self._module(*(torch.from_numpy(inputs[name]) for name in self._inputs))
        results = found if isinstance(found, (tuple, list)) else [found]
        return {name: value.numpy() for name, value in zip(self._outputs, results, strict=True)}
