"""Any Python value as JSON that every reader accepts: nothing here may end a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 12  # of values within each other; what is deeper is written as its text
MAX_TEXT_CHARS = 16_000
MAX_ITEMS = 10_000  # of one list or mapping
MAX_INT = 2**63 - 1


def readable(value: Any, depth: int = 0) -> Any:
    """`{"seed": 2**127, ("a", 1): nan} -> {"seed": "1701...", "('a', 1)": "NaN"}`"""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -MAX_INT <= value <= MAX_INT else text(value)
    if isinstance(value, float):
        return (
            float(value)
            if math.isfinite(value)
            else "NaN"
            if math.isnan(value)
            else "Infinity"
            if value > 0
            else "-Infinity"
        )
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        return {text(name): readable(item, depth + 1) for name, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < MAX_DEPTH:
        return [readable(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return text(value)


def text(value: object) -> str:
    """`str(value)`, as valid UTF-8 of a bounded length: `"caf\\udce9" -> "caf\\\\udce9"`."""
    try:
        shown = str(value)
    except Exception as error:  # an object's own fault, or too many digits, or too deep
        shown = f"<{type(value).__name__}: {type(error).__name__}>"
    return shown[:MAX_TEXT_CHARS].encode("utf-8", "backslashreplace").decode()


def excerpt(message: str, most: int) -> str:
    """At most `most` characters: a longer message ends with a whole word and an ellipsis."""
    if len(message) <= most:
        return message
    kept = message[: most - 1]
    words, _, rest = message[:most].rpartition(" ")
    return f"{words if len(rest) < most // 2 else kept}…"
