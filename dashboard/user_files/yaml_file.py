"""YAML files that users edit beside the dashboard, with invisible characters made visible."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

import yaml

from access.files import write_bytes
from collectors.yaml_tree import malformed, plain, read_tree, tree_of
from collectors.yaml_values import YamlError, YamlNode

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\u2800\u3164\ufeff\uffa0\U000e0000-\U000e0fff]"
)
HIDDEN = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"}  # what no font knows is drawn as a box
OUTER = re.compile(r"^[\s\ufeff]++|(?<![\s\ufeff])[\s\ufeff]++$|[\t\n]++")  # what JavaScript takes for a blank as well


def visible(text: str) -> str:
    """`"a\\u202etxt.exe" -> "a[U+202E]txt.exe"`"""
    return UNSEEN.sub(_spelled, text)


def visible_name(name: str) -> str:
    """With its tabs, line breaks and the blanks at its ends, too, which make it look like another one: `"loss " -> "loss[U+0020]"`."""
    return visible(OUTER.sub(_spelled, name))


def is_seen(name: str) -> bool:
    """Whether there is anything to see in it: more than controls, blanks and marks of other characters."""
    return any(unicodedata.category(letter) not in HIDDEN for letter in UNSEEN.sub("", name))


def _spelled(found: re.Match[str]) -> str:
    return "".join(f"[U+{ord(letter):04X}]" for letter in found[0])


# A small YAML file that users edit beside us: a table of words and lists of words, written whole.

Table: TypeAlias = dict[str, str | list[str]]
T = TypeVar("T")

SUFFIX = ".yaml"
ODD_BREAK = re.compile(r"[\x85\u2028\u2029]")  # line breaks of Unicode: as they are, they would come back as spaces


def read(path: Path, check: Callable[[Table], T]) -> T:
    """What `check` makes of `{"name": "no", "tags": ["a", "b"]}`, and of {} where there is no file; it raises ValueError. Raises MalformedFile."""
    root = read_tree(path)
    try:
        return check(_table(root))
    except ValueError as error:
        raise malformed(path, str(error)) from error


def parsed(text: str) -> Table:
    """Raises YamlError."""
    return _table(tree_of(text))


def _table(root: YamlNode) -> Table:
    if not isinstance(root.value, dict):
        raise YamlError(root.line, "it is a table of lines such as `name: value`")
    return {key: _words(node) for key, node in root.value.items()}


def _words(node: YamlNode) -> str | list[str]:
    found: str | list[str] = plain(node)
    if not isinstance(found, str) and not (isinstance(found, list) and all(isinstance(word, str) for word in found)):
        raise YamlError(node.line, "it has text, numbers and lists of them only")
    return found


def write(path: Path, table: Mapping[str, object], comment: str) -> None:
    """Whole: a reader, or a crash, finds the old file or the new one. Makes the folder. Raises Unwritable."""
    write_bytes(path, f"# {comment}\n{written(table)}".encode())


def written(table: Mapping[str, object]) -> str:
    """YAML text; `parsed` finds the same words again."""
    return yaml.dump(dict(table), Dumper=_Dumper, allow_unicode=True, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Text of several lines stands there line by line."""


def text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Text of several lines line by line."""
    style = '"' if ODD_BREAK.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, text_node)
