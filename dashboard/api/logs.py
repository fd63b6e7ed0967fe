"""Lines of text logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from access.roles import Role, needs
from collectors.records import LogLine, ProgressBar
from collectors.store.store import LogQuery

from ..queries import Queries
from .answers import Answer
from .parameters import MAX_LINES, MOST_CHARACTERS, MOST_CURSOR, OpenRange, OptionalRun


class LineRow(TypedDict):
    run: str
    time_s: float
    level: int
    file: str
    text: str
    rank: int | None  # of the process that wrote it, where that is known
    number: int  # its place in the store, in the order of arrival


class BarRow(TypedDict):
    """The present state of the progress bar at the end of a file; `text` is empty once it is gone."""

    run: str
    time_s: float
    file: str
    text: str


class LinePage(TypedDict):
    cursor: int
    lines: list[LineRow]
    bars: list[BarRow]  # of the run, whatever lines are asked for
    total: int
    before: int | None  # cursor of the next older page


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/logs", response_model=None, summary="Text log lines, the newest matches, oldest first")
    @needs(Role.VIEWER)
    def logs(
        between: OpenRange,
        run: OptionalRun = None,
        q: Annotated[str, Query(max_length=MOST_CHARACTERS, description="case-insensitive substring")] = "",
        level: Annotated[int, Query(ge=0, le=50, description="at least: 10, 20, 30, 40, 50")] = 0,
        before: Annotated[int | None, Query(ge=0, le=MOST_CURSOR, description="cursor of an earlier page")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LINES)] = 200,
    ) -> Answer[LinePage]:
        cursor = queries.cursor()
        page = queries.logs(LogQuery(run, q, level, *between, before, limit))
        bars = [bar_row(bar) for bar in queries.bars(run)]
        lines = [line_row(line) for line in page.lines]
        return Answer({"cursor": cursor, "lines": lines, "bars": bars, "total": page.total, "before": page.before})


def bar_row(bar: ProgressBar) -> BarRow:
    return {"run": bar.run, "time_s": bar.time_s, "file": bar.file, "text": bar.text}


def line_row(line: LogLine) -> LineRow:
    return {
        "run": line.run,
        "time_s": line.time_s,
        "level": line.level,
        "file": line.file,
        "text": line.text,
        "rank": line.rank,
        "number": line.number,
    }
