"""The keys of a board's file: a row a key, which says how it is read, how it is written, and what it means."""

from __future__ import annotations

from typing import Any, get_args

import re2

from collectors.analysis.expressions.errors import ExpressionError
from collectors.analysis.expressions.expression import compile

from ..log_lines.needle import MOST_REGEX_BYTES
from . import values
from .errors import BoardError
from .kinds import BY_NAME, SHARED
from .model import (
    COLUMNS,
    MOST_CHARTS,
    MOST_CHOICES,
    MOST_IN_A_ROW,
    MOST_ROWS,
    Board,
    BoardChart,
    BoardRow,
    BucketValue,
    ChosenSeries,
    Corner,
    Threshold,
    ValueRange,
)
from .values import BoardField, listed, same
from .yaml_tree import YamlNode

MOST_RUNS, MOST_LABELS, MOST_THRESHOLDS, MOST_EXPRESSION = 20, 10, 10, 2000
PLAIN_NAME = re2.compile(r"[A-Za-z_][\w.:/]*")  # a bare word that is a series' name, and no expression
CHOICES = ("name", "glob", "regex", "expr")


def series_of(node: YamlNode) -> ChosenSeries:
    """A word is a name or an expression; a table has one of the keys of CHOICES."""
    if isinstance(node.value, str):
        return _checked(chosen_of(values.text_of(node, MOST_EXPRESSION)), node)
    table = values.table_of(node, "a series")
    given = [key for key in CHOICES if key in table]
    if len(given) != 1:
        raise BoardError(node.line, f"a series has one of {', '.join(CHOICES)}")
    read = values.read_table(node, SERIES_FIELDS, "a series")
    (by,) = given
    if not read.get(by):
        raise BoardError(node.line, f"{by} is empty")
    text = read.pop(by)
    return _checked(ChosenSeries(by, text, **read), node)  # type: ignore[arg-type]  # of CHOICES


def chosen_of(word: str) -> ChosenSeries:
    """`"gpu/power_w"` is a name, `"sum(gpu/power_w)"` an expression."""
    return ChosenSeries("name" if PLAIN_NAME.fullmatch(word) else "expr", word)


def plain_series(series: ChosenSeries) -> str | dict[str, Any]:
    if series == chosen_of(series.text):
        return series.text
    rest = {key: field.write(getattr(series, key)) for key, field in SERIES_FIELDS.items() if key not in CHOICES}
    return {series.by: series.text} | {key: value for key, value in rest.items() if value not in ("", [], {}, None)}


def _checked(series: ChosenSeries, node: YamlNode) -> ChosenSeries:
    line = node.value[series.by].line if isinstance(node.value, dict) else node.line
    if not series.text:
        raise BoardError(line, "a series is empty")
    if series.by == "expr":
        try:
            compile(series.text)
        except ExpressionError as error:
            raise BoardError(line, str(error)) from None
    if series.by == "regex":
        try:
            expression(series.text)
        except re2.error as error:
            reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
            raise BoardError(line, f"{series.text[:80]!r} is no regular expression: {reason}") from None
    if series.by == "expr" and (series.labels or series.runs):
        key = "labels" if series.labels else "runs"
        raise BoardError(line, f'an expression names its own {key}: gpu/power_w{{gpu="0"}}, train/loss{{run="a"}}')
    return series


def expression(text: str) -> Any:
    """Of RE2, whose time is linear. Raises re2.error."""
    options = re2.Options()
    options.max_mem = MOST_REGEX_BYTES
    options.log_errors = False
    return re2.compile(text, options)


def labels_read(node: YamlNode) -> tuple[tuple[str, str], ...]:
    table = values.table_of(node, "labels")
    if len(table) > MOST_LABELS:
        raise BoardError(node.line, f"at most {MOST_LABELS} labels")
    return tuple((key[: values.MOST_TEXT], values.text_of(value)) for key, value in table.items())


def range_of(node: YamlNode) -> ValueRange:
    """`[0, 100]`; `auto` at an end that the values decide."""
    ends = values.items_of(node, 2, "a range")
    if len(ends) != 2:
        raise BoardError(node.line, "a range has two ends, such as [0, 100] or [0, auto]")
    low, high = (None if end.value == "auto" else values.number_of(end) for end in ends)
    if low is not None and high is not None and not low < high:
        raise BoardError(node.line, "the first end of a range is below the second")
    return ValueRange(low, high)


def thresholds_of(node: YamlNode) -> tuple[Threshold, ...]:
    """`{80: warn, 90: bad}`, by value."""
    table = values.table_of(node, "thresholds")
    if len(table) > MOST_THRESHOLDS:
        raise BoardError(node.line, f"at most {MOST_THRESHOLDS} thresholds")
    found = [
        Threshold(values.number_of(YamlNode(tone.line, at)), values.among(("ok", "warn", "bad"))(tone))
        for at, tone in table.items()
    ]
    if len({threshold.at for threshold in found}) < len(found):
        raise BoardError(node.line, "a threshold is there twice")
    return tuple(sorted(found))


def chart_of(node: YamlNode) -> BoardChart:
    read = values.read_table(node, CHART_FIELDS, "a chart")
    table = values.table_of(node, "a chart")
    if "kind" not in read:
        raise BoardError(node.line, f"a chart has a kind: one of {', '.join(BY_NAME)}")
    kind = BY_NAME[read["kind"]]
    for key in read:
        if key not in SHARED and key not in kind.fields:
            raise BoardError(table[key].line, f"a chart of the kind {kind.name} has no {key}")
    for key in kind.needed:
        if not read.get(key):
            raise BoardError(node.line, f"a chart of the kind {kind.name} has {key}")
    return BoardChart(**read)


