"""Write a board as YAML: what is read from it again is the same board."""

from __future__ import annotations

import yaml

from ..user_files.yaml_file import ODD_BREAK
from .fields import plain_board
from .model import Board

WIDE = 100  # characters of a line, where it can be broken


class _BoardDumper(yaml.SafeDumper):
    """Lists are indented, short tables of words stand in a line, and text of several lines line by line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if ODD_BREAK.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list_node(dumper: yaml.SafeDumper, items: list[object]) -> yaml.SequenceNode:
    short = all(isinstance(item, str | int | float) and len(str(item)) < 30 for item in items) and len(items) <= 4
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


def _table_node(dumper: yaml.SafeDumper, table: dict[object, object]) -> yaml.MappingNode:
    tones = all(not isinstance(key, str) for key in table)
    return dumper.represent_mapping("tag:yaml.org,2002:map", list(table.items()), flow_style=tones)


_BoardDumper.add_representer(str, _text_node)
_BoardDumper.add_representer(list, _list_node)
_BoardDumper.add_representer(dict, _table_node)


def written(board: Board) -> str:
    """YAML text, without what is as usual."""
    return yaml.dump(plain_board(board), Dumper=_BoardDumper, allow_unicode=True, sort_keys=False, width=WIDE)
