"""Log lines for the Logs page: filtered, counted, searched, one screen at a time."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collectors.lines import templates
from collectors.lines.structured_lines import PAIR
from collectors.lines.templates import family_of, field_count, field_values, wide_text
from collectors.records import LogLine, Public, Searched
from collectors.store.store import LineColumns, LineExtent, LineTemplate, Store, holding
from deepseek.log.redaction import LEFT_OUT, redacted

from ..visitors import sees_all, visible_text
from .search import LineHits, LineSearches, Marker, Needle, ReadTexts, SearchProgress, TextSpan, in_utf16, number_places
from .table import (
    ERROR,
    LINE_BYTES,
    FilteredRows,
    LineDensity,
    LineFilter,
    LineSource,
    LineTable,
    TemplateLines,
    by_template,
    chosen,
    density,
    window_of,
)

# The tables of lines that were asked for lately, read from the store once and extended as lines arrive.

MAX_BYTES = 150_000_000  # of all tables
MAX_ROWS = MAX_BYTES // LINE_BYTES  # of a table: older lines are left out of it

Runs = tuple[str, ...] | None
"""By name and without repetition; None for all."""


class TableCache:
    """A table with the masks that were asked for last: who scrolls asks for the same ones again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.table = LineTable(0, 0)
        self.is_read = False
        self.left_out = 0  # lines that are older than those of the table
        self._marked: tuple[object, NDArray[np.bool_] | None] = (None, None)
        self._rows: tuple[object, FilteredRows | None] = (None, None)
        self.extents: dict[str, LineExtent] = {}
        self.after = 0  # lines with numbers up to this are left out

    def marked(self, needle: Needle | None, hits: LineHits | None) -> NDArray[np.bool_] | None:
        """Which rows are hits."""
        if hits is None:
            return None
        key = (needle, hits.base, hits.total, self.table.version)
        if self._marked[0] != key:
            self._marked = key, hit_rows(self.table, hits)
        return self._marked[1]

    def chosen(self, asked: LineFilter, marked: NDArray[np.bool_] | None = None) -> FilteredRows:
        """Of the rows that are marked, or of all, those that the filter leaves."""
        key = (asked, None if marked is None else self._marked[0], self.table.version)
        if self._rows[0] != key or self._rows[1] is None:
            self._rows = key, chosen(self.table, asked, marked)
        assert self._rows[1] is not None
        return self._rows[1]

    def clear(self) -> None:
        """Make room for another table."""
        self.table, self.is_read, self.extents = LineTable(0, 0), False, {}
        self._marked = self._rows = (None, None)


def hit_rows(table: LineTable, hits: LineHits) -> NDArray[np.bool_]:
    """Which rows are hits."""
    if not table.rows or not hits.parts:
        return np.zeros(table.rows, np.bool_)
    span = int(table.number.max()) + 1
    shift = table.base - hits.base
    if span > 8 * table.rows + 1_000_000:
        return np.isin(table.number, np.concatenate([part.astype(np.int64) - shift for part in hits.parts]))
    is_hit = np.zeros(span, np.bool_)
    for part in hits.parts:
        places = part if shift == 0 else part.astype(np.int64) - shift
        is_hit[places if shift == 0 and int(places.max()) < span else places[(places >= 0) & (places < span)]] = True
    return is_hit[table.number]


