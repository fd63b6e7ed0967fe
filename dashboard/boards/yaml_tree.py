"""The tree of a board's YAML text."""

from __future__ import annotations

from collectors import yaml_tree
from collectors.yaml_tree import HALF_CHARACTER, YamlError, YamlNode, YamlValue

from .errors import BoardError

__all__ = ["HALF_CHARACTER", "YamlNode", "YamlValue", "tree_of"]


def tree_of(text: str) -> YamlNode:
    """An empty text is an empty table. Raises BoardError."""
    try:
        return yaml_tree.tree_of(text, "a board")
    except YamlError as error:
        raise BoardError(error.line, error.what) from None
