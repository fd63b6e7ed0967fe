"""The table of runs: rows of any columns, filtered, sorted and grouped, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, StrictStr
from typing_extensions import TypedDict

from access.roles import EXPORTS, Role, needs
from analysis.directions import direction_of
from analysis.findings.life import Standing
from collectors.records import Public, Searched, UserFields
from collectors.store.store import Axis

from ..mutations import Changes
from ..queries import BadRequest, Queries
from ..runs.columns import COLUMNS, FIXED, Cell, Row, TableColumn
from ..runs.filters import FilterError
from ..runs.table import GroupRow, TableQuery, TableResult
from ..user_files.directions import Direction
from ..viewing import check_key
from ..visitors import check_grant
from .answers import Answer, Gaps, number, of_media, subset
from .answers import Column as NumberColumn
from .parameters import MAX_CHARACTERS

# Rows and columns of the table of runs, as JSON.


class ColumnRow(TypedDict):
    """`direction` says which values are better, where that is known."""

    key: Public
    title: Searched
    kind: Public
    unit: Public
    width: int
    shown: bool
    help: Searched
    direction: Direction | None


column_row = subset(TableColumn, ColumnRow)


class SeriesName(TypedDict):
    name: Public
    direction: Direction | None


class ColumnList(TypedDict):
    """`configured` and `series` are the names of columns by choice: `config.<key>`, and `last.`, `best.`, `least.`, `most.<series>`.

    `usual` are the keys of those that are shown unless others are asked for.
    """

    columns: list[ColumnRow]
    usual: list[Searched]
    configured: list[Searched]
    series: list[SeriesName]


class TableRow(TypedDict):
    """A run, or, where `group` is not null, a group of runs. `cells` has a value a column; of a group `{best, mean, least, most, same, of}`."""

    run: Public
    name: Searched
    state: Public
    doing: Standing | None
    reason: Searched
    archived: bool
    deleted: bool
    progress: float | None  # 0 to 1, or null
    best_of: Public  # the series of the best value
    best_differs: bool  # that is another metric than most runs are judged by
    group: Searched | None
    runs: int
    opened: bool
    cells: UserFields


class TableAnswer(TypedDict):
    """`total` are the rows in all, `found` the runs that the filter and the chip keep, `known` all runs."""

    rows: list[TableRow]
    total: int
    found: int
    known: int
    counts: dict[Public, int]
    notes: list[Searched]
    columns: list[ColumnRow]


class Spark(TypedDict):
    run: Public
    series: Public
    axis: Axis
    t: NumberColumn  # steps, or Unix seconds
    mean: Gaps
    min: Gaps
    max: Gaps
    non_finite: int


class SparkList(TypedDict):
    sparks: list[Spark]


def table_answer(found: TableResult, asked: TableQuery, offset: int, limit: int) -> TableAnswer:
    shown = found.lines[offset : offset + limit]
    rows = [_group_row(line, found, asked) if isinstance(line, GroupRow) else _run_row(line, found) for line in shown]
    return {
        "rows": rows,
        "total": len(found.lines),
        "found": len(found.rows),
        "known": found.known,
        "counts": found.counts,
        "notes": found.notes,
        "columns": list(map(column_row, found.columns.values())),
    }


def _run_row(row: Row, found: TableResult) -> TableRow:
    view = row.facts.view
    return {
        "run": row.name,
        "name": view.about.name,
        "state": view.state,
        "doing": view.doing.word if view.doing else None,
        "reason": view.state_reason,
        "archived": view.about.archived,
        "deleted": view.deleted,
        "progress": cast(float | None, row.cell(FIXED["progress"])),
        "best_of": row.judged_by,
        "best_differs": row.judges_otherwise,
        "group": None,
        "runs": 1,
        "opened": False,
        "cells": {key: _sent(row.cell(column)) for key, column in found.columns.items()},
    }


def _group_row(line: GroupRow, found: TableResult, asked: TableQuery) -> TableRow:
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
        "deleted": False,
        "progress": None,
        "best_of": "",
        "best_differs": False,
        "group": line.value,
        "runs": len(line.rows),
        "opened": line.value in asked.opened,
        "cells": cells,
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


# The parameters of questions about the table of runs.

MAX_ROWS, MAX_COLUMNS, MAX_OPEN = 1000, 100, 200

ColumnKey = Annotated[str, Query(max_length=MAX_CHARACTERS, description="key of a column: GET /columns")]
Names = Annotated[list[Annotated[str, Query(max_length=MAX_CHARACTERS)]] | None, Query(max_length=MAX_OPEN)]


def filter_of(
    q: Annotated[str, Query(max_length=MAX_CHARACTERS, description="the filter: docs/runs.md")] = "",
    state: Literal["", "running", "finished", "stalled", "crashed"] = "",
    sort: ColumnKey = "",
    desc: bool = False,
    archived: Annotated[bool, Query(description="archived runs, too")] = False,
    deleted: Annotated[bool, Query(description="deleted runs, too")] = False,
) -> TableQuery:
    return TableQuery(q, state, sort, desc, archived, deleted)


def question_of(
    asked: Annotated[TableQuery, Depends(filter_of)],
    group: ColumnKey = "",
    opened: Annotated[Names, Query(alias="open", description="values of the groups whose runs are listed, too")] = None,
    columns: Annotated[
        str, Query(max_length=4 * MAX_CHARACTERS, description="keys, separated by line breaks or commas")
    ] = "",
) -> TableQuery:
    """Raises BadRequest."""
    keys = tuple(dict.fromkeys(key for key in columns.split("\n" if "\n" in columns else ",") if key))
    if len(keys) > MAX_COLUMNS:
        raise BadRequest(f"{len(keys)} columns; an answer has at most {MAX_COLUMNS}")
    return replace(asked, group=group, opened=frozenset(opened or ()), columns=keys)


Filtered = Annotated[TableQuery, Depends(filter_of)]
Asked = Annotated[TableQuery, Depends(question_of)]
FirstRow = Annotated[int, Query(ge=0, le=10**7)]
Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]


def find(queries: Queries, asked: TableQuery) -> TableResult:
    """Raises BadRequest, NotGranted."""
    for what, key in (("sort", asked.sort), ("group", asked.group)):
        if key and queries.table.column(key) is None:
            raise BadRequest(f"{what}: there is no column {key[:80]!r}; GET /api/v1/columns lists them")
    check_key(asked.group)
    try:
        return queries.table.ask(asked)
    except FilterError as mistake:
        raise BadRequest(str(mistake)) from mistake


# The table of runs as a CSV file (RFC 4180), for spreadsheets and DataFrames.

UNSAFE = ("=", "+", "-", "@", "\t", "\r")  # text that begins so is a formula to a spreadsheet


def csv_answer(found: TableResult) -> Response:
    """All rows without groups; the first column is the run's own name. Times are Unix seconds."""
    text = io.StringIO()
    lines = csv.writer(text)
    columns = [column for column in found.columns.values() if column.kind != "curve"]
    lines.writerow(["run", *(column.key for column in columns)])
    lines.writerows([_csv_text(row.name), *(_csv_cell(row.cell(column)) for column in columns)] for row in found.rows)
    headers = {"Content-Disposition": 'attachment; filename="runs.csv"'}
    return Response(text.getvalue().encode("utf-8", "replace"), media_type="text/csv; charset=utf-8", headers=headers)


