"""The numbers of lines by their place in the template: field 1 of `step # loss #` is 0.25 in `step 7 loss 0.25`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from . import masking


def field_count(template: str) -> int:
    """How many numbers its lines have; a number sign that stands in the lines themselves counts as well, and has no value."""
    return template.count(masking.NUMBER)


def field_values(texts: Iterable[str], field: int) -> NDArray[np.float64]:
    """Of a field, counted from 0; NaN where a line has none, infinite beyond a double. About 0.1 ms a line."""
    return np.array([_value(text, field) for text in texts], np.float64)


def _value(text: str, field: int) -> float:
    spans = masking.number_spans(text)
    if field >= len(spans):
        return math.nan
    start, end = spans[field]
    try:
        return float(text.encode("utf-8", "surrogatepass")[start:end].replace(b",", b""))
    except ValueError:
        return math.nan
