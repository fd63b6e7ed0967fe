"""A model ready to run with a fixed number of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import CannotRun

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output. `dtype` is numpy's word; a free dimension has a name: ("batch", 3, 224, 224)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        """`image (float32 [batch, 1, 28, 28])`"""
        return f"{self.name} ({self.dtype} [{', '.join(map(str, self.shape))}])"


class ModelSession(Protocol):
    """`run` is for one thread at a time."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """All outputs by name. Raises CannotRun for inputs that do not fit."""
        ...


def check_inputs(inputs: Mapping[str, np.ndarray[Any, Any]], specs: Sequence[TensorSpec]) -> None:
    """Raises CannotRun with the names and types that the model takes; about half a microsecond an input."""
    if len(inputs) != len(specs) or not all(map(inputs.__contains__, [spec.name for spec in specs])):
        raise CannotRun(f"the model takes {listed(specs)}, and was given {', '.join(inputs) or 'nothing'}")
    for spec in specs:
        given = inputs[spec.name]
        if not _has_shape(given.shape, spec.shape) or not _is_of(given.dtype, spec.dtype):
            raise CannotRun(
                f"input {spec.name!r} is {given.dtype.name} {list(given.shape)}, and the model takes {listed([spec])}"
            )


def _has_shape(found: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    if len(found) != len(wanted):
        return False
    for size, known in zip(found, wanted, strict=True):  # noqa: SIM110 - of each request: a generator would take twice as long
        if size != known and not isinstance(known, str):
            return False
    return True


@lru_cache(256)
def _is_of(dtype: np.dtype[Any], wanted: str) -> bool:
    return dtype.name == wanted or (wanted == "str" and dtype.kind in "UO")


def listed(specs: Sequence[TensorSpec]) -> str:
    """`image (float32 [batch, 1, 28, 28])`"""
    return ", ".join(map(str, specs))
