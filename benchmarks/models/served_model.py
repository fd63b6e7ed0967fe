"""Models of a wanted length of time, as artifacts."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.artifact import Artifact, ModelManifest, write

WIDTH, FLAT, SOME_LAYERS = 32, 8, 500  # of a layer: 32 rows take three times as long as one, or hardly longer


def time_of(artifact: Artifact, rows: int = 1) -> float:
    return statistics.median(times_of(artifact, rows, 20))


def times_of(artifact: Artifact, rows: int, calls: int) -> list[float]:
    """One after the other, in seconds."""
    session, item, found = artifact.session(), {"x": np.ones((rows, 4), np.float32)}, []
    for _ in range(calls):
        begun_s = time.perf_counter()
        session.run(item)
        found.append(time.perf_counter() - begun_s)
    return found


def free_latencies_s(
    times_s: Mapping[int, float], due_s: Iterable[float], shares: Iterable[float] = (1.0,)
) -> list[float]:
    """Of a server that costs nothing: each batch takes all that waits, up to the largest, and only the model's time. Sorted.

    `times_s` of a batch by its rows; between two of them along a line. `due_s` are when the requests are, in order. `shares` of its time that
    batches take, one after the other and over again.
    """
    sizes, share = sorted(times_s), cycle(shares)
    queue, free_s, found = deque(due_s), 0.0, list[float]()
    while queue:
        free_s = max(free_s, queue[0])
        due = [queue.popleft()]
        while queue and queue[0] <= free_s and len(due) < sizes[-1]:
            due.append(queue.popleft())
        free_s += float(np.interp(len(due), sizes, [times_s[size] for size in sizes])) * next(share)
        found += [free_s - each for each in due]
    return sorted(found)


def small_model(folder: Path) -> Artifact:
    return made(folder, 0)


def model_of(folder: Path, seconds: float, width: int = WIDTH) -> Artifact:
    """So many layers that a row takes about so long."""
    some, none = (made(folder.with_name(f"{folder.name}-{layers}"), layers, width) for layers in (SOME_LAYERS, 0))
    return made(folder, max(1, round(seconds / ((time_of(some) - time_of(none)) / SOME_LAYERS))), width)


def made(folder: Path, layers: int, width: int = WIDTH) -> Artifact:
    """`y` [batch, 3] of `x` [batch, 4], through layers of one rotation: small ones, whose time is that of a call rather than of its rows."""
    weights: dict[str, Any] = {"last": np.arange(12, dtype=np.float32).reshape(4, 3) / 10}
    nodes, last = [], "x"
    if layers:
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(width, width)))[0].astype(np.float32)
        weights = {"first": np.ones((4, width), np.float32), "inner": rotation, "last": np.ones((width, 3), np.float32)}
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