class LineStore:
    """All that the Logs page asks the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[Runs, TableCache] = OrderedDict()

    @property
    def read_texts(self) -> ReadTexts:
        return self._store.line_texts

    def extents(self, runs: Runs) -> dict[str, LineExtent]:
        """Of the runs that have lines."""
        return self._store.line_extents(runs)

    def lines(self, run: str, numbers: Sequence[int]) -> list[LogLine]:
        return self._store.lines(run, numbers)

    def templates(self, run: str) -> list[LineTemplate]:
        return self._store.templates(run)

    @contextmanager
    def held(self, runs: Runs) -> Iterator[TableCache]:
        """The table with all lines that are stored by now; nothing extends it meanwhile."""
        with self._lock:
            kept = self._kept.pop(runs, None) or TableCache()
            self._kept[runs] = kept
        with holding(kept.lock):
            extents = self._store.line_extents(runs)
            try:
                table = self._update(kept, extents)
            except BaseException:
                kept.clear()
                raise
            kept.left_out = max(0, sum(extent.lines for extent in extents.values()) - table.rows)
            self._make_room()
            yield kept

    def _update(self, kept: TableCache, extents: Mapping[str, LineExtent]) -> LineTable:
        table = kept.table
        total = sum(extent.lines for extent in extents.values())
        if (
            not kept.is_read
            or _is_other(kept.extents, extents)
            or (table.rows + _new(kept.extents, extents) > MAX_ROWS)
        ):
            newest = max((extent.last for extent in extents.values()), default=0)
            del table
            kept.clear()  # goes before its successor comes
            kept.after = newest - int(MAX_ROWS * 0.9) if total > MAX_ROWS else 0
            base = max(kept.after + 1, min((extent.first for extent in extents.values()), default=0))
            table = LineTable(base, min(total, MAX_ROWS))
        before = table.rows
        for run, extent in extents.items():
            known = kept.extents.get(run)
            after = max(kept.after, known.last if known else 0)
            if extent.last > after:
                self._store.line_columns(run, after, partial(_add_upto, table, extent.last))
        table.sort(before)
        kept.table, kept.is_read, kept.extents = table, True, dict(extents)
        return table

    def _make_room(self) -> None:
        """The least recently used go; one that is in use goes with its last question."""
        with self._lock:
            sizes = {runs: kept.table.bytes for runs, kept in self._kept.items()}
            while len(self._kept) > 1 and (sum(sizes.values()) > MAX_BYTES * 1.05 or len(self._kept) > 64):
                runs, _ = self._kept.popitem(last=False)
                del sizes[runs]


def _add_upto(table: LineTable, last: int, block: LineColumns) -> None:
    """What has arrived since the extents were asked for comes with the next question: it would be read twice."""
    table.add(block if block.number[-1] <= last else block.where(block.number <= last))


def _is_other(before: Mapping[str, LineExtent], now: Mapping[str, LineExtent]) -> bool:
    """Whether lines that were read are gone, or have got their templates since."""
    return any(
        run not in now
        or now[run].first != extent.first
        or now[run].lines < extent.lines
        or (extent.ungrouped and not now[run].ungrouped)
        for run, extent in before.items()
    )


def _new(before: Mapping[str, LineExtent], now: Mapping[str, LineExtent]) -> int:
    return sum(extent.lines - (before[run].lines if run in before else 0) for run, extent in now.items())


# Lines as a viewer may see them: numbers inside what is left out have no place and no value, templates are masks of what is seen.
#
# What is left out is found by trying: a number whose change does not change what is sent is no part of that.

OTHER_DIGITS = str.maketrans("0123456789", "1234567890")
MAX_CHARACTERS = 4000  # of a line with something left out: beyond, none of its numbers is offered

CharacterSpan: TypeAlias = tuple[int, int]


def seen_template(stored: LineTemplate) -> LineTemplate:
    """With the mask of the example as it is seen; the last word of an example that the store has cut may be half a secret."""
    if sees_all():
        return stored
    example = stored.example[: _whole(stored.example)]
    if example != stored.example:
        example += LEFT_OUT
    kept = redacted(example)
    if kept == stored.example:
        return stored
    mask = templates.masked(kept)
    return stored._replace(text=wide_text(family_of(mask)) if stored.wide else mask, example=kept)


def seen_fields(stored: LineTemplate) -> int:
    """How many numbers the lines of a template have that can be read."""
    if stored.wide:
        return 0
    count = field_count(stored.text)
    return count if sees_all() else count - _hidden_of_example(stored.example, 0, count)


def seen_values(values: NDArray[np.float64], texts: Sequence[str], field: int, example: str) -> NDArray[np.float64]:
    """Of a field in some lines; NaN where it is left out of the line, everywhere where it is left out of the example."""
    if sees_all():
        return values
    if _hidden_of_example(example, field, field + 1):
        return np.full_like(values, math.nan)
    return np.array(
        [math.nan if _is_hidden(text, field) else value for text, value in zip(texts, values.tolist(), strict=True)]
    )


def seen_numbers(text: str) -> list[TextSpan]:
    """In UTF-16 units of what is sent of a line, one for each `#` of its template; of no extent where it is left out."""
    sent = visible_text(text)
    spans: list[templates.NumberSpan] = []
    end = 0
    for place in (_place(text, sent, span) for span in _spans(text)):
        if place is None:
            start = end
        else:
            start, end = place
        spans.append(templates.NumberSpan(_bytes(sent[:start]), _bytes(sent[:end])))
    return in_utf16(sent.encode("utf-8", "surrogatepass"), spans)


def _whole(example: str) -> int:
    """How many of its characters are whole words: the store cuts examples."""
    if len(example) < templates.MAX_CHARACTERS:
        return len(example)
    return len(example.rstrip()) - len(example.split()[-1]) if example.strip() else 0


def _hidden_of_example(example: str, first: int, behind: int) -> int:
    """How many of some fields are left out."""
    sent, whole = visible_text(example), _whole(example)
    return sum(span[1] > whole or _place(example, sent, span) is None for span in _spans(example)[first:behind])


def _is_hidden(text: str, field: int) -> bool:
    sent = visible_text(text)
    return sent != text and any(_place(text, sent, span) is None for span in _spans(text)[field : field + 1])


def _spans(text: str) -> list[CharacterSpan]:
    """In characters."""
    shown = text[: templates.MAX_CHARACTERS].replace("\n", " ")
    (spans,) = templates.number_spans([shown])
    data = shown.encode("utf-8", "surrogatepass")
    return [(_characters(data[: span.start]), _characters(data[: span.end])) for span in spans]


def _place(text: str, sent: str, span: CharacterSpan) -> CharacterSpan | None:
    """Where a number of a text stands in what is sent of it."""
    start, end = span
    if sent == text:
        return span
    if start == end or len(text) > MAX_CHARACTERS:
        return None
    number, other = text[start:end], text[start:end].translate(OTHER_DIGITS)
    instead = visible_text(f"{text[:start]}{other}{text[end:]}")
    at = next((i for i, (a, b) in enumerate(zip(sent, instead, strict=False)) if a != b), None)
    if at is None:
        return None
    begin = at - next(i for i, (a, b) in enumerate(zip(number, other, strict=True)) if a != b)
    behind = begin + end - start
    return (begin, behind) if begin >= 0 and sent[begin:behind] == number and instead[begin:behind] == other else None


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8", "surrogatepass"))


# One line as it is shown when it is opened: whole, with its fields and with the numbers that can become curves.

MAX_FIELDS = 100


class LineField(NamedTuple):
    """`text` is what the line says, `"loss=0.25"`: a search for it finds other lines that say so."""

    name: Searched
    text: Searched


class LineDetail(NamedTuple):
    """`numbers[i]` is where field i of the template stands in the line's text, in UTF-16 units; of no extent where there is no number."""

    line: LogLine
    template: int | None  # its id; None while it is not known
    template_text: Searched
    numbers: list[TextSpan]
    fields: list[LineField]


