"""Requests into a batch, and a batch's outputs into answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...artifact.manifest import TensorSpec
from ...errors import CannotRun
from ...runtimes.session import check_inputs
from .pending import PendingRequest, TensorMap
from .refusal import RefusalKind, ServingRefusal, bad

MOST_ANSWER_BYTES = 64 << 20


class RowLayout:
    """Of a model: whether the first dimension of all inputs and outputs is free and so may hold the rows of many requests."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        specs = (*inputs, *outputs)
        self.joins = bool(inputs) and all(spec.shape and isinstance(spec.shape[0], str) for spec in specs)
        self._row_bytes = sum(_bytes(spec, {spec.shape[0]: 1}) for spec in outputs) if self.joins else 0
        self._is_fixed = self.joins and not any(isinstance(size, str) for spec in outputs for size in spec.shape[1:])

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
        size = number * self._row_bytes if self._is_fixed else self._answer_bytes(inputs)
        if size > MOST_ANSWER_BYTES:
            why = f"the answer would have {size >> 20} MiB, and the limit is {MOST_ANSWER_BYTES >> 20} MiB; send fewer or shorter rows at a time"
            raise ServingRefusal(RefusalKind.LARGE, why)
        return number, tuple(inputs[spec.name].shape[1:] for spec in self.inputs)

    def _answer_bytes(self, inputs: TensorMap) -> int:
        """As far as the sizes that inputs and outputs share say it: a lower bound."""
        sizes: dict[int | str, int] = {}
        for spec in self.inputs:
            sizes.update(zip(spec.shape, inputs[spec.name].shape, strict=True))
        return sum(_bytes(spec, sizes) for spec in self.outputs)

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


def _bytes(spec: TensorSpec, sizes: Mapping[int | str, int]) -> int:
    """Sizes that are not known count as 1."""
    import numpy as np

    item = np.dtype(spec.dtype).itemsize if spec.dtype != "str" else 1
    return item * math.prod(size if isinstance(size, int) else sizes.get(size, 1) for size in spec.shape)


def own_arrays(inputs: TensorMap) -> TensorMap:
    """That may be written: what came as bytes may not."""
    return {name: value if value.flags.writeable else value.copy() for name, value in inputs.items()}


def glued(parts: Sequence[TensorMap]) -> TensorMap:
    """Outputs of batches, in their order, as those of one."""
    import numpy as np

    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def repeated(inputs: TensorMap, rows: int) -> TensorMap:
    """The first row of each input, `rows` times."""
    import numpy as np

    return {name: np.repeat(value[:1], rows, axis=0) for name, value in inputs.items()}
