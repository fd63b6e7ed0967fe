"""A run, or a window of it, as one HTML file to keep."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Response

from access.roles import EXPORTS, Role, needs
from collectors import retention

from ..queries import Queries
from ..report.contents import ReportQuery, gather
from ..report.page import html_of
from ..visitors import visitor
from .answers import of_media
from .parameters import MOST_CHARACTERS, OptionalWindow, Rank, known_run

NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9.-]+")
MOST_NAME = 80
NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
Against = Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="another run, to compare ledgers with")]


def add_routes(router: APIRouter, queries: Queries) -> None:
    known = known_run(queries)

    @router.get(
        "/report",
        response_model=None,
        response_class=Response,
        responses=of_media("text/html"),
        summary="A run, or a window of it, as one HTML file that needs no network",
    )
    @needs(Role.VIEWER, EXPORTS)
    def report(ends: OptionalWindow, run: str = known, rank: Rank = None, against: Against = None) -> Response:
        page = html_of(gather(queries, ReportQuery(run, ends, rank, against)))
        if (
            ends is not None and visitor().role is Role.OWNER
        ):  # a viewer decides nothing about what is kept; samples of the window are not thinned: who reads the report may come back to it
            retention.note(queries.data_dir, run, ends, "report")
        headers = {
            "Content-Disposition": f'attachment; filename="{file_name_of(run)}"',
            "Content-Security-Policy": NO_SCRIPT,
        }
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def file_name_of(run: str) -> str:
    """`exp/ä 1 -> "report-exp-1.html"`"""
    name = NOT_IN_A_NAME.sub("-", run).strip("-.")[:MOST_NAME]
    return f"report-{name or 'run'}.html"
