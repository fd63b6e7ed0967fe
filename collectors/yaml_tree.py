"""A YAML text as a tree of words that know their lines. Neither anchors, tags nor merges mean anything: nothing grows, nothing is made.

All values are text, so that `title: no` is the word and not a falsehood: who asks knows the type of each key.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from access.files import MAX_BYTES, bytes_of

from .yaml_values import YamlError, YamlNode

MAX_DEPTH = 12
MAX_NODES = 20_000
HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # which no file of UTF-8 can hold

PARSER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml, where PyYAML was built with it


class MalformedFile(ValueError):
    """The text is one sentence with the file, the line and the remedy."""


def malformed(path: Path, why: str) -> MalformedFile:
    return MalformedFile(f"{path}: {why}; correct or delete it")


def read_tree(path: Path, most_bytes: int = MAX_BYTES) -> YamlNode:
    """That of a file, or an empty table where there is none. About 0.1 ms; never waits, whatever lies there. Raises MalformedFile."""
    try:
        return tree_of(bytes_of(path, most=most_bytes).decode("utf-8-sig"), path.name, most_bytes)
    except FileNotFoundError:
        return YamlNode(1, {})
    except (OSError, ValueError) as error:
        raise malformed(path, why_unread(error)) from None


def why_unread(error: OSError | ValueError) -> str:
    """What an error of reading a file, or of its text, says about it: `it is a link`."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, OSError):
        return "it is a link" if error.errno == errno.ELOOP else f"it cannot be read ({error.strerror})"
    return str(error) if isinstance(error, YamlError) else f"it {error}"


def plain(node: YamlNode) -> Any:
    """Words, lists and tables without their lines."""
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    return [plain(value) for value in node.value] if isinstance(node.value, list) else node.value


def tree_of(text: str, noun: str = "a file", most_bytes: int = MAX_BYTES, most_nodes: int = MAX_NODES) -> YamlNode:
    """`noun` is what the text is. An empty one is an empty table. Raises YamlError."""
    if HALF_CHARACTER.search(text):
        raise YamlError(1, "it is not UTF-8")
    if len(text.encode()) > most_bytes:
        raise YamlError(1, f"{noun} has at most {most_bytes >> 10} KiB")
    try:
        return _document(yaml.parse(text, Loader=PARSER), noun, most_nodes)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        raise YamlError(mark.line + 1 if mark else 1, f"it is not YAML: {what}") from None


def _document(events: Iterator[yaml.Event], noun: str, most_nodes: int) -> YamlNode:
    """Built without recursion, however deep the text is."""
    root: YamlNode | None = None
    open_nodes: list[YamlNode] = []
    keys: list[str | None] = []
    nodes = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise YamlError(line, f"{noun} has no aliases (*name)")
        if isinstance(event, yaml.CollectionEndEvent):
            open_nodes.pop()
            keys.pop()
            continue
        if not isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise YamlError(line, f"{noun} is one document; a second one begins here")
            continue
        if event.anchor is not None:
            raise YamlError(line, f"{noun} has no anchors (&name)")
        nodes += 1
        if nodes > most_nodes or len(open_nodes) >= MAX_DEPTH:
            raise YamlError(line, f"this is more than {noun} can hold")
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
        raise YamlError(line, "a key is a word")
    if event.value in table:
        raise YamlError(line, f"{event.value[:80]} is there twice")
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
