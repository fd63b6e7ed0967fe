"""Raw points of several runs as a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from collectors.store.question import Ended

from ...auth.roles import EXPORTS, Role, needs
from ...curves.asked import RELATIVE, STEP, TIME, CurveQuery
from ...curves.placing import NoPlace, Unknown
from ...curves.rows import MEDIA_TYPES, NO_PYARROW, RowFormat, can_write, written
from ...queries import BadRequest, NotFound, Queries
from ...turns.turns import GONE
from ..answer import of_media
from ..parameters import MOST_CHARACTERS, OpenRange, RunNames, SeriesNames

PLACES = {STEP: None, TIME: "time_s", RELATIVE: "relative_s"}  # the name of the column of places; of a series it is "x"
ExportAxis = Annotated[
    str, Query(max_length=MOST_CHARACTERS, description="time, step, relative, or the name of a series")
]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get(
        "/export",
        response_model=None,
        response_class=Response,
        responses=of_media(*MEDIA_TYPES.values()),
        summary="Raw points of series of several runs, as CSV, JSON lines or Parquet",
    )
    @needs(Role.VIEWER, EXPORTS)
    def export(
        run: RunNames,
        series: SeriesNames,
        between: OpenRange,
        format: RowFormat = "csv",
        x: ExportAxis = TIME,
    ) -> StreamingResponse:
        if not can_write(format):
            raise BadRequest(NO_PYARROW)
        try:
            rows = queries.overlays.rows(CurveQuery(run, series, x, *between))
        except Unknown as error:
            raise NotFound(str(error)) from None
        except NoPlace as error:
            raise BadRequest(str(error)) from None
        headers = {"Content-Disposition": f'attachment; filename="points.{format}"', "Cache-Control": "no-store"}
        pieces = _until_gone(written(format, PLACES.get(x, "x"), rows))
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[format], headers=headers)


def _until_gone(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Any other end leaves the file unfinished, which the client notices."""
    try:
        yield from pieces
    except Ended as error:
        if str(error) != GONE:
            raise
