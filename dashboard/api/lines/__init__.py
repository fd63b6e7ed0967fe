"""Log lines as the Logs page asks for them: a stretch, counts over time, the next hit, templates, a field as a curve."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from collectors.store.lines import LineTemplate

from ...auth.roles import Role, needs
from ...log_lines.counting import TemplateLines
from ...log_lines.filters import LineFilter
from ...log_lines.lines import LineKind, LineQuestion
from ...log_lines.viewed import seen_fields, seen_template
from ...queries import NotFound, Queries
from ..answer import Answer
from ..parameters import MOST_CURSOR, Instant, OpenRange, RunParameter
from .answers import (
    DensityAnswer,
    FieldAnswer,
    LineStretchAnswer,
    NextLineAnswer,
    OpenedLineAnswer,
    TemplateAnswer,
    TemplatesAnswer,
    density_answer,
    field_answer,
    next_answer,
    opened_answer,
    progress_row,
    stretch_answer,
)
from .asking import LineNumber, line_question

MOST_LINES = 2000
MOST_LINE_CHARACTERS = 20_000  # more than the store returns of a line
MOST_BUCKETS = 2000
MOST_STROKES = 200
MOST_LISTED = 500  # templates


def add_routes(router: APIRouter, queries: Queries) -> None:
    asked_of: Any = Depends(line_question(queries))

    @router.get("/logs/lines", response_model=None, summary="A stretch of the log lines of some runs, or all, by time")
    @needs(Role.VIEWER)
    def stretch(
        offset: Annotated[int, Query(ge=0, le=MOST_CURSOR)] = 0,
        limit: Annotated[int, Query(ge=0, le=MOST_LINES)] = 200,
        at: Instant = None,
        around: Annotated[int | None, Query(ge=0, le=MOST_CURSOR, description="the number of a line")] = None,
        characters: Annotated[
            int, Query(ge=1, le=MOST_LINE_CHARACTERS, description="of a line's text")
        ] = MOST_LINE_CHARACTERS,
        asked: LineQuestion = asked_of,
    ) -> Answer[LineStretchAnswer]:
        return Answer(stretch_answer(queries.lines.stretch(asked, offset, limit, at, around), characters))

    @router.get("/logs/line", response_model=None, summary="One log line with its fields and numbers")
    @needs(Role.VIEWER)
    def opened(run: RunParameter, number: LineNumber) -> Answer[OpenedLineAnswer]:
        queries.check_run(run)
        found = queries.lines.line(run, number)
        if found is None:
            raise NotFound(f"run {run!r} has no line {number}; GET /api/v1/logs/lines lists them")
        return Answer(opened_answer(found))

    @router.get("/logs/density", response_model=None, summary="Log lines by level, and hits, in buckets of time")
    @needs(Role.VIEWER)
    def density(
        buckets: Annotated[int, Query(ge=1, le=MOST_BUCKETS)] = 400, asked: LineQuestion = asked_of
    ) -> Answer[DensityAnswer]:
        return Answer(density_answer(*queries.lines.density(asked, buckets)))

    @router.get("/logs/next", response_model=None, summary="The nearest hit, error or line behind a line, or before it")
    @needs(Role.VIEWER)
    def following(
        number: LineNumber, what: LineKind = "line", back: bool = False, asked: LineQuestion = asked_of
    ) -> Answer[NextLineAnswer]:
        return Answer(next_answer(queries.lines.next(asked, number, what, back=back)))

    @router.get(
        "/logs/templates",
        response_model=None,
        summary="The templates of the log lines in a window, the most frequent first",
    )
    @needs(Role.VIEWER)
    def templates(
        buckets: Annotated[int, Query(ge=1, le=MOST_STROKES)] = 80,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
        asked: LineQuestion = asked_of,
    ) -> Answer[TemplatesAnswer]:
        (lo, hi), found, total, progress = queries.lines.templates(asked, buckets, limit)
        rows = [_template_row(stored, counted) for stored, counted in found]
        return Answer({"t": lo, "t_end": hi, "templates": rows, "total": total, "search": progress_row(progress)})

    @router.get("/logs/field", response_model=None, summary="A number of the lines of a template, over time")
    @needs(Role.VIEWER)
    def field(
        run: RunParameter,
        template: Annotated[int, Query(ge=0, le=65_535, description="an id of GET /logs/templates")],
        between: OpenRange,
        field: Annotated[int, Query(ge=0, le=1000, description="which number of the line, counted from 0")] = 0,
        limit: Annotated[int, Query(ge=1, le=20_000, description="lines that are read, evenly chosen")] = 1000,
    ) -> Answer[FieldAnswer]:
        queries.check_run(run)
        stored, curve = queries.lines.field(run, template, field, LineFilter(*between), limit)
        return Answer(field_answer(seen_template(stored).text, curve))


def _template_row(stored: LineTemplate, counted: TemplateLines) -> TemplateAnswer:
    shown = seen_template(stored)
    return {
        "run": counted.run,
        "id": stored.id,
        "text": shown.text,
        "example": shown.example,
        "wide": stored.wide,
        "fields": seen_fields(stored),
        "lines": counted.lines,
        "level": counted.level,
        "first_time_s": counted.first_time_s,
        "last_time_s": counted.last_time_s,
        "of_run": stored.lines,
        "since_s": stored.first_time_s,
        "strokes": counted.strokes,
    }
