"""What the Logs page asks: a stretch of lines, counts over time, the next hit or error, templates, a number of a template as a curve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collectors.analysis.logs.fields import field_count, field_values
from collectors.records import LogLine
from collectors.store.lines import LineTemplate
from collectors.store.protocol import Store

from ..auth.viewing import seen
from .counting import LineDensity, TemplateLines, by_template, density, window_of
from .filters import LineFilter
from .marking import Marker, TextSpan
from .needle import Needle
from .opened import OpenedLine, opened
from .reading import LineStore, Runs
from .searching import LineHits, LineSearches, SearchedSoFar
from .table import LineSource, LineTable
from .viewed import seen_values

ERROR = 40
MOST_PAGE_CHARACTERS = 8_000_000
MOST_FIELD_LINES = 20_000

LineKind: TypeAlias = Literal["line", "hit", "error"]


class LineQuestion(NamedTuple):
    """Of which runs, filtered how; `needle` is searched for, and with `only_hits` other lines are left out."""

    runs: Runs
    filter: LineFilter
    needle: Needle | None = None
    only_hits: bool = False


class PlacedLine(NamedTuple):
    line: LogLine
    template: int
    is_hit: bool
    spans: list[TextSpan]  # of the hits in what who asks gets of its text, as far as they are known


class LineStretch(NamedTuple):
    """Lines `offset` to `offset + len(lines)` of the `total` that the filter leaves, by time and then by arrival."""

    lines: list[PlacedLine]
    offset: int
    total: int
    left_out: int  # older lines, beyond those that are held in memory
    search: SearchedSoFar | None


class NextLine(NamedTuple):
    """`number` is None where there is no such line, as far as was searched."""

    run: str | None
    number: int | None
    offset: int | None  # among the lines that the filter leaves
    time_s: float | None
    search: SearchedSoFar | None


class FieldCurve(NamedTuple):
    """The values of a field at `lines` of the `total` lines of its template, evenly chosen; NaN where a line has none."""

    time_s: NDArray[np.float64]
    value: NDArray[np.float64]
    total: int


class NoSuchTemplate(Exception):
    """The text is one sentence with the remedy."""


class LogLines:
    """Methods are called from many threads. All may raise BadExpression."""

    def __init__(self, store: Store) -> None:
        self._reader = LineStore(store)
        self._searches = LineSearches()
        self._shown: dict[
            int, LogLine
        ] = {}  # by number, the lines of the last answer: a search that goes on shows them again

    def stretch(
        self, asked: LineQuestion, offset: int, limit: int, at_s: float | None = None, around: int | None = None
    ) -> LineStretch:
        """From `offset` on; or from the first line at or after `at_s`; or with the line of number `around` in the middle."""
        progress, hits = self._search(asked)
        with self._reader.held(asked.runs) as held:
            table = held.table
            marked = held.marked(asked.needle, hits)
            rows = held.chosen(asked.filter, marked if asked.only_hits else None)
            if at_s is not None:
                offset = rows.offset_of(int(np.searchsorted(table.time_s, at_s, "left")))
            elif around is not None:
                row = table.row_of(around)
                offset = max(0, rows.offset_of(row if row is not None else table.rows) - limit // 2)
            found: NDArray[np.int64] = rows.rows(offset, limit)
            picked = _Picked.of(table, found, marked)
            total = rows.total
            if progress is not None and marked is not None and any(asked.filter):
                progress = progress._replace(hits=total if asked.only_hits else held.chosen(asked.filter, marked).total)
        marker = Marker(asked.needle) if asked.needle else None
        return LineStretch(self._lines(picked, marker), offset, total, held.left_out, progress)

    def density(self, asked: LineQuestion, buckets: int) -> tuple[LineDensity, int, SearchedSoFar | None]:
        """With the number of lines that were counted."""
        progress, hits = self._search(asked)
        with self._reader.held(asked.runs) as held:
            table = held.table
            marked = held.marked(asked.needle, hits)
            rows = held.chosen(asked.filter, marked if asked.only_hits else None)
            window = window_of(table, asked.filter.from_s, asked.filter.to_s)
            return density(table, rows, window, buckets, marked), rows.total, progress

    def next(self, asked: LineQuestion, number: int, wanted: LineKind, *, back: bool) -> NextLine:
        """The nearest line of that kind behind a line (or before it, with `back`) that the filter leaves."""
        progress, hits = self._search(asked)
        with self._reader.held(asked.runs) as held:
            table = held.table
            marked = held.marked(asked.needle, hits)
            listed = held.chosen(asked.filter, marked if asked.only_hits else None)
            row = table.row_of(number)
            if row is None:
                row = -1 if not back else table.rows
            kinds = asked.filter._replace(level=max(asked.filter.level, ERROR)) if wanted == "error" else asked.filter
            rows = held.chosen(kinds, marked if wanted == "hit" or asked.only_hits else None)
            if wanted == "error" and not back and row >= 0:
                row = _last_of_entry(table, row)
            place = rows.offset_of(row) - 1 if back else rows.offset_of(row + 1)
            found = rows.rows(max(place, 0), 1 if place >= 0 else 0)
            if not len(found):
                return NextLine(None, None, None, None, progress)
            at = int(found[0]) if wanted == "hit" or not back else _first_of_entry(table, int(found[0]), rows.start)
            source = table.sources[int(table.source[at])]
            return NextLine(
                source.run, int(table.number[at]) + table.base, listed.offset_of(at), float(table.time_s[at]), progress
            )

    def templates(
        self, asked: LineQuestion, buckets: int, most: int
    ) -> tuple[tuple[float, float], list[tuple[LineTemplate, TemplateLines]], int, SearchedSoFar | None]:
        """The window, its most frequent templates as stored and as counted in it, and how many there are."""
        progress, hits = self._search(asked)
        with self._reader.held(asked.runs) as held:
            table = held.table
            rows = held.chosen(asked.filter, held.marked(asked.needle, hits) if asked.only_hits else None)
            window = window_of(table, asked.filter.from_s, asked.filter.to_s)
            counted = by_template(table, rows, window, buckets)
        stored = {run: self._stored(run) for run in {found.run for found in counted[:most]}}
        pairs = [(stored[found.run][found.id], found) for found in counted[:most] if found.id in stored[found.run]]
        return window, pairs, len(counted), progress

    def field(
        self, run: str, template: int, field: int, asked: LineFilter, most: int
    ) -> tuple[LineTemplate, FieldCurve]:
        """Raises NoSuchTemplate."""
        stored = self._stored(run).get(template)
        if stored is None:
            raise NoSuchTemplate(f"run {run!r} has no template {template}; GET /api/v1/logs/templates lists them")
        if stored.wide or not 0 <= field < field_count(stored.text):
            has = 0 if stored.wide else field_count(stored.text)
            raise NoSuchTemplate(f"the lines of template {template} have {has} numbers; field counts them from 0")
        with self._reader.held((run,)) as held:
            table = held.table
            rows = held.chosen(asked._replace(shown=[template]))
            found = rows.evenly(min(most, MOST_FIELD_LINES))
            numbers, time_s = table.number[found].astype(np.int64) + table.base, table.time_s[found]
            total = rows.total
        lines = {line.number: line.text for line in self._reader.lines(run, numbers.tolist())}
        texts = [lines.get(number, "") for number in numbers.tolist()]
        values = seen_values(field_values(texts, field), texts, field, stored.example)
        return stored, FieldCurve(time_s, values, total)

    def line(self, run: str, number: int) -> OpenedLine | None:
        """None where the run has no such line."""
        with self._reader.held((run,)) as held:
            row = held.table.row_of(number)
            template = 0 if row is None else int(held.table.template[row])
        found = self._reader.lines(run, [number])
        return opened(found[0], self._stored(run).get(template)) if found else None

    def sources(self, runs: Runs) -> list[LineSource]:
        """Which processes have written lines, where."""
        with self._reader.held(runs) as held:
            return list(held.table.sources)

    def _stored(self, run: str) -> dict[int, LineTemplate]:
        return {template.id: template for template in self._reader.templates(run)}

    def _search(self, asked: LineQuestion) -> tuple[SearchedSoFar | None, LineHits | None]:
        if asked.needle is None:
            return None, None
        return self._searches.work(asked.runs, asked.needle, self._reader.extents(asked.runs), self._reader.read_texts)

    def _lines(self, picked: Iterable[_Picked], marker: Marker | None) -> list[PlacedLine]:
        """With their texts, those of lines that are gone meanwhile left out."""
        by_run: dict[str, list[int]] = {}
        listed = list(picked)
        for row in listed:
            by_run.setdefault(row.run, []).append(row.number)
        shown = self._shown
        lines = {
            row.number: line for row in listed if (line := shown.get(row.number)) is not None and line.run == row.run
        }
        for run, numbers in by_run.items():
            missing = [number for number in numbers if number not in lines]
            lines |= {line.number: line for line in self._reader.lines(run, missing)} if missing else {}
        self._shown = lines if sum(len(line.text) for line in lines.values()) <= MOST_PAGE_CHARACTERS else {}
        found: list[PlacedLine] = []
        size = 0
        for row in listed:
            if row.number in lines:
                line = lines[row.number]
                size += len(line.text)
                if found and size > MOST_PAGE_CHARACTERS:
                    break
                spans = marker.spans(seen(line.text)) if marker and row.is_hit else []
                found.append(PlacedLine(line, row.template, row.is_hit, spans))
        return found


MOST_OF_ENTRY = 2000  # lines


def _last_of_entry(table: LineTable, row: int) -> int:
    """The lines of a traceback follow each other, all of them as errors of one source."""
    end = min(row + MOST_OF_ENTRY, table.rows - 1)
    while row < end and _belongs(table, row, row + 1):
        row += 1
    return row


def _first_of_entry(table: LineTable, row: int, least: int) -> int:
    end = max(row - MOST_OF_ENTRY, least)
    while row > end and _belongs(table, row - 1, row):
        row -= 1
    return row


def _belongs(table: LineTable, row: int, after: int) -> bool:
    return bool(min(table.level[row], table.level[after]) >= ERROR and table.source[row] == table.source[after])


class _Picked(NamedTuple):
    run: str
    number: int
    template: int
    is_hit: bool

    @classmethod
    def of(cls, table: LineTable, rows: NDArray[np.int64], marked: NDArray[np.bool_] | None) -> list[_Picked]:
        sources = [table.sources[source] for source in table.source[rows].tolist()]
        numbers = (table.number[rows].astype(np.int64) + table.base).tolist()
        hits = [False] * len(rows) if marked is None else marked[rows].tolist()
        columns = zip(sources, numbers, table.template[rows].tolist(), hits, strict=True)
        return [cls(source.run, number, template, hit) for source, number, template, hit in columns]
