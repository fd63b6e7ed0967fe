"""Values of a board's file: each is read from a node and written as plain data."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from collectors import amounts

from .errors import BoardError
from .yaml_tree import YamlNode

MOST_TEXT, MOST_LONG_TEXT = 200, 10_000
MOST_VALUE = 1e300
MOST_WINDOW_D = 10_000
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
SMOOTH = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d|steps?)")

Read: TypeAlias = Callable[[YamlNode], Any]
Write: TypeAlias = Callable[[Any], Any]


class BoardField(NamedTuple):
    """A key of a table in the file, of the same name as the attribute of its record."""

    key: str
    read: Read
    write: Write
    help: str


def same(value: Any) -> Any:
    return value


def listed(values: Any) -> Any:
    return list(values)


def read_table(node: YamlNode, fields: Mapping[str, BoardField], what: str) -> dict[str, Any]:
    """By key. Raises BoardError for a key that is none of these."""
    table = table_of(node, what)
    for key, value in table.items():
        if key not in fields:
            raise BoardError(value.line, f"{what} has no key {key[:80]!r}{meant(key, fields)}")
    return {key: fields[key].read(value) for key, value in table.items() if not value.empty}


def table_of(node: YamlNode, what: str) -> dict[str, YamlNode]:
    if not isinstance(node.value, dict):
        raise BoardError(node.line, f"{what} is a table of lines such as `title: GPUs`")
    return node.value


def items_of(node: YamlNode, most: int, what: str) -> list[YamlNode]:
    if not isinstance(node.value, list):
        raise BoardError(node.line, f"{what} is a list: each begins with a dash")
    if len(node.value) > most:
        raise BoardError(node.value[most].line, f"{what} has at most {most}")
    return node.value


def text_of(node: YamlNode, most: int = MOST_TEXT) -> str:
    if not isinstance(node.value, str):
        raise BoardError(node.line, "this is text, not a list or a table")
    if len(node.value) > most:
        raise BoardError(node.line, f"this has at most {most:,} characters")
    return node.value


def long_text_of(node: YamlNode) -> str:
    return text_of(node, MOST_LONG_TEXT)


def words_of(most: int) -> Read:
    """A word, or a list of words."""

    def read(node: YamlNode) -> tuple[str, ...]:
        items = [node] if isinstance(node.value, str) else items_of(node, most, "this list")
        return tuple(text_of(item) for item in items)

    return read


def number_of(node: YamlNode) -> float:
    """Finite. Whole numbers come back as such, so that 4 is written as 4."""
    text = text_of(node)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MOST_VALUE or "_" in text:
        raise BoardError(node.line, f"{text[:40]!r} is no number")
    return value


def whole_of(least: int, most: int) -> Read:
    def read(node: YamlNode) -> int:
        text = text_of(node)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise BoardError(node.line, f"{text[:40]!r} is no whole number from {least} to {most:,}")
        return int(text)

    return read


def flag_of(node: YamlNode) -> bool:
    text = text_of(node).lower()
    if text not in (*TRUE, *FALSE):
        raise BoardError(node.line, f"{text[:40]!r} is neither true nor false")
    return text in TRUE


def among(allowed: Iterable[str]) -> Read:
    known = tuple(allowed)

    def read(node: YamlNode) -> str:
        text = text_of(node)
        if text not in known:
            raise BoardError(node.line, f"{text[:40]!r} is none of {', '.join(known)}{meant(text, known)}")
        return text

    return read


def window_of(node: YamlNode) -> str:
    """`"15 min"` or `"all"`."""
    text = text_of(node)
    if text != "all" and seconds_of(node, text) > MOST_WINDOW_D * amounts.SECONDS["d"]:
        raise BoardError(node.line, f"a window has at most {MOST_WINDOW_D:,} d; all is the shown run from its start")
    return text


def seconds_of(node: YamlNode, text: str) -> float:
    try:
        return amounts.seconds(text)
    except (argparse.ArgumentTypeError, OverflowError):
        raise BoardError(node.line, f"{text[:40]!r} is no duration such as 15 min, and not all") from None


def smooth_of(node: YamlNode) -> str:
    text = text_of(node)
    found = SMOOTH.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise BoardError(node.line, f"{text[:40]!r} is no half-life such as 10 s or 20 steps")
    return text


def plain_number(value: float) -> int | float:
    """`4.0 -> 4`"""
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def meant(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(word[:80], list(known), 1, cutoff)
    return f"; is it {close[0]}?" if close else ""
