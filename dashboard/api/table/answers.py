"""Rows and columns of the table of runs, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import TypedDict

from collectors.analysis.findings.doing import Standing
from collectors.store.protocol import Axis

from ...queries import Queries
from ...runs_table.columns import FIXED, Cell, TableColumn
from ...runs_table.grouping import GroupRow
from ...runs_table.row import Row
from ...runs_table.table import FoundRuns, TableQuestion
from ...user_files.directions import Direction
from ..answer import Column as NumberColumn
from ..answer import Gaps, number


class ColumnRow(TypedDict):
    """`direction` says which values are better, where that is known."""

    key: str
    title: str
    kind: str
    unit: str
    width: int
    shown: bool
    help: str
    direction: Direction | None


class SeriesName(TypedDict):
    name: str
    direction: Direction | None


class ColumnList(TypedDict):
    """`configured` and `series` are the names of columns by choice: `config.<key>`, and `last.`, `best.`, `least.`, `most.<series>`."""

    columns: list[ColumnRow]
    configured: list[str]
    series: list[SeriesName]


class TableRow(TypedDict):
    """A run, or, where `group` is not null, a group of runs. `cells` has a value a column; of a group `{best, mean, least, most, same, of}`."""

    run: str
    name: str
    state: str
    doing: Standing | None
    reason: str
    archived: bool
    forgotten: bool
    progress: Any  # 0 to 1, or null
    best_of: str  # the series of the best value
    group: str | None
    runs: int
    opened: bool
    cells: dict[str, Any]


class TableAnswer(TypedDict):
    """`total` are the rows in all, `found` the runs that the filter and the chip keep, `known` all runs."""

    rows: list[TableRow]
    total: int
    found: int
    known: int
    counts: dict[str, int]
    notes: list[str]
    columns: list[ColumnRow]


class Spark(TypedDict):
    run: str
    series: str
    axis: Axis
    t: NumberColumn  # steps, or Unix seconds
    mean: Gaps
    min: Gaps
    max: Gaps
    non_finite: int


class SparkList(TypedDict):
    sparks: list[Spark]


def table_answer(found: FoundRuns, asked: TableQuestion, offset: int, limit: int) -> TableAnswer:
    shown = found.lines[offset : offset + limit]
    rows = [_group_row(line, found, asked) if isinstance(line, GroupRow) else _run_row(line, found) for line in shown]
    return {
        "rows": rows,
        "total": len(found.lines),
        "found": len(found.rows),
        "known": found.known,
        "counts": found.counts,
        "notes": found.notes,
        "columns": [column_row(column) for column in found.columns.values()],
    }


def _run_row(row: Row, found: FoundRuns) -> TableRow:
    view = row.facts.view
    return {
        "run": row.name,
        "name": view.about.name,
        "state": view.state,
        "doing": view.doing.word if view.doing else None,
        "reason": view.state_reason,
        "archived": view.about.archived,
        "forgotten": view.about.forgotten,
        "progress": row.cell(FIXED["progress"]),
        "best_of": str(row.cell(FIXED["judged"]) or ""),
        "group": None,
        "runs": 1,
        "opened": False,
        "cells": {key: _sent(row.cell(column)) for key, column in found.columns.items()},
    }


def _group_row(line: GroupRow, found: FoundRuns, asked: TableQuestion) -> TableRow:
    cells = {
        key: {name: _sent(value) for name, value in line.cell(column)._asdict().items()}
        for key, column in found.columns.items()
    }
    return {
        "run": "",
        "name": line.value,
        "state": "",
        "doing": None,
        "reason": "",
        "archived": False,
        "forgotten": False,
        "progress": None,
        "best_of": "",
        "group": line.value,
        "runs": len(line.rows),
        "opened": line.value in asked.opened,
        "cells": cells,
    }


def column_row(column: TableColumn) -> ColumnRow:
    return {
        "key": column.key,
        "title": column.title,
        "kind": column.kind,
        "unit": column.unit,
        "width": column.width,
        "shown": column.shown,
        "help": column.help,
        "direction": column.direction,
    }


def _sent(value: Cell) -> Any:
    if isinstance(value, float):
        return number(value)
    return list(value) if isinstance(value, tuple) else value


def spark_rows(queries: Queries, runs: Sequence[str], buckets: int) -> list[Spark]:
    return [
        {
            "run": run,
            "series": series,
            "axis": axis,
            "t": curve.t,
            "mean": curve.mean,
            "min": curve.min,
            "max": curve.max,
            "non_finite": int(curve.non_finite.sum()),
        }
        for run, (series, axis, curve) in queries.sparklines(runs, buckets).items()
    ]
