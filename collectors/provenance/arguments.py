"""Read a configuration from a command line.

`["python", "train.py", "--lr", "3e-4", "--bf16", "model.depth=12"] -> {"lr": 0.0003, "bf16": True, "model.depth": 12}`
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TypeAlias

from ..process.proc import PYTHON
from ..redaction import LEFT_OUT, is_option

Argument: TypeAlias = "str | int | float | bool | list[Argument] | None"

MOST_FIELDS, MOST_NAME, MOST_TEXT, MOST_ITEMS = (
    300,
    100,
    500,
    64,
)  # fields; characters; characters; values of one option
WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # options of Python itself
ENDS_OPTIONS = ("-m", "-c")  # the word behind it is the program, the rest are its own
NAMED = re.compile(r"(--?|[+~]{0,2})([A-Za-z_][\w./@-]*)=(.*)", re.DOTALL)
INTEGER, NUMBER = (
    re.compile(r"[+-]?\d{1,18}"),
    re.compile(r"[+-]?(\d++(?:\.\d*+)?|\.\d++)(e[+-]?\d{1,3})?", re.IGNORECASE),
)
WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None}


def config_of(words: Sequence[str]) -> dict[str, Argument]:
    """Options and `name=value` of a command line without its secrets; dashes in names become underscores, as argparse does it.

    An option that is repeated has its last value.
    """
    found: dict[str, Argument] = {}
    for name, values in _options(own_words(words)):
        if len(found) >= MOST_FIELDS:
            break
        name = name.replace("-", "_")
        if len(name) <= MOST_NAME and not any(LEFT_OUT in value or len(value) > MOST_TEXT for value in values):
            typed: list[Argument] = [value_of(value) for value in values[:MOST_ITEMS]]
            found[name] = typed if len(typed) > 1 else typed[0] if typed else True
    return found


def own_words(words: Sequence[str]) -> Sequence[str]:
    """The program's own, without Python's and the name of the script."""
    if not words or not PYTHON.match(PurePath(words[0]).name):
        return words[1:]
    place = 1
    while place < len(words) and words[place].startswith("-") and words[place] != "-":
        if words[place] in ENDS_OPTIONS:
            return words[place + 2 :]
        place += 2 if words[place] in WITH_VALUE else 1
    return words[place + 1 :]


def value_of(text: str) -> Argument:
    """`"3e-4" -> 0.0003`, `"true" -> True`, `"adam" -> "adam"`."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if len(text) < 40 and NUMBER.fullmatch(text) else text


def _options(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each with its values; a word that no option is before is left out."""
    name: str | None = None
    values: list[str] = []
    for word in words:
        named = NAMED.fullmatch(word)
        if named is None and not is_option(word):
            values.append(word)
            continue
        if name is not None:
            yield name, values
        name, values = (None, []) if named else (word.lstrip("-"), [])
        if named:
            yield named[2], [named[3]]
    if name is not None:
        yield name, values
