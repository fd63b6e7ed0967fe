"""The numbers of lines by their place in the template: field 1 of `step # loss #` is 0.25 in `step 7 loss 0.25`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import masking

AT_ONCE = 1000  # lines


def field_count(template: str) -> int:
    """How many numbers its lines have; a number sign that stands in the lines themselves counts as well, and has no value."""
    return template.count(masking.NUMBER)


def field_values(texts: Sequence[str], field: int) -> NDArray[np.float64]:
    """Of a field, counted from 0; NaN where a line has none, infinite beyond a double. About 20 us a line."""
    found: list[float] = []
    for at in range(0, len(texts), AT_ONCE):
        some = [text[: masking.MOST_CHARACTERS].replace("\n", " ") for text in texts[at : at + AT_ONCE]]
        found += [_value(text, spans, field) for text, spans in zip(some, masking.number_spans(some), strict=True)]
    return np.array(found, np.float64)


def _value(text: str, spans: Sequence[masking.NumberSpan], field: int) -> float:
    if field >= len(spans):
        return math.nan
    start, end = spans[field]
    try:
        return float(text.encode("utf-8", "surrogatepass")[start:end].replace(b",", b""))
    except ValueError:
        return math.nan
