"""Read a board, or one chart, from YAML."""

from __future__ import annotations

from functools import lru_cache

from . import fields, values
from .model import Board, BoardChart
from .yaml_tree import tree_of

KEPT = 512  # charts that pages ask for again and again


def board_of(text: str) -> Board:
    """Raises BoardError."""
    return Board(**values.read_table(tree_of(text), fields.BOARD_FIELDS, "a board"))


@lru_cache(maxsize=KEPT)
def chart_of(text: str) -> BoardChart:
    """`"{kind: line, series: [gpu/power_w]}"`, as in a board's file. Raises BoardError."""
    return fields.chart_of(tree_of(text))