def opened(line: LogLine, template: LineTemplate | None) -> LineDetail:
    text = visible_text(line.text)
    fields = [LineField(pair["key"], pair[0].strip()) for pair in PAIR.finditer(text)][:MAX_FIELDS]
    has_numbers = template is not None and not template.wide
    places = number_places if text == line.text else seen_numbers
    numbers = places(line.text)[: field_count(template.text)] if has_numbers and template is not None else []
    mask = seen_template(template).text if template else ""
    return LineDetail(line._replace(text=text), template.id if template else None, mask, numbers, fields)


# What the Logs page asks: a stretch of lines, counts over time, the next hit or error, templates, a number of a template as a curve.

MAX_PAGE_CHARACTERS = 8_000_000
MAX_FIELD_LINES = 20_000

LineKind: TypeAlias = Literal["line", "hit", "error"]


class LineQuery(NamedTuple):
    """Of which runs, filtered how; `needle` is searched for, and with `only_hits` other lines are left out."""

    runs: Runs
    filter: LineFilter
    needle: Needle | None = None
    only_hits: bool = False


class PlacedLine(NamedTuple):
    """A `LogLine` in an answer."""

    run: Public
    file: Searched
    time_s: float
    level: int
    text: Searched
    rank: int | None
    number: int
    template: int  # its id; 0 where it is not known yet
    hit: bool
    spans: list[TextSpan]  # of the hits in what who asks gets of its text, in UTF-16 units, as far as they are known


class LineStretch(NamedTuple):
    """Lines `offset` to `offset + len(lines)` of the `total` that the filter leaves, by time and then by arrival."""

    lines: list[PlacedLine]
    offset: int
    total: int
    left_out: int  # older lines, beyond those that are held in memory; they are not in `total`
    search: SearchProgress | None


