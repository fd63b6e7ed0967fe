"""The table of runs: rows of any columns, filtered, sorted and grouped, as JSON or CSV; and small pictures of their losses."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, StrictStr
from typing_extensions import TypedDict

from collectors.analysis.directions import direction_of

from ...auth.roles import EXPORTS, Role, needs
from ...auth.visitor import check_grant
from ...changes import Changes
from ...queries import BadRequest, Queries
from ...runs_table.columns import COLUMNS
from ...user_files.directions import Direction
from ..answer import Answer, of_media
from .answers import ColumnList, SeriesName, SparkList, TableAnswer, column_row, spark_rows, table_answer
from .asking import Asked, FirstRow, Limit, Names, find
from .csv_file import csv_answer

MOST_SPARKS = 100


class DirectionList(TypedDict):
    directions: dict[str, Direction]


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
                "columns": [column_row(column) for column in COLUMNS],
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
        if len(run or ()) > MOST_SPARKS:
            raise BadRequest(f"{len(run or ())} runs; an answer has at most {MOST_SPARKS}")
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
