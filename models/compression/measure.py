"""Accuracy with its interval, and size, of exported and quantized files."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CannotExport, ModelsError, needed, quietly
from ..runtimes.onnx_runtime import reason_of
from ..runtimes.session import ModelSession

if TYPE_CHECKING:
    import numpy as np

    from .data import ImageSplits, LabelledImages


Z = 1.959964  # of 95 %
RESAMPLES = 10_000
BATCH = 250


@dataclass(frozen=True)
class ShareEstimate:
    """A share, or a ratio of two, with its 95 % interval; `items` it was found on."""

    value: float
    lowest: float
    highest: float
    items: int

    def __str__(self) -> str:
        """`88.4 % (87.8 to 89.0)`"""
        return f"{100 * self.value:.1f}% ({100 * self.lowest:.1f} to {100 * self.highest:.1f})"


def answers(session: ModelSession, data: ImageSplits, images: LabelledImages) -> np.ndarray[Any, Any]:
    """classes_N, as the file answers; its first input and first output count."""
    import numpy as np

    name, output = session.inputs[0].name, session.outputs[0].name
    return np.concatenate(
        [
            session.run({name: data.prepared(images_BCHW).numpy()})[output].argmax(1)
            for images_BCHW in images.images_NCHW.split(BATCH)
        ]
    )


def right(session: ModelSession, data: ImageSplits, images: LabelledImages) -> np.ndarray[Any, Any]:
    """right_N: which items the file has right."""
    return answers(session, data, images) == images.classes_N.numpy()


def share(right_N: np.ndarray[Any, Any]) -> ShareEstimate:
    """Wilson's interval, which holds near 0 and 1 too."""
    number, found = len(right_N), float(right_N.mean())
    middle = (found + Z**2 / (2 * number)) / (1 + Z**2 / number)
    reach = Z / (1 + Z**2 / number) * math.sqrt(found * (1 - found) / number + Z**2 / (4 * number**2))
    return ShareEstimate(found, middle - reach, middle + reach, number)


def kept(teacher_N: np.ndarray[Any, Any], student_N: np.ndarray[Any, Any]) -> ShareEstimate:
    """The student's accuracy by the teacher's; the interval by drawing the items anew, with both answers to each."""
    import numpy as np

    number = len(teacher_N)
    cells = [
        int((teacher_N & student_N).sum()),
        int((teacher_N & ~student_N).sum()),
        int((~teacher_N & student_N).sum()),
    ]
    drawn = np.random.default_rng(0).multinomial(number, np.array([*cells, number - sum(cells)]) / number, RESAMPLES)
    of_teacher, of_student = drawn[:, 0] + drawn[:, 1], drawn[:, 0] + drawn[:, 2]
    low, high = np.quantile(of_student / np.maximum(of_teacher, 1), [0.025, 0.975])
    return ShareEstimate((cells[0] + cells[2]) / max(cells[0] + cells[1], 1), float(low), float(high), number)


# Static int8 by ONNX Runtime's quantizer: weights int8 a channel, activations uint8, ranges from calibration images.

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
