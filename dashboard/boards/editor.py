"""Change a board's text at some places and leave the rest as it stands, comments included.

ruamel.yaml takes 55 ms to load: this module is loaded at the first edit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from .board import MAX_EDITS, MAX_PLACE, BoardEdit, EditPlace
from .files import board_of

MAX_DEPTH, MAX_ITEMS = 8, 2000
WIDE = 4096  # characters: lines stay as they are
PLAIN = re.compile(r"[A-Za-z_/°µ][\w ./()*+^=%°µ-]*(?<! )", re.ASCII)  # else a word stands in quotes
PLAIN_LINES = re.compile(r"(?:[A-Za-z0-9][\x21-\x7e ]*\n)+(?:[A-Za-z0-9][\x21-\x7e ]*)?", re.ASCII)


def edited(text: str, edits: Sequence[BoardEdit]) -> str:
    """The new text, which is a board. Raises ValueError: one sentence."""
    board_of(text)
    if not edits:
        return text
    try:
        yaml = _yaml()
        tree = yaml.load(text)
        if tree is None:
            tree = CommentedMap()
            _adopt_comments(text, tree)
        for edit in edits[:MAX_EDITS]:
            _apply(tree, edit)
        out = io.StringIO()
        yaml.dump(tree, out)
    except (YAMLError, AttributeError, TypeError, KeyError, IndexError, AssertionError, NotImplementedError) as error:
        raise ValueError("this board can only be changed as text: its YAML is written in an unusual way") from error
    found = out.getvalue()
    board_of(found)
    return found


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDE
    yaml.allow_unicode = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _adopt_comments(text: str, tree: CommentedMap) -> None:
    """Of a text that has nothing but comments."""
    kept = "\n".join(
        line.strip().removeprefix("#").strip() for line in text.splitlines() if line.strip().startswith("#")
    )
    if kept:
        tree.yaml_set_start_comment(kept)


def _apply(tree: Any, edit: BoardEdit) -> None:
    """Raises ValueError."""
    if edit.kind == "set":
        parent, last = _parent(tree, edit.place)
        parent[last] = _made(edit.value)
    elif edit.kind == "remove":
        parent, last = _parent(tree, edit.place)
        if isinstance(parent, dict) and last not in parent:
            return
        del parent[last]
    elif edit.kind == "insert":
        parent, last = _parent(tree, edit.place, new=True)
        parent.insert(last, _made(edit.value))
    else:
        parent, last = _parent(tree, edit.place)
        item = parent[last]
        del parent[last]
        target, place = _parent(tree, edit.to, new=True)
        target.insert(place, item)


def _parent(tree: Any, place: EditPlace, *, new: bool = False) -> tuple[Any, str | int]:
    """The table or list that has the place, and its key or index there; a list that is not there is made for a `new` item."""
    if not 0 < len(place) <= MAX_PLACE:
        raise ValueError(f"a place is a list of 1 to {MAX_PLACE} keys and indices, such as rows, 0, title")
    node = tree
    for i, part in enumerate(place[:-1]):
        _check(node, part, place)
        if new and isinstance(node, dict) and node.get(part) is None and isinstance(place[i + 1], int):
            node[part] = CommentedSeq()
        if isinstance(node, dict) and part not in node:
            raise ValueError(f"the board has no {_written(place[: i + 1])}")
        node = node[part]
    _check(node, place[-1], place, end=new)
    return node, place[-1]


def _check(node: Any, part: str | int, place: EditPlace, *, end: bool = False) -> None:
    if isinstance(node, dict) and isinstance(part, str):
        return
    if isinstance(node, list) and isinstance(part, int) and 0 <= part < len(node) + end:
        return
    raise ValueError(f"the board has no {_written(place)}")


def _written(place: EditPlace) -> str:
    return ".".join(str(part)[:80] for part in place)


def _made(value: Any, depth: int = 0) -> Any:
    """As ruamel writes it: tables a line a key, short lists in one line, text of several lines line by line. Raises ValueError."""
    if depth > MAX_DEPTH or (isinstance(value, list | dict) and len(value) > MAX_ITEMS):
        raise ValueError("a value is deeper or longer than any of a board")
    if isinstance(value, dict):
        return CommentedMap({_key(key): _made(item, depth + 1) for key, item in value.items()})
    if isinstance(value, list):
        items = CommentedSeq([_made(item, depth + 1) for item in value])
        if all(isinstance(item, str | int | float) and len(str(item)) < 30 for item in value) and len(value) <= 4:
            items.fa.set_flow_style()
        return items
    if isinstance(value, str):
        return _word(value)
    if isinstance(value, bool | int | float) or value is None:
        return value
    raise ValueError("a value is text, a number, a list or a table")


def _word(text: str) -> str:
    """Without quotes where no YAML means anything else by it."""
    if PLAIN_LINES.fullmatch(text):
        return LiteralScalarString(text)  # type: ignore[no-any-return]
    return text if PLAIN.fullmatch(text) else DoubleQuotedScalarString(text)


def _key(key: object) -> str | int | float:
    """Of a threshold a number, which is written without quotes."""
    text = str(key)
    try:
        number = float(text)
    except ValueError:
        return _word(text)
    return _word(text) if number != number or text != f"{number:g}" else int(number) if number.is_integer() else number
