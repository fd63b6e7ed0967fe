"""Answers about the lines of text logs."""

from __future__ import annotations

from typing_extensions import TypedDict

from ...auth.viewing import seen
from ...log_lines.counting import LEVELS, LineDensity
from ...log_lines.lines import FieldCurve, LineStretch, NextLine, PlacedLine
from ...log_lines.opened import OpenedLine
from ...log_lines.searching import SearchedSoFar
from ..answer import Counts, Gaps
from ..logs import LineRow, line_row


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
