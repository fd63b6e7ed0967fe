"""Boards: their files, changes to one, and the data of their charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NotRequired

from fastapi import APIRouter, Body, Path
from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from access.roles import Role, needs
from collectors.records import Public, Searched
from collectors.store.store import Axis

from ..boards.board import KINDS, MAX_EDITS, MAX_PLACE, Board, BoardEdit, EditKind, exprs_of, plain_board
from ..boards.files import BoardFile, BoardSource, board_of
from ..boards.overview import OVERVIEW, Logged, overview_of
from ..mutations import Changes
from ..queries import BadRequest, NotFound, Queries
from .answers import Answer, OtherVersionAnswer
from .parameters import MAX_CHARACTERS, OptionalRun

# Boards, and what their charts draw, as JSON.


class SeriesFields(TypedDict, total=False):
    name: Public
    glob: Public
    regex: Public
    expr: Public
    runs: list[Public]
    labels: dict[Public, Public]
    label: Public
    colour: int


class ChartFields(TypedDict, total=False):
    """As in the file (docs/boards.md), without what is as usual; `kind` is always there."""

    kind: Public
    title: Public
    width: int
    series: list[Public | SeriesFields]
    x: Public | SeriesFields
    best: Public
    axis: Axis
    unit: Public
    range: list[float | Public]
    log: bool
    smooth: Public
    value: Public
    thresholds: dict[Public, Public]
    bins: int
    text: Public


class RowFields(TypedDict, total=False):
    title: Public
    height: int
    charts: list[ChartFields]


class BoardFields(TypedDict, total=False):
    title: Public
    about: Public
    window: Public
    axis: Axis
    runs: list[Public]
    rows: list[RowFields]


class BoardRowOfList(TypedDict):
    """`version` is another one for any other text; `trouble` says what is wrong with it, with the line."""

    name: Public
    title: Searched
    about: Searched
    source: BoardSource
    charts: int
    version: Public
    trouble: Searched


class ChartKindRow(TypedDict):
    """`fields` are the keys that a chart of the kind has beside kind, title and width; those of `needed` must be there."""

    name: Public
    help: Searched
    fields: list[Public]
    needed: list[Public]


class BoardList(TypedDict):
    boards: list[BoardRowOfList]
    kinds: list[ChartKindRow]


class ChartExpression(TypedDict):
    """What `/curves` is asked for an entry of a chart: `item` is its place in the chart's series, -1 is its x.

    An entry that names several runs has an expression for each. `absent`: neither the run nor the machine has such a series.
    """

    row: int
    chart: int
    item: int
    expr: Public
    absent: bool


class BoardAnswer(TypedDict):
    """`board` is what the text says; where it is broken, what it said before, or null. `exprs` are those of its charts."""

    name: Public
    source: BoardSource
    text: Searched
    version: Public
    board: BoardFields | None
    exprs: list[ChartExpression]
    trouble: Searched


class EditedBoard(TypedDict):
    text: str
    board: BoardFields
    exprs: list[ChartExpression]


def board_list(files: Sequence[BoardFile]) -> BoardList:
    return {
        "boards": [_list_row(file) for file in files],
        "kinds": [
            {"name": kind.name, "help": kind.help, "fields": list(kind.fields), "needed": list(kind.needed)}
            for kind in KINDS
        ],
    }


def _list_row(file: BoardFile) -> BoardRowOfList:
    board = file.board or Board()
    return {
        "name": file.name,
        "title": board.title or file.name,
        "about": board.about,
        "source": file.source,
        "charts": sum(len(row.charts) for row in board.rows),
        "version": file.version,
        "trouble": file.trouble,
    }


def board_answer(file: BoardFile, lacks: Callable[[str], bool] | None = None) -> BoardAnswer:
    """Nothing of a board that names its runs is said to be absent: there may be more of them at any time."""
    if file.board is not None and file.board.runs:
        lacks = None
    board = board_fields(file.board) if file.board is not None else None
    return {
        "name": file.name,
        "source": file.source,
        "text": file.text,
        "version": file.version,
        "board": board,
        "exprs": exprs_of_board(file.board, lacks) if file.board is not None else [],
        "trouble": file.trouble,
    }


def board_fields(board: Board) -> BoardFields:
    return _worded(plain_board(board))  # type: ignore[no-any-return]


X_ITEM = -1  # the item of a scatter chart's `x`


def exprs_of_board(board: Board, lacks: Callable[[str], bool] | None = None) -> list[ChartExpression]:
    """In the order of the rows, charts and entries."""
    return [
        {"row": i, "chart": k, "item": item, "expr": expr, "absent": lacks is not None and lacks(expr)}
        for i, row in enumerate(board.rows)
        for k, chart in enumerate(row.charts)
        for item, entry in [*enumerate(chart.series), *([(X_ITEM, chart.x)] if chart.x is not None else [])]
        for expr in exprs_of(entry)
    ]


def _worded(value: Any) -> Any:
    """Keys are text in JSON."""
    if isinstance(value, dict):
        return {str(key): _worded(item) for key, item in value.items()}
    return [_worded(item) for item in value] if isinstance(value, list) else value


# Changes of a board's text, as a client sends them.

MAX_KEY = 200
Key = Annotated[str, Field(max_length=MAX_KEY)]
Index = Annotated[int, Field(ge=0, le=10_000)]
PlaceBody = Annotated[list[Index | Key], Field(max_length=MAX_PLACE)]
AnyValue = Annotated[Any, WithJsonSchema({})]  # the board itself says what may stand where


class BoardEditBody(TypedDict):
    """`{"kind": "set", "place": ["rows", 0, "title"], "value": "Power"}` (docs/http-api.md, Boards)."""

    kind: EditKind
    place: PlaceBody
    value: NotRequired[AnyValue]
    to: NotRequired[PlaceBody]


def edit_of(body: BoardEditBody) -> BoardEdit:
    return BoardEdit(body["kind"], tuple(body["place"]), body.get("value"), tuple(body.get("to", ())))


BoardName = Annotated[str, Path(max_length=MAX_CHARACTERS, description="a board's name; GET /boards lists them")]
Text = Annotated[str, Body(description="the whole file")]
Version = Annotated[str, Body(max_length=200, description='of the board that the editor began with; "" for a new one')]


class DeletedBoard(TypedDict):
    """`board`: the one of the same name that stands behind it and is shown again, of the log folder or a template; else null."""

    board: BoardAnswer | None


CHANGED_MEANWHILE: dict[int | str, dict[str, Any]] = {
    409: {"model": OtherVersionAnswer, "description": "the board was changed meanwhile; nothing is saved"}
}


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/boards", response_model=None, summary="All boards")
    @needs(Role.VIEWER)
    def boards() -> Answer[BoardList]:
        found = queries.boards.all()
        made = [] if any(file.name == OVERVIEW for file in found) else [overview_of(Logged())]
        return Answer(board_list([*made, *found]))

    @router.get("/boards/{name}", response_model=None, summary="A board: its text, and what it says")
    @needs(Role.VIEWER)
    def board(name: BoardName, run: OptionalRun = None) -> Answer[BoardAnswer]:
        found = queries.board(name, run)
        if found is None:
            raise NotFound(f"no board {name!r}; GET /api/v1/boards lists them")
        runs = [run] if run is not None and queries.has_run(run) else []
        return Answer(board_answer(found, queries.curves.lacks_series(runs)))

    @router.post("/board_edits", response_model=None, summary="The text of a board with some changes; nothing is saved")
    @needs(Role.OWNER, audited=False)
    def edit_text(
        text: Text,
        edits: Annotated[list[BoardEditBody], Body(max_length=MAX_EDITS)] = [],  # noqa: B006  # the framework copies it
    ) -> Answer[EditedBoard]:
        """It changes nothing on the disk: a board's text is longer than an address can be."""
        from ..boards.editor import edited

        try:
            after = edited(text, [edit_of(edit) for edit in edits])
            board = board_of(after)
            return Answer({"text": after, "board": board_fields(board), "exprs": exprs_of_board(board)})
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
