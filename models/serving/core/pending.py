"""A request that waits for its batch."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np

TensorMap: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
NEVER_S = float("inf")


class ModelAnswer(NamedTuple):
    """`version` is the one that computed it; seconds of the request alone, but for `infer_s`, which its batch shared."""

    outputs: TensorMap
    version: str
    queue_s: float
    batch_s: float
    infer_s: float
    batch_rows: int


class PendingRequest:
    """`rows`: of its inputs' first dimension. `key`: requests of one key fit into one batch. A future that is done is of a client that is gone."""

    __slots__ = ("arrived_s", "bytes", "deadline_s", "future", "inputs", "key", "rows")

    def __init__(
        self,
        inputs: TensorMap,
        rows: int,
        key: object,
        arrived_s: float,
        deadline_s: float,
        future: Future[ModelAnswer],
    ) -> None:
        self.inputs, self.rows, self.key = inputs, rows, key
        self.arrived_s, self.deadline_s, self.future = arrived_s, deadline_s, future  # of time.monotonic()
        self.bytes = sum(value.nbytes for value in inputs.values())
