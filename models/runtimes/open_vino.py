"""OpenVINO on the CPU, where it is installed: it takes the same ONNX file, also in bfloat16 where the processor has that."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CannotRun, needed
from .session import TensorSpec, check_inputs

if TYPE_CHECKING:
    import numpy as np

HINTS = {"bf16": "bf16"}  # of the computation; anything else: f32, beside what the file has in int8
DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "f64": "float64",
    "i64": "int64",
    "i32": "int32",
    "u8": "uint8",
    "i8": "int8",
    "boolean": "bool",
}
DTYPES |= {"string": "str"}
REASON_CHARS = 200


def precisions(own: str) -> tuple[str, ...]:
    """The file's own, and bfloat16 where the processor has it."""
    if own != "fp32" or "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return (own,)
    return (own, "bf16")


@cache
def _core() -> Any:
    return needed("openvino").Core()


class OpenVinoSession:
    """Raises CannotRun for a file that it does not take."""

    def __init__(self, model: Path, precision: str, threads: int) -> None:
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS.get(precision, "f32"),
            "ENABLE_CPU_PINNING": False,
        }
        core = _core()
        try:
            compiled = core.compile_model(core.read_model(str(model)), "CPU", settings)
        except Exception as error:  # RuntimeError for all
            reason = " ".join(str(error).split())[:REASON_CHARS]
            raise CannotRun(f"OpenVINO does not take {model} ({reason}); use ONNX Runtime") from error
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)
        self._request, self._ports = compiled.create_infer_request(), list(compiled.outputs)

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        check_inputs(inputs, self.inputs)
        try:
            found = self._request.infer(dict(inputs))
        except Exception as error:
            reason = " ".join(str(error).split())[:REASON_CHARS]
            raise CannotRun(
                f"OpenVINO cannot run the model on these inputs ({reason}); look at their shapes and values"
            ) from error
        return {spec.name: found[port].copy() for spec, port in zip(self.outputs, self._ports, strict=True)}


def _spec(port: Any) -> TensorSpec:
    shape = tuple(
        f"free{place}" if size.is_dynamic else size.get_length() for place, size in enumerate(port.get_partial_shape())
    )
    return TensorSpec(port.get_any_name(), DTYPES.get(port.get_element_type().get_type_name(), "?"), shape)
