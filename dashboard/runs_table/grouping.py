"""Rows under group rows: those with the same value of a column, with their number, the best and the mean of each other column."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from .columns import TableColumn
from .ordering import OrderKey, order_key
from .row import Row, number_of, text_of

NO_VALUE = "(none)"


class GroupCell(NamedTuple):
    """Of the finite numbers of a group's rows; `best` is None where no direction is known."""

    mean: float | None
    best: float | None
    least: float | None
    most: float | None
    same: str  # what all rows have, of a column of text; "" where they differ
    of: str  # the series of the numbers, where rows may have different ones: only those of its first series count


class GroupRow(NamedTuple):
    value: str  # what its rows have in common
    rows: Sequence[Row]

    def comparable(self, column: TableColumn) -> list[Row]:
        """Those whose cells are of the same series: the first that any of them is judged by."""
        series = [row.series_of(column) for row in self.rows]
        first = min(series)
        return [row for row, place in zip(self.rows, series, strict=True) if place == first]

    def cell(self, column: TableColumn) -> GroupCell:
        rows = self.comparable(column)
        values = [row.cell(column) for row in rows]
        numbers = [number for value in values if (number := number_of(value)) is not None and math.isfinite(number)]
        texts = {text_of(value) for value in values}
        same = texts.pop() if len(texts) == 1 and not numbers else ""
        if not numbers:
            return GroupCell(None, None, None, None, same, "")
        least, most = min(numbers), max(numbers)
        best = {"down": least, "up": most}.get(rows[0].direction(column) or "")
        of = "" if column.judged_by is None else rows[0].judged_by
        return GroupCell(math.fsum(value / len(numbers) for value in numbers), best, least, most, same, of)


def grouped(rows: Sequence[Row], column: TableColumn, *, are_sorted: bool = False) -> list[GroupRow]:
    """Groups of numbers in the order of these, others as their first rows come; those without a value last.

    Rows that `are_sorted` as a user asked for keep their order: the group with the first row comes first.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(text_of(row.cell(column)) or NO_VALUE, []).append(row)
    without = groups.pop(NO_VALUE, [])
    made = [GroupRow(value, found) for value, found in groups.items()]
    if not are_sorted:
        made.sort(key=lambda group: _numbers_first(order_key(column, group.rows[0].cell(column))))
    return [*made, *([GroupRow(NO_VALUE, without)] if without else [])]


def _numbers_first(key: OrderKey | None) -> tuple[int, float]:
    """Of words all the same: the sort leaves their order."""
    return (2, 0.0) if key is None else (key.kind, key.number)


def unfolded(groups: Sequence[GroupRow], opened: Collection[str]) -> Iterator[GroupRow | Row]:
    """Each group's row, and below it the rows of those that are open."""
    for group in groups:
        yield group
        if group.value in opened:
            yield from group.rows
