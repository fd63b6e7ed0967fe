"""ONNX files as packages carry them, run by ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelsError
from ...extras import needed
from ..row import ZooRow

if TYPE_CHECKING:
    from ...runtimes.session import ModelSession


def opened(row: ZooRow, files: Mapping[str, Path]) -> ModelSession:
    from ...runtimes.opening import open_session

    return open_session(_model(row.name, files))


def counted_in(files: Mapping[str, Path]) -> int:
    """Elements of all initializers of floating point or quantized to whole numbers, those in branches included."""
    onnx = needed("onnx")
    return sum(_count(onnx.load(path).graph, onnx) for path in files.values() if path.suffix == ".onnx")


def _count(graph: object, onnx: object) -> int:
    total = sum(math.prod(tensor.dims) for tensor in graph.initializer)  # type: ignore[attr-defined]
    for node in graph.node:  # type: ignore[attr-defined]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                total += _count(attribute.g, onnx)
            if node.op_type == "Constant" and attribute.HasField("t"):
                total += math.prod(attribute.t.dims)
    return total


def _model(name: str, files: Mapping[str, Path]) -> Path:
    for path in files.values():
        if path.suffix == ".onnx":
            return path
    raise ModelsError(f"{name} has no ONNX file among {', '.join(files)}")
