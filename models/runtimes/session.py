"""A model that is ready to run with a fixed number of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..artifact.manifest import TensorSpec
from ..errors import CannotRun

if TYPE_CHECKING:
    import numpy as np


class ModelSession(Protocol):
    """`run` is for one thread at a time."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """All outputs by name. Raises CannotRun for inputs that do not fit."""
        ...


def check_inputs(inputs: Mapping[str, np.ndarray[Any, Any]], specs: Sequence[TensorSpec]) -> None:
    """Raises CannotRun with the names and types that the model takes; about a microsecond an input."""
    if set(inputs) != {spec.name for spec in specs}:
        raise CannotRun(f"the model takes {listed(specs)}, and was given {', '.join(inputs) or 'nothing'}")
    for spec in specs:
        given = inputs[spec.name]
        fits = len(given.shape) == len(spec.shape) and all(
            isinstance(size, str) or size == found for size, found in zip(spec.shape, given.shape, strict=True)
        )
        if not fits or (given.dtype.name != spec.dtype and not (spec.dtype == "str" and given.dtype.kind in "UO")):
            raise CannotRun(f"input {spec.name!r} is {given.dtype.name} {list(given.shape)}, and the model takes {listed([spec])}")


def listed(specs: Sequence[TensorSpec]) -> str:
    """`image (float32 [batch, 1, 28, 28])`"""
    return ", ".join(map(str, specs))
