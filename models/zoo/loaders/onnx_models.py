"""ONNX files as packages carry them, run by ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelsError, needed
from ..table import ZooRow

if TYPE_CHECKING:
    import numpy as np

    from ...runtimes.session import ModelSession

WEIGHTS = (
    "FLOAT",
    "FLOAT16",
    "DOUBLE",
    "BFLOAT16",
    "INT8",
    "UINT8",
)  # types of tensors that are learned, quantized ones included


def opened(row: ZooRow, files: Mapping[str, Path]) -> OnnxFiles:
    from ...runtimes import open_session

    sessions = {path.stem: open_session(path) for path in files.values() if path.suffix == ".onnx"}
    if not sessions:
        raise ModelsError(f"{row.name} has no ONNX file among {', '.join(files)}")
    return OnnxFiles(sessions)


def counted_in(files: Mapping[str, Path]) -> int:
    """Elements of all tensors of weights, those in branches included; scalars are none."""
    onnx = needed("onnx")
    return sum(_count(onnx.load(path).graph, onnx) for path in files.values() if path.suffix == ".onnx")


class OnnxFiles:
    """One file, or several whose inputs and outputs have the name of the file before theirs: `PP-OCRv6_rec_small.x`."""

    def __init__(self, sessions: Mapping[str, ModelSession]) -> None:
        self._sessions = sessions

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        if len(self._sessions) == 1:
            (session,) = self._sessions.values()
            return session.run(inputs)
        found: dict[str, np.ndarray[Any, Any]] = {}
        for stem, session in self._sessions.items():
            own = {
                name.removeprefix(f"{stem}."): value for name, value in inputs.items() if name.startswith(f"{stem}.")
            }
            found |= {f"{stem}.{name}": value for name, value in session.run(own).items()}
        return found


def _count(graph: Any, onnx: Any) -> int:
    total = sum(_weights(tensor, onnx) for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                total += _count(attribute.g, onnx)
            if node.op_type == "Constant" and attribute.HasField("t"):
                total += _weights(attribute.t, onnx)
    return total


def _weights(tensor: Any, onnx: Any) -> int:
    return math.prod(tensor.dims) if tensor.dims and onnx.TensorProto.DataType.Name(tensor.data_type) in WEIGHTS else 0
