"""JSON of any answer, with arrays of any layout, odd strings and large numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from ..auth.viewing import for_viewer

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
LEAST_INT, MOST_INT = -(2**63), 2**64 - 1
MOST_DEPTH = 200  # orjson refuses more than 254 levels
TOO_DEEP = "..."


def encode(value: object) -> bytes:
    """UTF-8. A NaN that is not one of `answer.numbers` stands for a missing number and becomes null.

    Lone surrogates become U+FFFD, integers of more than 64 bits strings, and deeper nesting than 200 levels "...". A viewer's answer
    lacks what is not for viewers.
    """
    value = for_viewer(value)
    try:
        return orjson.dumps(value, _plain, OPTIONS)
    except TypeError:  # rare, so that only such an answer pays for the walk
        return orjson.dumps(_cleaned(value, MOST_DEPTH), _plain, OPTIONS)


def _plain(value: object) -> object:
    """Values that orjson does not accept: strided arrays, arrays and numbers of other types, named tuples."""
    if isinstance(value, np.ndarray):
        usual = value.dtype.isnative and value.dtype.kind in "iufb" and value.dtype.itemsize <= 8
        return np.ascontiguousarray(value) if usual and not value.flags.c_contiguous else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return list(value)
    return str(value)


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not LEAST_INT <= value <= MOST_INT:
        return str(value)
    if isinstance(value, np.ndarray) and not value.dtype.isnative:  # which orjson does not hand to `_plain`
        return value.tolist()
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {_cleaned(key, depth - 1): _cleaned(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item, depth - 1) for item in value]
    return value
