"""What runs an artifact, how long that takes, and which runtime is the fastest of this host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import PACKAGES, CannotRun, ModelsError, is_there
from . import onnx_runtime, open_vino
from .session import ModelSession

# The runtimes by name, and what opens an ONNX file in one of them.

MAX_THREADS = 1_024


class RuntimeRow(NamedTuple):
    module: str  # that must be installed
    precisions: Callable[[str], tuple[str, ...]]  # of the file -> those that it can compute in
    open: Callable[[Path, str, int], ModelSession]  # file, precision, threads


RUNTIMES = {
    "onnxruntime": RuntimeRow("onnxruntime", onnx_runtime.precisions, onnx_runtime.OnnxSession),
    "openvino": RuntimeRow("openvino", open_vino.precisions, open_vino.OpenVinoSession),
}


def installed() -> list[str]:
    """Names of the runtimes that are there; none is imported."""
    return [name for name, row in RUNTIMES.items() if is_there(row.module)]


def open_session(
    model: Path, runtime: str = "onnxruntime", precision: str = "", threads: int = 1, own: str = "fp32"
) -> ModelSession:
    """`own` is the precision of the file, and the default of `precision`.

    Raises ModelsError for a runtime that is unknown or not installed, CannotRun for a file or a precision that it does not take.
    """
    if runtime not in RUNTIMES:
        raise ModelsError(f"there is no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    row = RUNTIMES[runtime]
    if runtime in PACKAGES and not is_there(row.module):
        raise ModelsError(f"{runtime} is not installed; install it with: {PACKAGES[runtime]}, or use onnxruntime")
    if not 1 <= threads <= MAX_THREADS:
        raise ModelsError(f"{threads} threads cannot run a model; give 1 to {MAX_THREADS:,}")
    wanted = precision or own
    if wanted not in row.precisions(own):
        raise CannotRun(
            f"{runtime} runs this model in {' or '.join(row.precisions(own))} on this host, not in {wanted}"
        )
    return row.open(model, wanted, threads)
