"""Values of a user's YAML file, read from nodes that know their lines: words, lists, tables, numbers, choices.

A node holds text, a list or a table (`yaml_tree.py` makes them): its reader knows which type it needs. Each reader raises YamlError, one sentence with
the line. Not pydantic: importing it takes 75 ms and 21 MB, in a collector that stays below 200 MB, and it knows no lines.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

MAX_TEXT = 200
MAX_VALUE = 1e300
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")

YamlValue: TypeAlias = "str | list[YamlNode] | dict[str, YamlNode]"


class YamlNode(NamedTuple):
    """`line` counts from 1. `empty` is a value that is not there: `title:`."""

    line: int
    value: YamlValue
    empty: bool = False


class YamlError(ValueError):
    """One sentence that begins with the line, counted from 1: `line 7: a key is a word`. `key` is the one whose value is wrong or missing, if one is."""

    def __init__(self, line: int, what: str, key: str = "") -> None:
        super().__init__(f"line {line}: {what}")
        self.line, self.what, self.key = line, what, key


Read: TypeAlias = Callable[[YamlNode], Any]


def table_of(node: YamlNode, what: str, example: str) -> dict[str, YamlNode]:
    """`example` is a line of such a table: `title: GPUs`."""
    if not isinstance(node.value, dict):
        raise YamlError(node.line, f"{what} is a table of lines such as `{example}`")
    return node.value


def only(table: Mapping[str, YamlNode], known: Iterable[str], what: str) -> None:
    """Refuses a key that is none of these."""
    names = list(known)
    for key, value in table.items():
        if key not in names:
            raise YamlError(value.line, f"{what} has no key {key[:80]!r}{meant(key, names)}")


def needed(table: Mapping[str, YamlNode], key: str, node: YamlNode, what: str) -> YamlNode:
    if key not in table or table[key].empty:
        raise YamlError(node.line, f"{what} needs {key}", key)
    return table[key]


def items_of(node: YamlNode, most: int, what: str) -> list[YamlNode]:
    if not isinstance(node.value, list):
        raise YamlError(node.line, f"{what} is a list: each entry begins with a dash")
    if len(node.value) > most:
        raise YamlError(node.value[most].line, f"{what} has at most {most:,} entries")
    return node.value


def text_of(node: YamlNode, most: int = MAX_TEXT) -> str:
    if not isinstance(node.value, str):
        raise YamlError(node.line, "this is text, not a list or a table")
    if len(node.value) > most:
        raise YamlError(node.line, f"this has at most {most:,} characters")
    return node.value


def words_of(most: int, longest: int = MAX_TEXT) -> Callable[[YamlNode], tuple[str, ...]]:
    """A word, or a list of words."""

    def read(node: YamlNode) -> tuple[str, ...]:
        items = [node] if isinstance(node.value, str) else items_of(node, most, "this list")
        return tuple(text_of(item, longest) for item in items)

    return read


def number_of(node: YamlNode, least: float = -MAX_VALUE, most: float = MAX_VALUE) -> float:
    """Finite."""
    text = text_of(node)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_VALUE or "_" in text:
        raise YamlError(node.line, f"{text[:40]!r} is not a number")
    if not least <= value <= most:
        raise YamlError(node.line, f"{text[:40]!r} is not a number from {least:g} to {most:g}")
    return value


def whole_of(least: int, most: int) -> Callable[[YamlNode], int]:
    def read(node: YamlNode) -> int:
        text = text_of(node)
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise YamlError(node.line, f"{text[:40]!r} is not a whole number from {least} to {most:,}")
        return int(text)

    return read


def flag_of(node: YamlNode) -> bool:
    text = text_of(node).strip().lower()
    if text not in (*TRUE, *FALSE):
        raise YamlError(node.line, f"{text[:40]!r} is neither true nor false")
    return text in TRUE


def among(allowed: Iterable[str]) -> Read:
    """One of these words."""
    known = tuple(allowed)

    def read(node: YamlNode) -> str:
        text = text_of(node).strip()
        if text not in known:
            raise YamlError(node.line, f"{text[:40]!r} is not one of {', '.join(known)}{meant(text, known)}")
        return text

    return read


def meant(word: str, known: Iterable[str]) -> str:
    """`"; did you mean colour?"`; "" where nothing is like it."""
    near = difflib.get_close_matches(word[:80], list(known), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""
