"""A YAML text as a tree of words that know their lines. Neither anchors, tags nor merges mean anything: nothing grows, nothing is made.

All values are text, so that `title: no` is the word and not a falsehood: who asks knows the type of each key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from ..user_files.yaml_file import MOST_BYTES, PARSER
from .errors import BoardError

MOST_DEPTH = 12
MOST_NODES = 20_000
HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # which no file of UTF-8 can hold

YamlValue: TypeAlias = "str | list[YamlNode] | dict[str, YamlNode]"


@dataclass(frozen=True)
class YamlNode:
    """`line` counts from 1. `empty` is a value that is not there: `title:`."""

    line: int
    value: YamlValue
    empty: bool = False


def tree_of(text: str) -> YamlNode:
    """An empty text is an empty table. Raises BoardError."""
    if HALF_CHARACTER.search(text):
        raise BoardError(1, "it is not UTF-8")
    if len(text.encode()) > MOST_BYTES:
        raise BoardError(1, f"a board has at most {MOST_BYTES >> 10} KiB")
    try:
        return _document(yaml.parse(text, Loader=PARSER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        raise BoardError(mark.line + 1 if mark else 1, f"it is not YAML: {what}") from None


def _document(events: Iterator[yaml.Event]) -> YamlNode:
    """Built without recursion, however deep the text is."""
    root: YamlNode | None = None
    open_nodes: list[YamlNode] = []
    keys: list[str | None] = []
    nodes = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise BoardError(line, "a board has no aliases (*name)")
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            open_nodes.pop()
            keys.pop()
            continue
        if not isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise BoardError(line, "a board is one document; a second one begins here")
            continue
        if event.anchor is not None:
            raise BoardError(line, "a board has no anchors (&name)")
        nodes += 1
        if nodes > MOST_NODES or len(open_nodes) >= MOST_DEPTH:
            raise BoardError(line, "this is more than a board can hold")
        if open_nodes and isinstance(open_nodes[-1].value, dict) and keys[-1] is None:
            keys[-1] = _key(event, line, open_nodes[-1].value)
            continue
        node = _node(event, line)
        if not open_nodes:
            root = node
        else:
            _put(open_nodes[-1], keys, node)
        if not isinstance(event, yaml.ScalarEvent):
            open_nodes.append(node)
            keys.append(None)
    return root if root is not None and not root.empty else YamlNode(1, {})


def _node(event: yaml.NodeEvent, line: int) -> YamlNode:
    if isinstance(event, yaml.ScalarEvent):
        return YamlNode(line, event.value, empty=event.value == "" and event.style in (None, ""))
    return YamlNode(line, {} if isinstance(event, yaml.MappingStartEvent) else [])


def _key(event: yaml.NodeEvent, line: int, table: dict[str, YamlNode]) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise BoardError(line, "a key is a word")
    if event.value in table:
        raise BoardError(line, f"{event.value[:80]} is there twice")
    return str(event.value)


def _put(parent: YamlNode, keys: list[str | None], node: YamlNode) -> None:
    if isinstance(parent.value, dict):
        key = keys[-1]
        assert key is not None
        parent.value[key] = node
        keys[-1] = None
    else:
        assert isinstance(parent.value, list)
        parent.value.append(node)
