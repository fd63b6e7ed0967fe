"""`golden.npz`: inputs of a model and the outputs that they gave where it was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..errors import BadArtifact
from .npz import arrays_in

if TYPE_CHECKING:
    import numpy as np

    Arrays: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

INPUT, OUTPUT = "input.", "output."


class Golden(NamedTuple):
    inputs: dict[str, Any]  # arrays by the name of the tensor
    outputs: dict[str, Any]


def save(path: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Raises OSError; ValueError for arrays of objects."""
    import numpy as np

    arrays = {f"{INPUT}{name}": value for name, value in inputs.items()} | {
        f"{OUTPUT}{name}": value for name, value in outputs.items()
    }
    if objects := [name for name, value in arrays.items() if value.dtype.hasobject]:
        raise ValueError(f"{objects[0]} is an array of objects")
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Golden:
    """Raises BadArtifact; nothing is unpickled."""
    try:
        found = arrays_in(path)
    except (OSError, ValueError) as error:
        raise BadArtifact(f"{path} cannot be read ({error}); fetch or make the model again") from error
    return Golden(
        {name.removeprefix(INPUT): value for name, value in found.items() if name.startswith(INPUT)},
        {name.removeprefix(OUTPUT): value for name, value in found.items() if name.startswith(OUTPUT)},
    )


def difference(expected: Arrays, actual: Arrays) -> tuple[str, float]:
    """The output that differs most, and by which share of its largest expected value; infinite for another shape, dtype or lack.

    Whole numbers, booleans and text are equal or infinitely different.
    """
    worst = ("", 0.0)
    for name, value in expected.items():
        share = _share(value, actual[name]) if name in actual else float("inf")
        if share > worst[1]:
            worst = (name, share)
    return worst


def _share(expected: np.ndarray[Any, Any], actual: np.ndarray[Any, Any]) -> float:
    import numpy as np

    if expected.shape != actual.shape or expected.dtype.kind != actual.dtype.kind:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, actual) else float("inf")
    if not expected.size:
        return 0.0
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True) or not np.isfinite(other[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    largest = float(np.abs(wide[finite]).max())
    return float(np.abs(wide - other, where=finite, out=np.zeros_like(wide))[finite].max()) / (largest or 1.0)
