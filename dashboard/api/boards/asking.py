"""Changes of a board's text, as a client sends them."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from ...boards.edits import MOST_PLACE, BoardEdit, EditKind

MOST_KEY = 200
Key = Annotated[str, Field(max_length=MOST_KEY)]
Index = Annotated[int, Field(ge=0, le=10_000)]
PlaceBody = Annotated[list[Index | Key], Field(max_length=MOST_PLACE)]
AnyValue = Annotated[Any, WithJsonSchema({})]  # the board itself says what may stand where


class BoardEditBody(TypedDict):
    """`{"kind": "set", "place": ["rows", 0, "title"], "value": "Power"}` (docs/http-api.md, Boards)."""

    kind: EditKind
    place: PlaceBody
    value: NotRequired[AnyValue]
    to: NotRequired[PlaceBody]


def edit_of(body: BoardEditBody) -> BoardEdit:
    return BoardEdit(body["kind"], tuple(body["place"]), body.get("value"), tuple(body.get("to", ())))
