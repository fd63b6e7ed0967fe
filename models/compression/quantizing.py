"""Static int8 by ONNX Runtime's quantizer: weights int8 a channel, activations uint8, ranges from calibration images."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import CannotExport, ModelsError
from ..extras import needed
from ..quiet import quietly
from ..runtimes.onnx_runtime import reason_of

FLAGS = Path("/proc/cpuinfo")
DOT_PRODUCTS = (
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimddp",
)  # of bytes into 32 bits, without a sum of 16 bits in between
TOLERANCE = 0.05  # of golden outputs: int8 sums are exact, but layers that stay in fp32 are not alike on all processors


def quantize(model: Path, items: Sequence[dict[str, Any]]) -> bytes:
    """The int8 form of an ONNX file, calibrated with `items`: inputs by name, a batch each. Takes 1 to 60 s.

    On a processor without dot products of bytes, weights have seven bits, since sums of 16 bits would overflow there.
    Raises CannotExport where the quantizer does not take the model, ModelsError on a full disk.
    """
    quantization = needed("onnxruntime.quantization")
    needed("onnx")
    try:
        with tempfile.TemporaryDirectory() as folder, quietly():
            prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
            needed("onnxruntime.quantization.shape_inference").quant_pre_process(
                str(model), str(prepared), skip_symbolic_shape=True
            )
            quantization.quantize_static(
                str(prepared),
                str(made),
                _reader(quantization, items),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=not has_dot_products(),
            )
            return made.read_bytes()
    except OSError as error:
        raise ModelsError(
            f"no room to quantize in {tempfile.gettempdir()} ({error.strerror}); set TMPDIR to a folder with room"
        ) from error
    except Exception as error:  # the quantizer's own, ONNX Runtime's and protobuf's
        raise CannotExport(
            f"{model} cannot be quantized ({reason_of(error)}); compress it without int8: --bits 32"
        ) from error


def has_dot_products(flags: Path = FLAGS) -> bool:
    try:
        text = flags.read_text(errors="replace")
    except OSError:
        return False
    return any(f" {flag}" in text for flag in DOT_PRODUCTS)


def _reader(quantization: Any, items: Sequence[dict[str, Any]]) -> Any:
    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._items = iter(items)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._items, None)

    return Reader()
