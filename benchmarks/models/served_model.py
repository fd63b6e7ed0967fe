"""Models of a wanted length of time, as artifacts."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.artifact import Artifact, ModelManifest, write

WIDTH, SOME_LAYERS = 32, 500


def time_of(artifact: Artifact) -> float:
    session, item = artifact.session(), {"x": np.ones((1, 4), np.float32)}
    spent_s = []
    for _ in range(20):
        begun_s = time.perf_counter()
        session.run(item)
        spent_s.append(time.perf_counter() - begun_s)
    return statistics.median(spent_s)


def small_model(folder: Path) -> Artifact:
    return made(folder, 0)


def model_of(folder: Path, seconds: float) -> Artifact:
    """So many layers that a row takes about so long."""
    layer_s = (time_of(made(folder.with_name("some"), SOME_LAYERS)) - time_of(made(folder.with_name("none"), 0))) / SOME_LAYERS
    return made(folder, max(1, round(seconds / layer_s)))


def made(folder: Path, layers: int) -> Artifact:
    """`y` [batch, 3] of `x` [batch, 4], through layers of one rotation: small ones, whose time is that of a call rather than of its rows."""
    weights: dict[str, Any] = {"last": np.arange(12, dtype=np.float32).reshape(4, 3) / 10}
    nodes, last = [], "x"
    if layers:
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
        weights = {"first": np.ones((4, WIDTH), np.float32), "inner": rotation, "last": np.ones((WIDTH, 3), np.float32)}
        nodes, last = [helper.make_node("MatMul", ["x", "first"], ["h"])], "h"
    for number in range(layers):
        nodes.append(helper.make_node("MatMul", [last, "inner"], [f"h{number}"]))
        last = f"h{number}"
    nodes.append(helper.make_node("MatMul", [last, "last"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    about = ModelManifest("bench", "test", "MIT", "benchmarks/models/serving.py")
    return write(folder, model.SerializeToString(), about, {"x": np.ones((2, 4), np.float32)})
