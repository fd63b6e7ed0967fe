"""Shortens any answer to JSON of at most 4,000 bytes, without secrets, and says what was left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from collectors.redaction import LEFT_OUT, is_secret, redacted

MOST_BYTES = 4000
HEAD_BYTES, ROW_BYTES = 1600, 1000  # of them, for what stands above the rows, and for a row
MOST_FIELDS = 24  # above the rows, and columns
LENGTHS = (300, 120, 40, 8)  # characters of a text: the first with which an answer fits
MOST_ITEMS, MOST_DEPTH = 40, 6  # of a value within a cell
SIGNIFICANT = 6  # digits of a number
READ = 20_000  # characters of a text that are looked at


def text(
    head: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Sequence[Any]], more: str, *, newest: bool = False
) -> str:
    """`more` is how to ask for what is left out; `newest`: the last rows are kept, not the first."""
    about = _shortest(partial(_head, head), HEAD_BYTES)
    answer = {**about, "columns": list(columns[:MOST_FIELDS])}
    kept: list[list[Any]] = []
    room = MOST_BYTES - _size({**answer, "rows": [], "left_out": _left_out(len(rows), len(rows), more)})
    for row in reversed(rows) if newest else rows:
        cells = _shortest(partial(_row, row, columns), ROW_BYTES)
        room -= _size(cells) + len(", ")
        if room < 0:
            break
        kept.append(cells)
    answer["rows"] = kept[::-1] if newest else kept
    if len(kept) < len(rows):
        answer["left_out"] = _left_out(len(rows) - len(kept), len(rows), more)
    return _encoded(answer)


def _shortest(make: Callable[[int], Any], most_bytes: int) -> Any:
    """With the longest texts that fit."""
    for length in LENGTHS:
        found = make(length)
        if _size(found) <= most_bytes:
            break
    return found


def sentence(error: object) -> str:
    """One line of an error, small and without secrets."""
    return _cut(redacted(" ".join(str(error)[:READ].split())), LENGTHS[0])


def iso(time_s: object) -> str | None:
    """`1764000000.5 -> "2025-11-24T16:00:00.500Z"`; None where it is no time."""
    if not isinstance(time_s, int | float) or not math.isfinite(time_s):
        return None
    try:
        return datetime.fromtimestamp(round(time_s, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def number(value: float) -> int | float | str:
    """Six significant digits, a time in full to the millisecond; `"NaN"`, `"Infinity"` as the API has them."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if abs(value) < 2**53 and value == int(value):
        return int(value)
    return round(value, 3) if 1e8 < abs(value) < 1e11 else float(f"{value:.{SIGNIFICANT}g}")


def _left_out(count: int, total: int, more: str) -> str:
    return f"{count} of {total} rows; {more}"


def _head(head: Mapping[str, Any], length: int) -> dict[str, Any]:
    return {
        name: _value(head[name], name, length)
        for name in list(head)[:MOST_FIELDS]
        if head[name] is not None and head[name] != ""
    }


def _row(row: Sequence[Any], columns: Sequence[str], length: int) -> list[Any]:
    return [_value(value, name, length) for name, value in zip(columns[:MOST_FIELDS], row, strict=False)]


def _value(value: Any, name: str, length: int) -> Any:
    """What is not a number or a truth becomes text, which is cut after secrets were left out."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, float):
        return number(value)
    if is_secret(name):
        return LEFT_OUT
    plain = (
        value[:READ]
        if isinstance(value, str)
        else json.dumps(_without_secrets(value, MOST_DEPTH), ensure_ascii=False, default=str)
    )
    return _cut(redacted(plain), length)


def _without_secrets(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redacted(value[:READ])
    if isinstance(value, Mapping | list | tuple) and not depth:
        return "..."
    if isinstance(value, Mapping):
        kept = list(value.items())[:MOST_ITEMS]
        return {
            str(name)[:READ]: LEFT_OUT if is_secret(str(name)) else _without_secrets(item, depth - 1)
            for name, item in kept
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item, depth - 1) for item in value[:MOST_ITEMS]]
    return number(value) if isinstance(value, float) else value


def _cut(plain: str, length: int) -> str:
    plain = plain.encode("utf-8", "replace").decode()
    return plain if len(plain) <= length + length // 4 else f"{plain[:length]}... ({len(plain)} characters)"


def _size(value: object) -> int:
    return len(_encoded(value).encode())


def _encoded(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
