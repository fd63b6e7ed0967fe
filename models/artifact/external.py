"""Weights that an ONNX file keeps in other files: they must lie beside it."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadArtifact
from ..extras import needed
from .manifest import FILE_NAME


def external_files(model: Path) -> set[str]:
    """Names of the files that hold its weights; a model without such is scanned only, a tenth of a second per GB.

    Raises BadArtifact for a file that is no ONNX model, and for a place outside the model's folder.
    """
    if not _may_have_any(model):
        return set()
    onnx = needed("onnx")
    try:
        loaded = onnx.load(str(model), load_external_data=False)
    except Exception as error:  # of protobuf, whose classes differ between its implementations
        raise BadArtifact(f"{model} is not an ONNX model ({type(error).__name__}); fetch or make it again") from error
    names = {name for tensor in _tensors(loaded.graph, loaded.functions) for name in _location(tensor)}
    for name in names:
        if not FILE_NAME.fullmatch(name):
            raise BadArtifact(
                f"{model} names {name!r} as a file of its weights, which is not in its folder; do not use it"
            )
    return names


def _may_have_any(model: Path) -> bool:
    with model.open("rb") as file:
        if not model.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"location") >= 0


def _tensors(graph: Any, functions: Any = ()) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in [*graph.node, *(node for function in functions for node in function.node)]:
        yield from _of_node(node)


def _of_node(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _tensors(graph)


def _location(tensor: Any) -> list[str]:
    return [entry.value for entry in tensor.external_data if entry.key == "location"]