def row_of(node: YamlNode) -> BoardRow:
    return BoardRow(**values.read_table(node, ROW_FIELDS, "a row"))


def rows_of(node: YamlNode) -> tuple[BoardRow, ...]:
    rows = tuple(row_of(item) for item in values.items_of(node, MOST_ROWS, "rows"))
    if sum(len(row.charts) for row in rows) > MOST_CHARTS:
        raise BoardError(node.line, f"a board has at most {MOST_CHARTS} charts")
    return rows


def _all_series(node: YamlNode) -> tuple[ChosenSeries, ...]:
    items = [node] if not isinstance(node.value, list) else values.items_of(node, MOST_CHOICES, "series")
    return tuple(series_of(item) for item in items)


def _charts(node: YamlNode) -> tuple[BoardChart, ...]:
    return tuple(chart_of(item) for item in values.items_of(node, MOST_IN_A_ROW, "a row of charts"))


def _plain_range(value: ValueRange | None) -> Any:
    return None if value is None else ["auto" if end is None else values.plain_number(end) for end in value]


def _plain_thresholds(thresholds: tuple[Threshold, ...]) -> dict[int | float, str]:
    return {values.plain_number(threshold.at): threshold.tone for threshold in thresholds}


def plain_chart(chart: BoardChart) -> dict[str, Any]:
    return _plain(chart, BoardChart(chart.kind), CHART_FIELDS)


def plain_row(row: BoardRow) -> dict[str, Any]:
    return _plain(row, BoardRow(), ROW_FIELDS)


def plain_board(board: Board) -> dict[str, Any]:
    return _plain(board, Board(), BOARD_FIELDS)


def _plain(record: Any, usual: Any, fields: dict[str, BoardField]) -> dict[str, Any]:
    """What is as usual is left out."""
    return {
        key: field.write(getattr(record, key))
        for key, field in fields.items()
        if getattr(record, key) != getattr(usual, key) or key == "kind"
    }


def _rows(*fields: BoardField) -> dict[str, BoardField]:
    return {field.key: field for field in fields}


_RUNS = BoardField(
    "runs", values.words_of(MOST_RUNS), listed, "globs of names of runs; without it, the run that the page shows"
)

SERIES_FIELDS = _rows(
    BoardField("name", values.text_of, same, "a series' name"),
    BoardField("glob", values.text_of, same, "names with * and ?, in any case"),
    BoardField("regex", values.text_of, same, "an expression of RE2 that is found in a name"),
    BoardField("expr", lambda node: values.text_of(node, MOST_EXPRESSION), same, "an expression (docs/expressions.md)"),
    _RUNS,
    BoardField("labels", labels_read, dict, "globs of labels: {gpu: 0}"),
    BoardField(
        "label", values.text_of, same, "the name of the curve; {run}, {series} and labels in braces are filled in"
    ),
    BoardField("colour", values.whole_of(1, 16), same, "1 to 16"),
)
CHART_FIELDS = _rows(
    BoardField("kind", values.among(BY_NAME), same, "one of the kinds"),
    BoardField("title", values.text_of, same, "above the chart"),
    BoardField(
        "width", values.whole_of(1, COLUMNS), same, "of 12 columns; without it, what the others of the row leave"
    ),
    BoardField(
        "series", _all_series, lambda all_series: [plain_series(series) for series in all_series], "what it draws"
    ),
    BoardField("x", series_of, plain_series, "of a scatter chart: what lies along x"),
    BoardField(
        "best",
        values.among(get_args(Corner)),
        same,
        "of a scatter chart: the corner where its best points lie, whose front is drawn",
    ),
    BoardField("axis", values.among(("time", "step")), same, "time or step; without it, the board's"),
    BoardField("unit", values.text_of, same, "shown instead of the series' own"),
    BoardField("range", range_of, _plain_range, "of the values: [0, 100], [0, auto]"),
    BoardField("log", values.flag_of, same, "a logarithmic axis of values"),
    BoardField("smooth", values.smooth_of, same, "the half-life of an exponential average: 10 s, 20 steps"),
    BoardField(
        "value",
        values.among(get_args(BucketValue)),
        same,
        "which value of the shown range: last, mean, min, max, sum, or change, from the first to the last",
    ),
    BoardField("thresholds", thresholds_of, _plain_thresholds, "from which value on a tone: {80: warn, 90: bad}"),
    BoardField("bins", values.whole_of(2, 200), same, "of a histogram, at most"),
    BoardField("text", values.long_text_of, same, "of a note; of log lines, what they have"),
)
ROW_FIELDS = _rows(
    BoardField("title", values.text_of, same, "above the row"),
    BoardField("height", values.whole_of(80, 1200), same, "pixels"),
    BoardField(
        "charts", _charts, lambda charts: [plain_chart(chart) for chart in charts], "at most 12, from left to right"
    ),
)
BOARD_FIELDS = _rows(
    BoardField("title", values.text_of, same, "of the board"),
    BoardField("about", values.long_text_of, same, "a sentence below the title"),
    BoardField("window", values.window_of, same, "how much is shown, up to now: 15 min; all: the shown run"),
    BoardField("axis", values.among(("time", "step")), same, "time or step"),
    _RUNS,
    BoardField("rows", rows_of, lambda rows: [plain_row(row) for row in rows], "from top to bottom"),
)
