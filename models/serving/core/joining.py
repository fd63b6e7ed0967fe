"""Requests into a batch, and a batch's outputs into answers."""

from __future__ import annotations

from collections.abc import Sequence

from ...artifact.manifest import TensorSpec
from ...errors import CannotRun
from ...runtimes.session import check_inputs
from .pending import PendingRequest, TensorMap
from .refusal import bad


class RowLayout:
    """Of a model: whether the first dimension of all inputs and outputs is free and so may hold the rows of many requests."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        specs = (*inputs, *outputs)
        self.joins = bool(inputs) and all(spec.shape and isinstance(spec.shape[0], str) for spec in specs)

    def check(self, inputs: TensorMap) -> tuple[int, object]:
        """Rows and key of a request. Raises ServingRefusal with the inputs that the model takes."""
        try:
            check_inputs(inputs, self.inputs)
        except CannotRun as error:
            raise bad(str(error)) from None
        if not self.joins:
            return 1, None
        rows = {value.shape[0] for value in inputs.values()}
        if len(rows) != 1:
            raise bad(f"the inputs have {' and '.join(map(str, sorted(rows)))} rows; give each the same number")
        (number,) = rows
        if not number:
            raise bad("the inputs have no rows; give at least one")
        return number, tuple(inputs[spec.name].shape[1:] for spec in self.inputs)

    def join(self, requests: Sequence[PendingRequest]) -> TensorMap:
        """Inputs of a batch; of one request its own arrays."""
        import numpy as np

        if len(requests) == 1:
            return requests[0].inputs
        return {name: np.concatenate([request.inputs[name] for request in requests]) for name in requests[0].inputs}

    def part(self, outputs: TensorMap, requests: Sequence[PendingRequest]) -> list[TensorMap] | None:
        """Each request's rows; None where an output has not as many rows as the batch."""
        if len(requests) == 1:
            return [outputs]
        total = sum(request.rows for request in requests)
        if any(not value.shape or value.shape[0] != total for value in outputs.values()):
            return None
        parts, begin = [], 0
        for request in requests:
            parts.append({name: value[begin : begin + request.rows] for name, value in outputs.items()})
            begin += request.rows
        return parts


def repeated(inputs: TensorMap, rows: int) -> TensorMap:
    """The first row of each input, `rows` times."""
    import numpy as np

    return {name: np.repeat(value[:1], rows, axis=0) for name, value in inputs.items()}
