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
from collectors.records import LogLine, ProgressBar
from collectors.store.store import LineTemplate, LogQuery

from ..logs.lines import (
    FieldCurve,
    LineKind,
    LineQuestion,
    LineStretch,
    NextLine,
    OpenedLine,
    PlacedLine,
    seen_fields,
    seen_template,
)
from ..logs.search import Needle, SearchedSoFar
from ..logs.table import LEVELS, LineDensity, LineFilter, TemplateLines
from ..queries import BadRequest, NotFound, Queries
from ..visitors import seen
from .answers import Answer, Counts, Gaps
from .parameters import (
    MAX_LINES,
    MOST_CHARACTERS,
    MOST_CURSOR,
    MOST_ID,
    Instant,
    OpenRange,
    OptionalRun,
    RunNames,
    RunParameter,
    Window,
    known_run,
)


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


# Log lines: a page of them, counts over time, the next match, templates, and a file.

# Answers about the lines of text logs.


class SearchProgress(TypedDict):
    """`searched` of `lines` lines have been searched; where `done` is false, the same request goes on."""

    searched: int
    lines: int
    hits: int
    done: bool


class PlacedLineRow(LineRow):
    template: int  # an id of GET /logs/templates; 0 where it is not known yet
    hit: bool
    spans: list[tuple[int, int]]  # of the hits in `text`, in UTF-16 units; not of those far behind in a long line


class LineStretchAnswer(TypedDict):
    """`offset` is the place of the first line among the `total` lines that the filter leaves."""

    lines: list[PlacedLineRow]
    offset: int
    total: int
    left_out: int  # older lines, beyond the number that is held in memory; they are not in `total`
    search: SearchProgress | None


class LineFieldRow(TypedDict):
    name: str
    text: str  # as the line has it, `loss=0.25`


class OpenedLineAnswer(TypedDict):
    """`numbers[i]` is where field i of the template stands in `text`, in UTF-16 units."""

    line: LineRow
    template: int | None  # null while it is not known
    template_text: str
    numbers: list[tuple[int, int]]
    fields: list[LineFieldRow]


class LevelCounts(TypedDict):
    level: int  # this one, or up to below the next one
    counts: Counts


class DensityAnswer(TypedDict):
    """Buckets are equally wide; `from` and `to` are `t` and `t_end`."""

    t: float
    t_end: float
    total: int
    levels: list[LevelCounts]
    hits: Counts | None
    search: SearchProgress | None


class NextLineAnswer(TypedDict):
    """All null where there is no such line, as far as was searched."""

    run: str | None
    number: int | None
    offset: int | None
    time_s: float | None
    search: SearchProgress | None


class TemplateAnswer(TypedDict):
    run: str
    id: int
    text: str
    example: str
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

    text: str
    lines: int
    total: int
    t: Gaps
    v: Gaps


# The parameters that all routes of log lines share.

MOST_TEMPLATES = 400  # parameters `template` or `hide` of a request
MOST_NEEDLE = 1024  # characters
Ids = Annotated[list[Annotated[int, Field(ge=0, le=65_535)]], Query(max_length=MOST_TEMPLATES)]
Files = Annotated[
    list[Annotated[str, Field(max_length=MOST_CHARACTERS)]], Query(alias="file", max_length=MOST_TEMPLATES)
]
Ranks = Annotated[list[Annotated[int, Field(ge=0, le=MOST_ID)]], Query(alias="rank", max_length=MOST_TEMPLATES)]
LineNumber = Annotated[int, Query(ge=0, le=MOST_CURSOR, description="of a line, from an answer")]
MOST_LINES = 2000
MOST_LINE_CHARACTERS = 20_000  # more than the store returns of a line
MOST_BUCKETS = 2000
MOST_STROKES = 200
MOST_LISTED = 500  # templates
# What a run's log says in a window, and why a run crashed.

MAX_FAULT_LINES, MAX_FAULT_FRAMES = 200, 100  # of a fault


class LogChangeRow(TypedDict):
    kind: ChangeKind
    text: str  # the template, with # in place of numbers; "" for any line at all
    example: str
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


class LogDifferenceAnswer(TypedDict):
    sentence: str  # "" where nothing differs
    reason: str  # why nothing could be compared, ""
    windows: int  # that it was compared with
    changes: list[LogChangeRow]


class CrashFrameRow(TypedDict):
    file: str
    line: int
    function: str
    text: str


class FaultRow(TypedDict):
    kind: FaultKind
    sentence: str
    time_s: float
    rank: int | None
    exception: str
    message: str
    frames: list[CrashFrameRow]
    lines: list[LineRow]


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

    known = known_run(queries)

    @router.get(
        "/logs/difference", response_model=None, summary="What the log says in a window that it does not say otherwise"
    )
    @needs(Role.VIEWER)
    def difference(window: Window, run: str = known) -> Answer[LogDifferenceAnswer]:
        found = queries.log_changes.difference(run, window)
        changes = [change_row(change) for change in found.changes]
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
        others = [fault_row(fault) for fault in found.others]
        return Answer({"cause": fault_row(found.cause), "others": others, "ranks": found.ranks})


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


