"""Rows in order of a column: what is missing comes last either way, and equal ones keep the usual order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .columns import STATES, Cell, TableColumn
from .row import Row

_OrderKey: TypeAlias = tuple[int, float, str]


def ordered(rows: Sequence[Row], column: TableColumn | None, *, descending: bool) -> list[Row]:
    """Without a column the usual order: living runs first where more than one is alive, then the newest."""
    if column is None:
        usual = sorted(rows, key=lambda row: row.place)
        living = [row for row in usual if row.facts.lives]
        return [*living, *(row for row in usual if not row.facts.lives)] if len(living) > 1 else usual
    keyed = [(_key(column, row.cell(column)), row) for row in sorted(rows, key=lambda row: row.place)]
    known = [(key, row) for key, row in keyed if key is not None]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    no_number = [row for key, row in known if key[0] == 1]
    return [*(row for key, row in known if key[0] != 1), *no_number, *(row for key, row in keyed if key is None)]


def _key(column: TableColumn, value: Cell) -> _OrderKey | None:
    """Numbers before NaN before text; None where nothing is known."""
    if value is None:
        return None
    if column.kind == "state":
        return 0, STATES.index(str(value)), ""
    if isinstance(value, bool):
        return 2, 0.0, str(value)
    if isinstance(value, int | float):
        return (0, float(value), "") if value == value else (1, 0.0, "")
    return 2, 0.0, (", ".join(value) if isinstance(value, tuple) else value).casefold()