def _csv_cell(value: Cell) -> object:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    return _csv_text("; ".join(value) if isinstance(value, tuple) else value)


def _csv_text(text: str) -> str:
    return f"'{text}" if text.startswith(UNSAFE) else text


MAX_SPARKS = 100


class DirectionList(TypedDict):
    directions: dict[Public, Direction]


class DirectionChange(BaseModel):
    """`direction` is `down`, `up`, or "" to take the choice back."""

    model_config = ConfigDict(extra="forbid")

    series: StrictStr
    direction: StrictStr


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/table",
        response_model=None,
        responses=of_media("text/csv"),
        summary="The table of runs: any columns, filtered, sorted, grouped; as JSON or CSV",
    )
    @needs(Role.VIEWER)
    def table(
        asked: Asked, offset: FirstRow = 0, limit: Limit = 100, format: Literal["json", "csv"] = "json"
    ) -> Answer[TableAnswer]:
        if format == "csv":
            check_grant(EXPORTS)
        found = find(queries, asked)
        return csv_answer(found) if format == "csv" else Answer(table_answer(found, asked, offset, limit))  # type: ignore[return-value]

    @router.get("/columns", response_model=None, summary="The columns that the table may have")
    @needs(Role.VIEWER)
    def columns() -> Answer[ColumnList]:
        names, chosen = queries.table.names(), queries.directions()
        series: list[SeriesName] = [{"name": name, "direction": direction_of(name, chosen)} for name in names.series]
        return Answer(
            {
                "columns": list(map(column_row, COLUMNS)),
                "usual": list(queries.table.usual()),
                "configured": list(names.configured),
                "series": series,
            }
        )

    @router.get(
        "/sparklines",
        response_model=None,
        summary="The loss of each of some runs over its steps, or over time without steps, in few buckets",
    )
    @needs(Role.VIEWER)
    def sparklines(run: Names = None, buckets: Annotated[int, Query(ge=2, le=200)] = 48) -> Answer[SparkList]:
        if len(run or ()) > MAX_SPARKS:
            raise BadRequest(f"{len(run or ())} runs; an answer has at most {MAX_SPARKS}")
        return Answer({"sparks": spark_rows(queries, run or [], buckets)})

    @router.get("/directions", response_model=None, summary="Which values are better, where a user has said so")
    @needs(Role.VIEWER)
    def directions() -> Answer[DirectionList]:
        return Answer({"directions": queries.directions()})


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/directions", response_model=None, summary="Say whether less or more of a series is better")
    @needs(Role.OWNER)
    def change_direction(given: DirectionChange) -> Answer[DirectionList]:
        return Answer({"directions": changes.set_direction(given.series, given.direction)})
