"""Changes to a YAML file that keep the lines, and with them the comments, of everything that stays the same."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import SequenceMatcher
from typing import Any, TypeAlias

import yaml

from collectors.yaml_tree import PARSER, plain, tree_of

Table: TypeAlias = dict[str, Any]
BLANK_OR_COMMENT = re.compile(r"\s*(?:#.*)?$")


def changed(text: str, name: str, change: Callable[[Table], None], most_bytes: int, most_nodes: int) -> str:
    """The text that says what `change` makes of its data.

    Entries of lists that stay as they are keep their lines, and comments around them stay; those within an entry that changes go. A text in
    braces, and one in which lines cannot be told apart, is written anew without comments. Raises ValueError: it is not YAML as we read it.
    """
    before = data_of(text, name, most_bytes, most_nodes)
    after = copy.deepcopy(before)
    change(after)
    after = {key: value for key, value in after.items() if value != [] or before.get(key) == []}
    spliced = _spliced(text, before, after)
    with suppress(ValueError):
        if data_of(spliced, name, most_bytes, most_nodes) == data_of(_written(after), name, most_bytes, most_nodes):
            return spliced
    return _written(after)


def data_of(text: str, name: str, most_bytes: int, most_nodes: int) -> Table:
    """All values are text. Raises ValueError: it is not YAML, or not a table."""
    found = plain(tree_of(text, name, most_bytes, most_nodes))
    if not isinstance(found, dict):
        raise ValueError(f"line 1: {name} is a table of lines; correct it as YAML first")
    return found


def _spliced(text: str, before: Table, after: Table) -> str:
    lines = text.splitlines()
    root: Any = yaml.compose(text, Loader=PARSER)
    keys = {} if root is None or root.flow_style else {key.value: (key, value) for key, value in root.value}
    next_line = len(lines)
    for name, (key, node) in reversed(keys.items()):
        begin = key.start_mark.line
        end, next_line = _end(lines, begin, next_line), begin
        old, new = before[name], after.get(name)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list) and old and new and not node.flow_style:
            _splice_list(lines, node, end, old, new)
        else:
            lines[begin:end] = _written({name: new}).splitlines() if name in after else []
    more = {name: value for name, value in after.items() if name not in keys}
    if more:
        lines += [*([""] if lines and lines[-1].strip() else []), *_written(more).splitlines()]
    return "".join(f"{line}\n" for line in lines)


def _splice_list(lines: list[str], node: Any, end: int, old: Sequence[Any], new: Sequence[Any]) -> None:
    indent = " " * node.start_mark.column
    begins = [_dash(lines, item.start_mark.line, f"{indent}-") for item in node.value]
    ends = [_end(lines, begin, next_) for begin, next_ in zip(begins, [*begins[1:], end], strict=True)]
    texts = [[json.dumps(row, sort_keys=True) for row in rows] for rows in (old, new)]
    for kind, i1, i2, j1, j2 in reversed(SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_opcodes()):
        if kind == "equal":
            continue
        begin = begins[i1] if i1 < len(begins) else ends[-1]
        made = [f"{indent}{line}" for line in _written(list(new[j1:j2])).splitlines()] if j2 > j1 else []
        lines[begin : ends[i2 - 1] if i2 > i1 else begin] = made


def _dash(lines: Sequence[str], line: int, dash: str) -> int:
    while line > 0 and not lines[line].startswith(dash):
        line -= 1
    return line


def _end(lines: Sequence[str], begin: int, end: int) -> int:
    """Without the comments and the empty lines before what comes next: they belong to that."""
    while end > begin + 1 and BLANK_OR_COMMENT.match(lines[end - 1]):
        end -= 1
    return end


class _Writer(yaml.SafeDumper):
    """Tables in lines, lists of words in brackets."""


def _represented(writer: yaml.SafeDumper, rows: list[Any]) -> Any:
    return writer.represent_sequence("tag:yaml.org,2002:seq", rows, flow_style=not any(isinstance(row, dict) for row in rows))  # fmt: skip


_Writer.add_representer(list, _represented)


def _written(data: Any) -> str:
    typed = _typed(data)
    return yaml.dump(typed, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=10_000) if data else ""


def _typed(data: Any) -> Any:
    """Numbers without quotes, as a user would write them."""
    if isinstance(data, dict):
        return {key: _typed(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_typed(value) for value in data]
    if isinstance(data, str) and re.fullmatch(r"0|[1-9]\d{0,14}", data):
        return int(data)
    return data
