"""Boards: their files, the change of one, and what their charts draw."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from pydantic import Field
from typing_extensions import TypedDict

from collectors.store.protocol import Axis

from ...auth.roles import Role, needs
from ...boards.asked import ChartsQuery
from ...boards.edits import MOST_EDITS
from ...boards.errors import BoardError
from ...boards.reading import board_of, chart_of
from ...changes import Changes
from ...queries import BadRequest, NotFound, Queries
from ..answer import Answer
from ..parameters import MAX_BUCKETS, MOST_CHARACTERS, OpenRange, OptionalRun, RunNames
from .answers import (
    BoardAnswer,
    BoardList,
    ChartsAnswer,
    EditedBoard,
    board_answer,
    board_fields,
    board_list,
    charts_answer,
)
from .asking import BoardEditBody, edit_of

MOST_CHARTS = 100  # of a request
BoardName = Annotated[str, Path(max_length=MOST_CHARACTERS, description="a board's name; GET /boards lists them")]
ChartTexts = Annotated[
    list[Annotated[str, Field(max_length=MOST_CHARACTERS)]],
    Query(
        alias="chart",
        max_length=MOST_CHARTS,
        description="a chart as in a board's file, {kind: line, series: [gpu/power_w]}, or as JSON; repeatable",
    ),
]
WithFirst = Annotated[bool, Query(description="also say which board has something to show of the machine or of `run`")]
Text = Annotated[str, Body(description="the whole file")]
Version = Annotated[str, Body(max_length=200, description='of the board that the editor began with; "" for a new one')]


class DeletedBoard(TypedDict):
    """`board`: the one of the same name that stands behind it and is shown again, of the log folder or a template; else null."""

    board: BoardAnswer | None


class OtherVersionAnswer(TypedDict):
    error: str
    version: str


CHANGED_MEANWHILE: dict[int | str, dict[str, Any]] = {
    409: {"model": OtherVersionAnswer, "description": "the board was changed meanwhile; nothing is saved"}
}


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/boards", response_model=None, summary="All boards")
    @needs(Role.VIEWER)
    def boards(first: WithFirst = False, run: OptionalRun = None) -> Answer[BoardList]:
        found = queries.boards.all()
        return Answer(board_list(found, queries.board_charts.first(found, run) if first else None))

    @router.get("/boards/{name}", response_model=None, summary="A board: its text, and what it says")
    @needs(Role.VIEWER)
    def board(name: BoardName) -> Answer[BoardAnswer]:
        found = queries.boards.named(name)
        if found is None:
            raise NotFound(f"no board {name!r}; GET /api/v1/boards lists them")
        return Answer(board_answer(found))

    @router.get(
        "/charts", response_model=None, summary="What charts of a board draw, in buckets that never hide a spike"
    )
    @needs(Role.VIEWER)
    def charts(
        chart: ChartTexts,
        between: OpenRange,
        run: RunNames = [],  # noqa: B006  # the framework copies it
        x: Axis = "time",
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS, description="of each curve")] = 300,
    ) -> Answer[ChartsAnswer]:
        try:
            asked = [chart_of(text) for text in chart]
        except BoardError as error:
            raise BadRequest(str(error)) from None
        return charts_answer(queries.board_charts.draw(ChartsQuery(asked, run, x, *between, buckets)), x)

    @router.post("/board_edits", response_model=None, summary="The text of a board with some changes; nothing is saved")
    @needs(Role.OWNER, audited=False)
    def edit_text(
        text: Text,
        edits: Annotated[list[BoardEditBody], Body(max_length=MOST_EDITS)] = [],  # noqa: B006  # the framework copies it
    ) -> Answer[EditedBoard]:
        """It changes nothing on the disk: a board's text is longer than an address can be."""
        from ...boards.editing import edited

        try:
            after = edited(text, [edit_of(edit) for edit in edits])
            return Answer({"text": after, "board": board_fields(board_of(after))})
        except ValueError as error:
            raise BadRequest(str(error)) from None


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/boards/{name}", response_model=None, summary="Save a board", responses=CHANGED_MEANWHILE)
    @needs(Role.OWNER)
    def save_board(name: BoardName, text: Text, version: Version = "") -> Answer[BoardAnswer]:
        return Answer(board_answer(changes.save_board(name, text, version)))

    @router.post(
        "/boards/{name}/delete",
        response_model=None,
        summary="Delete a board of the data folder",
        responses=CHANGED_MEANWHILE,
    )
    @needs(Role.OWNER)
    def delete_board(
        name: BoardName, version: Annotated[str, Body(max_length=200, embed=True)]
    ) -> Answer[DeletedBoard]:
        found = changes.delete_board(name, version)
        return Answer({"board": board_answer(found) if found else None})
