"""Log lines: a page of them, counts over time, the next match, templates, what differs in a window, and why a run crashed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from typing_extensions import TypedDict

from access.roles import Role, needs
from analysis.logs.crash import Fault, FaultKind
from analysis.logs.difference import ChangeKind, LogChange, Surety
from collectors.lines.tracebacks import CrashFrame
from collectors.records import LogLine, ProgressBar, Public, Searched
from collectors.store.store import LineTemplate, LogQuery

from ..logs.lines import (
    LineDetail,
    LineKind,
    LineQuery,
    LineStretch,
    NextLine,
    PlacedLine,
    seen_fields,
    seen_template,
)
from ..logs.search import Needle, SearchProgress
from ..logs.table import LEVELS, LineFilter, TemplateLines
from ..queries import BadRequest, NotFound, Queries
from ..visitors import visible_text
from .answers import Answer, Counts, Gaps, subset
from .parameters import (
    MAX_CHARACTERS,
    MAX_CURSOR,
    MAX_ID,
    MAX_LINES,
    Instant,
    OpenRange,
    OptionalRun,
    RunNames,
    RunParameter,
    Window,
    known_run,
)


class LinePage(TypedDict):
    cursor: int
    lines: list[LogLine]
    bars: list[ProgressBar]  # of the run, whatever lines are asked for
    total: int
    before: int | None  # cursor of the next older page


class LevelCounts(TypedDict):
    level: int  # this one, or up to below the next one
    counts: Counts


class DensityAnswer(TypedDict):
    """Buckets are equally wide; `from` and `to` are `t` and `t_end`."""

    t: float
    t_end: float
    total: int
    levels: list[LevelCounts]
    errors: int  # as entries: a traceback of many lines is one
    hits: Counts | None
    search: SearchProgress | None


class TemplateAnswer(TypedDict):
    run: Public
    id: int
    text: Searched
    example: Searched
    wide: bool
    fields: int  # how many numbers GET /logs/field can read; some of a lower place may be left out for viewers
    lines: int  # in the window
    level: int  # the highest, in the window
    first_time_s: float
    last_time_s: float
    of_run: int  # lines of the whole run
    since_s: float  # its first line in the run
    strokes: Counts


class TemplatesAnswer(TypedDict):
    t: float
    t_end: float
    templates: list[TemplateAnswer]
    total: int
    search: SearchProgress | None


class FieldAnswer(TypedDict):
    """The values at `lines` of the `total` lines; null where a line has none."""

    text: Searched
    lines: int
    total: int
    t: Gaps
    v: Gaps


# The parameters that all routes of log lines share.

MAX_TEMPLATES = 400  # parameters `template` or `hide` of a request
MAX_NEEDLE = 1024  # characters
Ids = Annotated[list[Annotated[int, Field(ge=0, le=65_535)]], Query(max_length=MAX_TEMPLATES)]
Files = Annotated[list[Annotated[str, Field(max_length=MAX_CHARACTERS)]], Query(alias="file", max_length=MAX_TEMPLATES)]
Ranks = Annotated[list[Annotated[int, Field(ge=0, le=MAX_ID)]], Query(alias="rank", max_length=MAX_TEMPLATES)]
LineNumber = Annotated[int, Query(ge=0, le=MAX_CURSOR, description="of a line, from an answer")]
MAX_MATCHES = 2000
MAX_LINE_CHARACTERS = 20_000  # more than the store returns of a line
MAX_BUCKETS = 2000
MAX_STROKES = 200
MAX_LISTED = 500  # templates

# What a run's log says in a window, and why a run crashed.

MAX_FAULT_LINES, MAX_FAULT_FRAMES = 200, 100  # of a fault


class LogChangeRow(TypedDict):
    kind: ChangeKind
    text: Searched  # the template, with # in place of numbers; "" for any line at all
    example: Searched
    count: int
    expected: tuple[float, float]  # lines in most other windows
    since_s: float
    sure: Surety
    times: float  # how many times the limit of chance the excess is
    before: bool
    after: bool
    every_s: float | None
    pause_s: float | None
    field: int | None
    value: float | None
    usual: tuple[float, float] | None


log_change = subset(LogChange, LogChangeRow)


class LogDifferenceAnswer(TypedDict):
    sentence: Searched  # "" where nothing differs
    reason: Searched  # why nothing could be compared, ""
    windows: int  # that it was compared with
    changes: list[LogChangeRow]


class FaultRow(TypedDict):
    kind: FaultKind
    sentence: Searched
    time_s: float
    rank: int | None
    exception: Searched
    message: Searched
    frames: tuple[CrashFrame, ...]
    lines: tuple[LogLine, ...]


fault_row = subset(Fault, FaultRow)


class CrashAnswer(TypedDict):
    cause: FaultRow | None  # None: the run goes on, has finished, or its lines do not say
    others: list[FaultRow]
    ranks: int


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/logs", response_model=None, summary="Text log lines, the newest matches, oldest first")
    @needs(Role.VIEWER)
    def logs(
        between: OpenRange,
        run: OptionalRun = None,
        q: Annotated[str, Query(max_length=MAX_CHARACTERS, description="case-insensitive substring")] = "",
        level: Annotated[int, Query(ge=0, le=50, description="at least: 10, 20, 30, 40, 50")] = 0,
        before: Annotated[int | None, Query(ge=0, le=MAX_CURSOR, description="cursor of an earlier page")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LINES)] = 200,
    ) -> Answer[LinePage]:
        cursor = queries.cursor()
        page, bars = queries.logs(LogQuery(run, q, level, *between, before, limit)), queries.bars(run)
        return Answer({"cursor": cursor, "lines": page.lines, "bars": bars, "total": page.total, "before": page.before})

    asked_of: Any = Depends(line_question(queries))

    @router.get("/logs/lines", response_model=None, summary="A stretch of the log lines of some runs, or all, by time")
    @needs(Role.VIEWER)
    def stretch(
        offset: Annotated[int, Query(ge=0, le=MAX_CURSOR)] = 0,
        limit: Annotated[int, Query(ge=0, le=MAX_MATCHES)] = 200,
        at: Instant = None,
        around: Annotated[int | None, Query(ge=0, le=MAX_CURSOR, description="the number of a line")] = None,
        characters: Annotated[
            int, Query(ge=1, le=MAX_LINE_CHARACTERS, description="of a line's text")
        ] = MAX_LINE_CHARACTERS,
        asked: LineQuery = asked_of,
    ) -> Answer[LineStretch]:
        found = queries.lines.stretch(asked, offset, limit, at, around)
        return Answer(found._replace(lines=[_shortened(line, characters) for line in found.lines]))

    @router.get("/logs/line", response_model=None, summary="One log line with its fields and numbers")
    @needs(Role.VIEWER)
    def opened(run: RunParameter, number: LineNumber) -> Answer[LineDetail]:
        queries.check_run(run)
        found = queries.lines.line(run, number)
        if found is None:
            raise NotFound(f"run {run!r} has no line {number}; GET /api/v1/logs/lines lists them")
        return Answer(found)

    @router.get("/logs/density", response_model=None, summary="Log lines by level, and hits, in buckets of time")
    @needs(Role.VIEWER)
    def density(
        buckets: Annotated[int, Query(ge=1, le=MAX_BUCKETS)] = 400, asked: LineQuery = asked_of
    ) -> Answer[DensityAnswer]:
        found, total, progress = queries.lines.density(asked, buckets)
        levels: list[LevelCounts] = [
            {"level": level, "counts": counts} for level, counts in zip(LEVELS, found.counts, strict=True)
        ]
        return Answer(
            {
                "t": found.from_s,
                "t_end": found.to_s,
                "total": total,
                "levels": levels,
                "errors": found.errors,
                "hits": found.hits,
                "search": progress,
            }
        )

    @router.get("/logs/next", response_model=None, summary="The nearest hit, error or line behind a line, or before it")
    @needs(Role.VIEWER)
    def following(
        number: LineNumber, what: LineKind = "line", back: bool = False, asked: LineQuery = asked_of
    ) -> Answer[NextLine]:
        return Answer(queries.lines.next(asked, number, what, back=back))

    @router.get(
        "/logs/templates",
        response_model=None,
        summary="The templates of the log lines in a window, the most frequent first",
    )
    @needs(Role.VIEWER)
    def templates(
        buckets: Annotated[int, Query(ge=1, le=MAX_STROKES)] = 80,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
        asked: LineQuery = asked_of,
    ) -> Answer[TemplatesAnswer]:
        (lo, hi), found, total, progress = queries.lines.templates(asked, buckets, limit)
        rows = [_template_row(stored, counted) for stored, counted in found]
        return Answer({"t": lo, "t_end": hi, "templates": rows, "total": total, "search": progress})

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
        text, lines = seen_template(stored).text, len(curve.value)
        return Answer({"text": text, "lines": lines, "total": curve.total, "t": curve.time_s, "v": curve.value})

    known = known_run(queries)

    @router.get(
        "/logs/difference", response_model=None, summary="What the log says in a window that it does not say otherwise"
    )
    @needs(Role.VIEWER)
    def difference(window: Window, run: str = known) -> Answer[LogDifferenceAnswer]:
        found = queries.log_changes.difference(run, window)
        changes = list(map(log_change, found.changes))
        return Answer(
            {"sentence": found.sentence, "reason": found.reason, "windows": found.windows, "changes": changes}
        )

    @router.get(
        "/logs/crash", response_model=None, summary="Why a run ended that did not end by itself, by its last lines"
    )
    @needs(Role.VIEWER)
    def crash(run: str = known) -> Answer[CrashAnswer]:
        found = queries.log_changes.crash(run)
        if found is None:
            return Answer({"cause": None, "others": [], "ranks": 0})
        return Answer({"cause": _fault(found.cause), "others": list(map(_fault, found.others)), "ranks": found.ranks})


def _shortened(line: PlacedLine, characters: int) -> PlacedLine:
    text = visible_text(line.text)  # before it is cut, or half a secret would not look like one
    if len(text) > characters:
        text = f"{text[:characters]} ... ({len(text):,} characters)"
    return line if text is line.text else line._replace(text=text)


def _fault(fault: Fault) -> FaultRow:
    return fault_row(fault._replace(frames=fault.frames[-MAX_FAULT_FRAMES:], lines=fault.lines[-MAX_FAULT_LINES:]))


def line_question(queries: Queries) -> Callable[..., LineQuery]:
    """A dependency: runs (all without any), filters and search. Raises NotFound, BadRequest."""

    def question_of(
        between: OpenRange,
        run: RunNames = [],  # noqa: B006  # pydantic copies it
        level: Annotated[int, Query(ge=0, le=50, description="at least: 10, 20, 30, 40, 50")] = 0,
        file: Files = [],  # noqa: B006
        rank: Ranks = [],  # noqa: B006
        template: Ids = [],  # noqa: B006
        hide: Ids = [],  # noqa: B006
        q: Annotated[str, Query(max_length=MAX_NEEDLE, description="searched for, newest lines first")] = "",
        regex: Annotated[bool, Query(description="q is a regular expression of RE2")] = False,
        case: Annotated[bool, Query(description="case matters")] = False,
        only_hits: Annotated[bool, Query(description="lines without q are left out")] = False,
    ) -> LineQuery:
        for name in run:
            queries.check_run(name)
        runs = tuple(sorted(set(run))) or None
        if (template or hide) and (runs is None or len(runs) > 1):
            raise BadRequest("template and hide are ids of one run; name exactly one run")
        asked = LineFilter(*between, level, frozenset(file), frozenset(rank), frozenset(template), frozenset(hide))
        needle = Needle(q, regex, case) if q else None
        return LineQuery(runs, asked, needle, only_hits and needle is not None)

    return question_of


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
