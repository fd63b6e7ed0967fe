"""The parts of a compiled expression. `column` is where a part stands in the text, for sentences about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from .selector import SeriesSelector


class Number(NamedTuple):
    """`unit` is None for a bare number, which takes the unit of what it is added to or compared with."""

    value: float
    unit: str | None
    column: int


class Selected(NamedTuple):
    selector: SeriesSelector
    column: int


class Negative(NamedTuple):
    value: ExpressionNode
    column: int


class Operation(NamedTuple):
    """`operator` is + - * / ^ < <= > >= == or !=."""

    operator: str
    left: ExpressionNode
    right: ExpressionNode
    column: int


class Applied(NamedTuple):
    """A function of each value, or of neighbouring points; `numbers` are its fixed arguments."""

    function: str
    values: tuple[ExpressionNode, ...]
    numbers: tuple[Number, ...]
    column: int


class Overtime(NamedTuple):
    """A function of the points of the last `width`, for each point; `quantile` is used by that function only."""

    function: str
    value: ExpressionNode
    width: Number
    quantile: float
    column: int


class Across(NamedTuple):
    """A function of all series that agree in the labels `keys`."""

    function: str
    value: ExpressionNode
    keys: tuple[str, ...]
    quantile: float
    column: int


ExpressionNode: TypeAlias = Number | Selected | Negative | Operation | Applied | Overtime | Across


def children(node: ExpressionNode) -> tuple[ExpressionNode, ...]:
    match node:
        case Operation():
            return node.left, node.right
        case Applied():
            return node.values
        case Negative() | Overtime() | Across():
            return (node.value,)
        case _:
            return ()


def walk(root: ExpressionNode) -> Iterator[ExpressionNode]:
    """All nodes, in the order of the text as far as they nest."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(children(node))