def progress_row(progress: SearchedSoFar | None) -> SearchProgress | None:
    if progress is None:
        return None
    return {"searched": progress.searched, "lines": progress.lines, "hits": progress.hits, "done": progress.done}


def stretch_answer(found: LineStretch, characters: int) -> LineStretchAnswer:
    return {
        "lines": [_placed(line, characters) for line in found.lines],
        "offset": found.offset,
        "total": found.total,
        "left_out": found.left_out,
        "search": progress_row(found.search),
    }


def density_answer(found: LineDensity, total: int, progress: SearchedSoFar | None) -> DensityAnswer:
    levels: list[LevelCounts] = [
        {"level": level, "counts": counts} for level, counts in zip(LEVELS, found.counts, strict=True)
    ]
    return {
        "t": found.from_s,
        "t_end": found.to_s,
        "total": total,
        "levels": levels,
        "hits": found.hits,
        "search": progress_row(progress),
    }


def next_answer(found: NextLine) -> NextLineAnswer:
    return {
        "run": found.run,
        "number": found.number,
        "offset": found.offset,
        "time_s": found.time_s,
        "search": progress_row(found.search),
    }


def field_answer(text: str, curve: FieldCurve) -> FieldAnswer:
    return {"text": text, "lines": len(curve.value), "total": curve.total, "t": curve.time_s, "v": curve.value}


def opened_answer(found: OpenedLine) -> OpenedLineAnswer:
    return {
        "line": line_row(found.line),
        "template": found.template.id if found.template else None,
        "template_text": found.template.text if found.template else "",
        "numbers": found.numbers,
        "fields": [{"name": field.name, "text": field.text} for field in found.fields],
    }


def _placed(found: PlacedLine, characters: int) -> PlacedLineRow:
    row = line_row(found.line)
    row["text"] = seen(row["text"])  # before it is cut, or half a secret would not look like one
    if len(row["text"]) > characters:
        row["text"] = f"{row['text'][:characters]} ... ({len(row['text']):,} characters)"
    return {**row, "template": found.template, "hit": found.is_hit, "spans": found.spans}


def line_question(queries: Queries) -> Callable[..., LineQuestion]:
    """A dependency: runs (all without any), filters and search. Raises NotFound, BadRequest."""

    def question_of(
        between: OpenRange,
        run: RunNames = [],  # noqa: B006  # pydantic copies it
        level: Annotated[int, Query(ge=0, le=50, description="at least: 10, 20, 30, 40, 50")] = 0,
        file: Files = [],  # noqa: B006
        rank: Ranks = [],  # noqa: B006
        template: Ids = [],  # noqa: B006
        hide: Ids = [],  # noqa: B006
        q: Annotated[str, Query(max_length=MOST_NEEDLE, description="searched for, newest lines first")] = "",
        regex: Annotated[bool, Query(description="q is a regular expression of RE2")] = False,
        case: Annotated[bool, Query(description="case matters")] = False,
        only_hits: Annotated[bool, Query(description="lines without q are left out")] = False,
    ) -> LineQuestion:
        for name in run:
            queries.check_run(name)
        runs = tuple(sorted(set(run))) or None
        if (template or hide) and (runs is None or len(runs) > 1):
            raise BadRequest("template and hide are ids of one run; name exactly one run")
        asked = LineFilter(*between, level, frozenset(file), frozenset(rank), frozenset(template), frozenset(hide))
        needle = Needle(q, regex, case) if q else None
        return LineQuestion(runs, asked, needle, only_hits and needle is not None)

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


def change_row(change: LogChange) -> LogChangeRow:
    return {
        "kind": change.kind,
        "text": change.text,
        "example": change.example,
        "count": change.count,
        "expected": change.expected,
        "since_s": change.since_s,
        "sure": change.sure,
        "times": change.times,
        "before": change.before,
        "after": change.after,
        "every_s": change.every_s,
        "pause_s": change.pause_s,
        "field": change.field,
        "value": change.value,
        "usual": change.usual,
    }


def fault_row(fault: Fault) -> FaultRow:
    return {
        "kind": fault.kind,
        "sentence": fault.sentence,
        "time_s": fault.time_s,
        "rank": fault.rank,
        "exception": fault.exception,
        "message": fault.message,
        "frames": [frame_row(frame) for frame in fault.frames[-MAX_FAULT_FRAMES:]],
        "lines": [line_row(line) for line in fault.lines[-MAX_FAULT_LINES:]],
    }


def frame_row(frame: CrashFrame) -> CrashFrameRow:
    return {"file": frame.file, "line": frame.line, "function": frame.function, "text": frame.text}
