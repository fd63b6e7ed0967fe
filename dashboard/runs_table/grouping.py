"""Rows under group rows: those with the same value of a column, with their number, the best and the mean of each other column."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from .columns import TableColumn
from .row import Row, number_of, text_of

NO_VALUE = "(none)"


class GroupCell(NamedTuple):
    """Of the finite numbers of a group's rows; `best` is None where no direction is known."""

    mean: float | None
    best: float | None
    least: float | None
    most: float | None
    same: str  # what all rows have, of a column of text; "" where they differ


class GroupRow(NamedTuple):
    value: str  # what its rows have in common
    rows: Sequence[Row]

    def cell(self, column: TableColumn) -> GroupCell:
        values = [row.cell(column) for row in self.rows]
        numbers = [number for value in values if (number := number_of(value)) is not None and math.isfinite(number)]
        texts = {text_of(value) for value in values}
        same = texts.pop() if len(texts) == 1 and not numbers else ""
        if not numbers:
            return GroupCell(None, None, None, None, same)
        least, most = min(numbers), max(numbers)
        best = {"down": least, "up": most}.get(column.direction or "")
        return GroupCell(math.fsum(value / len(numbers) for value in numbers), best, least, most, same)


def grouped(rows: Sequence[Row], column: TableColumn) -> list[GroupRow]:
    """In the order in which their first rows come; those without a value last."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(text_of(row.cell(column)) or NO_VALUE, []).append(row)
    without = groups.pop(NO_VALUE, [])
    return [*(GroupRow(value, found) for value, found in groups.items()), *([GroupRow(NO_VALUE, without)] if without else [])]


def unfolded(groups: Sequence[GroupRow], opened: Collection[str]) -> Iterator[GroupRow | Row]:
    """Each group's row, and below it the rows of those that are open."""
    for group in groups:
        yield group
        if group.value in opened:
            yield from group.rows
