"""The search over everything."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from access.roles import Role, needs

from ..pages import pages
from ..queries import Queries
from ..runs.search import HitKind, SearchHits
from .answers import Answer
from .parameters import MOST_CHARACTERS, MOST_NAMES, Text

MOST_HITS = 200


class HitRow(TypedDict):
    """`address` is the path of a page with its parameters."""

    kind: HitKind
    text: str
    detail: str
    run: str | None
    address: str


class SearchAnswer(TypedDict):
    """The best first. `note` says what was searched only in part."""

    results: list[HitRow]
    left_out: int
    note: str


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/search",
        response_model=None,
        summary="Runs, series, pages and notes that match what was typed, the best first",
    )
    @needs(Role.VIEWER)
    def search(
        q: Text = "",
        run: Annotated[
            list[Annotated[str, Query(max_length=MOST_CHARACTERS)]],
            Query(max_length=MOST_NAMES, description="the shown runs: their series are searched first"),
        ] = [],  # noqa: B006
        limit: Annotated[int, Query(ge=1, le=MOST_HITS)] = 40,
    ) -> Answer[SearchAnswer]:
        return Answer(search_answer(queries.search(q, pages(), run, limit)))


def search_answer(found: SearchHits) -> SearchAnswer:
    rows: list[HitRow] = [
        {"kind": hit.kind, "text": hit.text, "detail": hit.detail, "run": hit.run, "address": hit.address}
        for hit in found.hits
    ]
    return {"results": rows, "left_out": found.left_out, "note": found.note}
