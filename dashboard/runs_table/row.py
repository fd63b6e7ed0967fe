"""A row of the table: a run's facts, and its cells once they were asked for."""

from __future__ import annotations

import math
from functools import cached_property

from collectors.analysis.directions import direction_of

from ..user_files.directions import Direction
from .columns import Cell, TableColumn, TableSetting
from .facts import Facts
from .roles import first_of, quantity_of


class Row:
    """`place` is its place in the usual order. Cells are kept: a run that changes, or a setting, makes another row."""

    def __init__(self, facts: Facts, setting: TableSetting, place: int) -> None:
        self.facts, self.place = facts, place
        self._setting = setting
        self._cells: dict[str, Cell] = {}

    @property
    def name(self) -> str:
        return self.facts.name

    def cell(self, column: TableColumn) -> Cell:
        try:
            return self._cells[column.key]
        except KeyError:
            value = self._cells[column.key] = column.make(self.facts, self._setting)
            return value

    def series_of(self, column: TableColumn) -> int:
        """Which quantity its cell is of: 0 the first of those that runs are judged by. Cells of different quantities cannot be compared."""
        if column.judged_by is None:
            return 0
        known = list(dict.fromkeys(map(quantity_of, self._setting.roles.judged)))
        return known.index(quantity_of(self.judged_by)) if self.judged_by else len(known)

    @property
    def judged_by(self) -> str:
        """The first series of those that runs are judged by that it has, or ""."""
        return first_of(self._setting.roles.judged, self.facts.outcomes) or ""

    def direction(self, column: TableColumn) -> Direction | None:
        """Of its cell."""
        return column.direction if column.judged_by is None else direction_of(self.judged_by, self._setting.directions)

    def forget(self, setting: TableSetting) -> None:
        """The cells, since they depend on what has changed."""
        self._setting = setting
        self._cells = {}

    @cached_property
    def text(self) -> str:
        """What words are looked for in: the run's names, tags, note and state."""
        view = self.facts.view
        return "\n".join(
            [
                self.name,
                view.about.name,
                *view.about.tags,
                view.about.note,
                view.state,
                view.doing.word if view.doing else "",
            ]
        ).casefold()


def text_of(value: Cell) -> str:
    """As a filter sees it: `True -> "true"`, `0.001 -> "0.001"`, `12.0 -> "12"`; "" where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "∞" if value > 0 else "-∞"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def number_of(value: Cell) -> float | None:
    """None for what is no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
