"""Small models and images for the tests of the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.artifact import Artifact, ModelManifest, write

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
INPUTS = {"x": np.array([[1, -2, 3, -4], [0.5, 0, 1, 2]], np.float32)}


def toy(weights: np.ndarray[Any, Any] = WEIGHTS) -> bytes:
    """`y = relu(x @ weights)`, with a free batch."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return content


def with_weights_elsewhere(place: str) -> bytes:
    """The same, with its weights in the file `place`."""
    model = onnx.load_from_string(toy())
    (tensor,) = model.graph.initializer
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": place, "offset": "0", "length": str(len(raw))}.items():
        tensor.external_data.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content


def manifest(**fields: Any) -> ModelManifest:
    return ModelManifest(**{"name": "toy", "task": "test", "licence": "MIT", "source": "tests", **fields})


def written(folder: Path, **fields: Any) -> Artifact:
    return write(folder, toy(), manifest(**fields), INPUTS)


def images_file(path: Path, number: int = 2000, side: int = 16, classes: int = 4) -> Path:
    """Bars on noise: the class is where the bar lies. A small network learns it in an epoch or two."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, classes, number)
    images = chance.integers(0, 90, (number, side, side)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        begin = 1 + label * (side // classes)
        image[begin : begin + 2] += 150
    np.savez(path, images=images, labels=labels)
    return path
