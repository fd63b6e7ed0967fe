"""Limits for values behind the parser: UTF-8, 64 bits, finite, not deep, not long. Other values are left out and counted."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

MAX_TIME_S = 1e11  # the year 5138; a later time is one in milliseconds, or none
MAX_STEP = 2**53  # beyond it a step is no longer exact in every reader
MAX_INT = 2**63 - 1
MAX_DIGITS_BITS = 512  # an integer of more bits is not even kept as text
MAX_DEPTH = 16  # of nested objects and lists
MAX_NAME_CHARS = 500
MAX_TEXT_CHARS = 16_384
NON_FINITE = {"nan": math.nan, "infinity": math.inf, "+infinity": math.inf, "-infinity": -math.inf}
NON_FINITE |= {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf}


def as_number(value: object) -> float | None:
    """Numbers, booleans and quoted non-finite values as a float; None for all else, and for integers too large for one."""
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, str):
        return NON_FINITE.get(value.strip().lower())
    return None


def as_time(value: object) -> float | None:
    """Unix seconds, or None for an impossible time."""
    number = as_number(value)
    return number if number is not None and 0.0 <= number < MAX_TIME_S else None


def as_count(value: object, least: int = 0, most: int = 2**31 - 1) -> int | None:
    """`3.0 -> 3`; None unless it is a whole number between the two."""
    number = as_number(value)
    return int(number) if number is not None and least <= number <= most and number == int(number) else None


def escape_control(text: str) -> str:
    """Half a surrogate pair, and NUL, as an escape: `"a\\ud800" -> "a\\\\ud800"`; a store and a page can hold the rest."""
    if "\0" in text:
        text = text.replace("\0", "\\0")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def escape_control_in_path(path: str | os.PathLike[str]) -> str:
    """A file name may hold any bytes: bytes that are not UTF-8 are shown as `caf\\xe9.log`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def name_fault(name: str) -> str:
    """Why this cannot be a series' name; "" where it can."""
    if not name:
        return "has no name"
    if len(name) > MAX_NAME_CHARS:
        return f"has a name of more than {MAX_NAME_CHARS} characters"
    return "" if escape_control(name) == name else "has a name that is not UTF-8 text"


class FieldBudget:
    """Values of an object as they can be kept in so many bytes of JSON; `left_out(name, reason)` is called for all others."""

    def __init__(self, budget_bytes: int, left_out: Callable[[str, str], None]) -> None:
        self._left_bytes = budget_bytes
        self._left_out = left_out

    def fields(self, values: Mapping[str, Any], prefix: str = "", depth: int = 1) -> dict[str, Any]:
        """`{"seed": 2**127, "lr": nan} -> {"seed": "1701...", "lr": "NaN"}`"""
        kept: dict[str, Any] = {}
        for name, value in values.items():
            if len(name) > MAX_NAME_CHARS:
                self._left_out(prefix + name, f"has a name of more than {MAX_NAME_CHARS} characters")
                continue
            name = escape_control(name)
            for fitted in self._fitted(prefix + name, name, value, depth):
                kept[name] = fitted
        return kept

    def _fitted(self, path: str, name: str, value: object, depth: int) -> Iterator[object]:
        """The value, or nothing."""
        if isinstance(value, (dict, list)) and depth >= MAX_DEPTH:
            self._left_out(path, f"is more than {MAX_DEPTH} levels deep")
        elif isinstance(value, dict):
            if self._pays(path, len(name) + 5):
                yield self.fields(value, f"{path}/", depth + 1)
        elif isinstance(value, list):
            if self._pays(path, len(name) + 5):
                yield [number for item in value for number in self._fitted(path, "", item, depth + 1)]
        else:
            scalar = self._scalar(path, value)
            if scalar is not LEFT_OUT and self._pays(path, len(orjson.dumps(scalar)) + len(name) + 4):
                yield scalar

    def _scalar(self, path: str, value: object) -> object:
        if isinstance(value, str):
            if len(value) <= MAX_TEXT_CHARS:
                return escape_control(value)
            self._left_out(path, f"is longer than {MAX_TEXT_CHARS:,} characters")
            return LEFT_OUT
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            if -MAX_INT <= value <= MAX_INT:
                return value
            if value.bit_length() <= MAX_DIGITS_BITS:
                return str(value)
            self._left_out(path, "is too large an integer")
            return LEFT_OUT
        assert isinstance(value, float)
        return (
            value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        )

    def _pays(self, path: str, size: int) -> bool:
        if size > self._left_bytes:
            self._left_out(path, "does not fit any more")
            return False
        self._left_bytes -= size
        return True


LEFT_OUT = object()
