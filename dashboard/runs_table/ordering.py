"""Rows in order of a column: what is missing comes last either way, and equal ones keep the usual order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .columns import STATES, Cell, TableColumn
from .row import Row

NUMBER, NAN, TEXT = range(3)


class OrderKey(NamedTuple):
    """Numbers before NaN before text."""

    kind: int
    number: float = 0.0
    text: str = ""


def ordered(rows: Sequence[Row], column: TableColumn | None, *, descending: bool) -> list[Row]:
    """Without a column the usual order: living runs first where more than one is alive, then the newest.

    Values of several series do not mix: those of the first series come first in either order.
    """
    if column is None:
        usual = sorted(rows, key=lambda row: row.place)
        living = [row for row in usual if row.facts.lives]
        return [*living, *(row for row in usual if not row.facts.lives)] if len(living) > 1 else usual
    keyed = [(order_key(column, row.cell(column)), row) for row in sorted(rows, key=lambda row: row.place)]
    known = [(key, row) for key, row in keyed if key is not None]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    known.sort(key=lambda pair: (pair[0].kind == NAN, pair[1].series_of(column)))
    return [*(row for _, row in known), *(row for key, row in keyed if key is None)]


def order_key(column: TableColumn, value: Cell) -> OrderKey | None:
    """None where nothing is known."""
    if value is None:
        return None
    if column.kind == "state":
        return OrderKey(NUMBER, STATES.index(str(value)))
    if isinstance(value, bool):
        return OrderKey(TEXT, text=str(value))
    if isinstance(value, int | float):
        return OrderKey(NUMBER, float(value)) if value == value else OrderKey(NAN)
    return OrderKey(TEXT, text=(", ".join(value) if isinstance(value, tuple) else value).casefold())
