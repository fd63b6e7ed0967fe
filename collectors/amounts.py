"""Durations, sizes and numbers as users write them on a command line: `30d`, `20GB`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

NO_SIZE = 0  # of `none`

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]+)", re.IGNORECASE)


def seconds(text: str) -> float:
    """`30d -> 2592000.0`"""
    return _quantity(text, SECONDS, "duration such as 30d")


def size_bytes(text: str) -> int:
    """`20GB -> 20000000000`"""
    return int(_quantity(text, BYTES, "size such as 20GB"))


def size_or_none(text: str) -> int:
    """`20GB -> 20000000000`, `none -> NO_SIZE`"""
    return NO_SIZE if text.strip().lower() == "none" else size_bytes(text)


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def written_seconds(value: float) -> str:
    return f"{value!r}s"


def written_bytes(value: int) -> str:
    return f"{value}B"


def written_size(value: int) -> str:
    return "none" if value == NO_SIZE else written_bytes(value)


def _quantity(text: str, units: Mapping[str, int], what: str) -> float:
    """A positive amount of a unit, in any case. Raises the error whose sentence argparse shows."""
    found = _QUANTITY.fullmatch(text.strip())
    scale = {unit.lower(): value for unit, value in units.items()}.get(found[2].lower()) if found else None
    if found is None or scale is None or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no {what} (units: {', '.join(units)})")
    return float(found[1]) * scale
