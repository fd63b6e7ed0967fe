"""Accuracy of an exported file with its interval, how much of a teacher's it keeps, and sizes of files.

Shapes: N items, K classes.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..artifact import Artifact
from ..runtimes.session import ModelSession

if TYPE_CHECKING:
    import numpy as np

    from .images import ImageSplits, LabelledImages

Z = 1.959964  # of 95 %
RESAMPLES = 10_000
BATCH = 250


@dataclass(frozen=True)
class ShareFound:
    """A share, or a ratio of two, with its 95 % interval; `items` it was found on."""

    value: float
    lowest: float
    highest: float
    items: int

    def __str__(self) -> str:
        """`88.4 % (87.8 to 89.0)`"""
        return f"{100 * self.value:.1f} % ({100 * self.lowest:.1f} to {100 * self.highest:.1f})"


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


def share(right_N: np.ndarray[Any, Any]) -> ShareFound:
    """Wilson's interval, which holds near 0 and 1 too."""
    number, found = len(right_N), float(right_N.mean())
    middle = (found + Z**2 / (2 * number)) / (1 + Z**2 / number)
    reach = Z / (1 + Z**2 / number) * math.sqrt(found * (1 - found) / number + Z**2 / (4 * number**2))
    return ShareFound(found, middle - reach, middle + reach, number)


def kept(teacher_N: np.ndarray[Any, Any], student_N: np.ndarray[Any, Any]) -> ShareFound:
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
    return ShareFound((cells[0] + cells[2]) / max(cells[0] + cells[1], 1), float(low), float(high), number)


def gzipped(artifact: Artifact) -> int:
    """Bytes of the ONNX file, and of weights beside it, compressed by gzip."""
    return sum(len(gzip.compress(content)) for content in _contents(artifact))


def _contents(artifact: Artifact) -> Iterable[bytes]:
    from ..artifact.external import external_files

    return ((artifact.folder / name).read_bytes() for name in (artifact.model.name, *external_files(artifact.model)))