class NextLine(NamedTuple):
    """`number` is None where there is no such line, as far as was searched."""

    run: Public | None
    number: int | None
    offset: int | None  # among the lines that the filter leaves
    time_s: float | None
    search: SearchProgress | None


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
        self, asked: LineQuery, offset: int, limit: int, at_s: float | None = None, around: int | None = None
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
            picked = _LineRef.of(table, found, marked)
            total = rows.total
            if progress is not None and marked is not None and any(asked.filter):
                among = held.chosen(asked.filter, None).total
                progress = progress._replace(hits=total if asked.only_hits else held.chosen(asked.filter, marked).total)
                if progress.done:
                    progress = progress._replace(searched=among, lines=among)
        marker = Marker(asked.needle) if asked.needle else None
        return LineStretch(self._lines(picked, marker), offset, total, held.left_out, progress)

    def density(self, asked: LineQuery, buckets: int) -> tuple[LineDensity, int, SearchProgress | None]:
        """With the number of lines that were counted."""
        progress, hits = self._search(asked)
        with self._reader.held(asked.runs) as held:
            table = held.table
            marked = held.marked(asked.needle, hits)
            rows = held.chosen(asked.filter, marked if asked.only_hits else None)
            window = window_of(table, asked.filter.from_s, asked.filter.to_s)
            return density(table, rows, window, buckets, marked), rows.total, progress

    def next(self, asked: LineQuery, number: int, wanted: LineKind, *, back: bool) -> NextLine:
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
        self, asked: LineQuery, buckets: int, most: int
    ) -> tuple[tuple[float, float], list[tuple[LineTemplate, TemplateLines]], int, SearchProgress | None]:
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
            found = rows.evenly(min(most, MAX_FIELD_LINES))
            numbers, time_s = table.number[found].astype(np.int64) + table.base, table.time_s[found]
            total = rows.total
        lines = {line.number: line.text for line in self._reader.lines(run, numbers.tolist())}
        texts = [lines.get(number, "") for number in numbers.tolist()]
        values = seen_values(field_values(texts, field), texts, field, stored.example)
        return stored, FieldCurve(time_s, values, total)

    def line(self, run: str, number: int) -> LineDetail | None:
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

    def _search(self, asked: LineQuery) -> tuple[SearchProgress | None, LineHits | None]:
        if asked.needle is None:
            return None, None
        return self._searches.work(asked.runs, asked.needle, self._reader.extents(asked.runs), self._reader.read_texts)

    def _lines(self, picked: Iterable[_LineRef], marker: Marker | None) -> list[PlacedLine]:
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
        self._shown = lines if sum(len(line.text) for line in lines.values()) <= MAX_PAGE_CHARACTERS else {}
        found: list[PlacedLine] = []
        size = 0
        for row in listed:
            if row.number in lines:
                line = lines[row.number]
                size += len(line.text)
                if found and size > MAX_PAGE_CHARACTERS:
                    break
                spans = marker.spans(visible_text(line.text)) if marker and row.is_hit else []
                found.append(PlacedLine(*line, row.template, row.is_hit, spans))
        return found


MAX_OF_ENTRY = 2000  # lines


def _last_of_entry(table: LineTable, row: int) -> int:
    """The lines of a traceback follow each other, all of them as errors of one source."""
    end = min(row + MAX_OF_ENTRY, table.rows - 1)
    while row < end and _belongs(table, row, row + 1):
        row += 1
    return row


def _first_of_entry(table: LineTable, row: int, least: int) -> int:
    end = max(row - MAX_OF_ENTRY, least)
    while row > end and _belongs(table, row - 1, row):
        row -= 1
    return row


def _belongs(table: LineTable, row: int, after: int) -> bool:
    return bool(min(table.level[row], table.level[after]) >= ERROR and table.source[row] == table.source[after])


class _LineRef(NamedTuple):
    run: str
    number: int
    template: int
    is_hit: bool

    @classmethod
    def of(cls, table: LineTable, rows: NDArray[np.int64], marked: NDArray[np.bool_] | None) -> list[_LineRef]:
        sources = [table.sources[source] for source in table.source[rows].tolist()]
        numbers = (table.number[rows].astype(np.int64) + table.base).tolist()
        hits = [False] * len(rows) if marked is None else marked[rows].tolist()
        columns = zip(sources, numbers, table.template[rows].tolist(), hits, strict=True)
        return [cls(source.run, number, template, hit) for source, number, template, hit in columns]
