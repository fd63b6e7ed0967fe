"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CannotRun, needed
from .session import TensorSpec, check_inputs

if TYPE_CHECKING:
    import numpy as np

DTYPES = {"float": "float32", "double": "float64", "string": "str"}  # where ONNX Runtime's word is not numpy's
QUIET = 4  # fatal errors only: what fails is raised as well
REASON_CHARS = 200


def precisions(own: str) -> tuple[str, ...]:
    """It computes as the file says."""
    return (own,)


class OnnxSession:
    """Raises CannotRun for a file that it does not take."""

    def __init__(self, model: Path, precision: str, threads: int) -> None:
        runtime = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = QUIET
        try:
            self._session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no base of their own
            raise CannotRun(
                f"ONNX Runtime does not take {model} ({reason_of(error)}); export it again, or update ONNX Runtime"
            ) from error
        self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value) for value in self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        check_inputs(inputs, self.inputs)
        try:
            return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))
        except Exception as error:
            raise CannotRun(
                f"ONNX Runtime cannot run the model on these inputs ({reason_of(error)}); look at their shapes and values"
            ) from error


def reason_of(error: Exception) -> str:
    """Of a message such as `[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from x failed:...` the last part, in one line."""
    text = " ".join(str(error).split())
    return text.removeprefix("[ONNXRuntimeError] : ")[:REASON_CHARS] or type(error).__name__


def _spec(value: Any) -> TensorSpec:
    word = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(
        size if isinstance(size, int) else str(size or f"free{place}") for place, size in enumerate(value.shape)
    )
    return TensorSpec(value.name, DTYPES.get(word, word), shape)
