"""A board as its YAML file describes it: rows of charts, each with its series (docs/boards.md)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import re2

from analysis.expressions.evaluation import compile
from analysis.expressions.language import ExpressionError, regex_of
from collectors import options
from collectors.records import Labels
from collectors.yaml_values import (
    MAX_TEXT,
    Read,
    YamlError,
    YamlNode,
    among,
    flag_of,
    items_of,
    number_of,
    only,
    table_of,
    text_of,
    whole_of,
    words_of,
)

from ..series.subscription import is_glob

ChartAxis: TypeAlias = Literal["time", "step"]
ChoiceOfSeries: TypeAlias = Literal["name", "glob", "regex", "expr"]
BucketValue: TypeAlias = Literal["last", "mean", "min", "max", "sum", "change"]
Tone: TypeAlias = Literal["ok", "warn", "bad"]
Corner: TypeAlias = Literal["top left", "top right", "bottom left", "bottom right"]

MAX_ROWS, MAX_IN_A_ROW, MAX_CHARTS, MAX_CHOICES = 60, 12, 100, 50
COLUMNS = 12  # that the charts of a row share


class SeriesChoice(NamedTuple):
    """`SeriesChoice("glob", "phase/*_s", labels=(("rank", "0"),))`: which series a chart draws, each as a curve.

    `runs` and the values of `labels` are globs; without `runs` those of the board. `label` may have `{run}`, `{series}` and labels in braces.
    """

    by: ChoiceOfSeries
    text: str
    runs: tuple[str, ...] = ()
    labels: Labels = ()
    label: str = ""
    colour: int | None = None  # 1 to 16


class Threshold(NamedTuple):
    """From `at` on, upwards, a number has this tone."""

    at: float
    tone: Tone


class ValueRange(NamedTuple):
    """Of the value axis; None: as far as the values go."""

    low: float | None = None
    high: float | None = None


class BoardChart(NamedTuple):
    """What is "" or None is as usual; which fields a kind has is in `kinds.py`."""

    kind: str
    title: str = ""
    width: int | None = None  # of 12 columns; None: those of a row share what is left
    series: tuple[SeriesChoice, ...] = ()
    x: SeriesChoice | None = None  # of a scatter chart
    best: Corner | None = None  # of a scatter chart: where its best points lie
    axis: ChartAxis | None = None  # None: the board's
    unit: str = ""  # shown instead of the series' own
    range: ValueRange | None = None
    log: bool = False
    smooth: str = ""  # a half-life, "10 s" or "20 steps"
    value: BucketValue = "last"  # of the shown range; change: from its first to its last
    thresholds: tuple[Threshold, ...] = ()
    bins: int = 40
    text: str = ""


class BoardRow(NamedTuple):
    charts: tuple[BoardChart, ...] = ()
    title: str = ""
    height: int = 220  # pixels


class Board(NamedTuple):
    title: str = ""
    about: str = ""
    window: str = "all"  # a duration up to now, "15 min"; "all": the shown run from its start
    axis: ChartAxis = "time"
    runs: tuple[str, ...] = ()  # globs; (): the run that the page shows
    rows: tuple[BoardRow, ...] = ()


# What is wrong with a board's file, with the line.


# A change of a board's text, at a place.

EditKind: TypeAlias = Literal["set", "remove", "insert", "move"]
EditPlace: TypeAlias = Sequence[str | int]

MAX_EDITS, MAX_PLACE = 100, 8


class BoardEdit(NamedTuple):
    """`BoardEdit("set", ("rows", 0, "charts", 1, "width"), value=6)`. `insert` puts a value before an item of a list, or at its end.

    `move` takes an item away first: `to` counts without it.
    """

    kind: EditKind
    place: EditPlace
    value: Any = None
    to: EditPlace = ()


# Values of a board's file: each is read from a node and written as plain data.

MAX_LONG_TEXT = 10_000
MAX_WINDOW_D = 10_000
EXAMPLE = "title: GPUs"  # a line of a table
SMOOTH = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d|steps?)")

Write: TypeAlias = Callable[[Any], Any]


class BoardField(NamedTuple):
    """A key of a table in the file, of the same name as the attribute of its record."""

    key: str
    read: Read
    write: Write
    help: str


def same(value: Any) -> Any:
    return value


def listed(values: Any) -> Any:
    return list(values)


def read_table(node: YamlNode, fields: Mapping[str, BoardField], what: str) -> dict[str, Any]:
    """By key. Raises YamlError for a key that is none of these."""
    table = table_of(node, what, EXAMPLE)
    only(table, fields, what)
    return {key: fields[key].read(value) for key, value in table.items() if not value.empty}


def long_text_of(node: YamlNode) -> str:
    return text_of(node, MAX_LONG_TEXT)


def window_of(node: YamlNode) -> str:
    """`"15 min"` or `"all"`."""
    text = text_of(node)
    if text != "all" and seconds_of(node, text) > MAX_WINDOW_D * options.SECONDS["d"]:
        raise YamlError(node.line, f"a window has at most {MAX_WINDOW_D:,} d; all is the shown run from its start")
    return text


def seconds_of(node: YamlNode, text: str) -> float:
    try:
        return options.seconds(text)
    except (argparse.ArgumentTypeError, OverflowError):
        raise YamlError(node.line, f"{text[:40]!r} is neither a duration such as 15 min nor all") from None


def smooth_of(node: YamlNode) -> str:
    text = text_of(node)
    found = SMOOTH.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise YamlError(node.line, f"{text[:40]!r} is not a half-life such as 10 s or 20 steps")
    return text


def plain_number(value: float) -> int | float:
    """`4.0 -> 4`"""
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


# The kinds of charts: a row a kind, with the fields that it has beside a title and a width.

AXES = ("axis", "unit", "range", "log")
SHARED = ("kind", "title", "width")


class ChartKind(NamedTuple):
    """`fields` are those of a chart that it has beside SHARED; those of `needed` must be there."""

    name: str
    help: str
    fields: tuple[str, ...]
    needed: tuple[str, ...] = ("series",)

    @property
    def asks(self) -> bool:
        """Whether it draws series."""
        return "series" in self.fields


KINDS = (
    ChartKind("line", "A line per series, with the least and the greatest value of each bucket around it.", ("series", *AXES, "smooth")),
    ChartKind("area", "A line per series, filled down to 0.", ("series", *AXES, "smooth")),
    ChartKind("stacked", "Areas on top of each other, whose edge is the sum.", ("series", "axis", "unit", "range", "smooth")),
    ChartKind("heat map", "A row of cells per series; the colour is the value.", ("series", "axis", "unit", "range")),
    ChartKind("histogram", "How often which values occur in the shown range.", ("series", "axis", "unit", "range", "bins")),
    ChartKind("bar", "A bar per series, as long as its value.", ("series", "axis", "unit", "range", "value", "thresholds")),
    ChartKind("scatter", "A point per place: one series against another.", ("series", "x", "best", "axis", "unit", "range", "log"), ("series", "x")),
    ChartKind("number", "A value per series, with a small line and the colour of its threshold.", ("series", "axis", "unit", "value", "thresholds")),
    ChartKind("table", "A row per series: last, least, mean and greatest value.", ("series", "axis", "unit", "thresholds")),
    ChartKind("text", "A note.", ("text",), ("text",)),
    ChartKind("flame graph", "The Python stacks of the shown range, of the shown run.", (), ()),
    ChartKind("log lines", "The newest lines of the shown run, those that have the text where there is one.", ("text",), ()),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}


# The keys of a board's file: a row a key, which says how it is read, how it is written, and what it means.

MAX_RUNS, MAX_LABELS, MAX_THRESHOLDS, MAX_EXPRESSION = 20, 10, 10, 2000
PLAIN_NAME = re2.compile(r"[A-Za-z_][\w.:/]*")  # a bare word that is a series' name, and no expression
CHOICES = ("name", "glob", "regex", "expr")


def series_of(node: YamlNode) -> SeriesChoice:
    """A word is a name or an expression; a table has one of the keys of CHOICES."""
    if isinstance(node.value, str):
        return _checked(chosen_of(text_of(node, MAX_EXPRESSION)), node)
    table = table_of(node, "a series", EXAMPLE)
    given = [key for key in CHOICES if key in table]
    if len(given) != 1:
        raise YamlError(node.line, f"a series has one of {', '.join(CHOICES)}")
    read = read_table(node, SERIES_FIELDS, "a series")
    (by,) = given
    if not read.get(by):
        raise YamlError(node.line, f"{by} is empty")
    text = read.pop(by)
    return _checked(SeriesChoice(by, text, **read), node)  # type: ignore[arg-type]  # of CHOICES


def chosen_of(word: str) -> SeriesChoice:
    """`"gpu/power_w"` is a name, `"sum(gpu/power_w)"` an expression."""
    return SeriesChoice("name" if PLAIN_NAME.fullmatch(word) else "expr", word)


def plain_series(series: SeriesChoice) -> str | dict[str, Any]:
    if series == chosen_of(series.text):
        return series.text
    rest = {key: field.write(getattr(series, key)) for key, field in SERIES_FIELDS.items() if key not in CHOICES}
    return {series.by: series.text} | {key: value for key, value in rest.items() if value not in ("", [], {}, None)}


def _checked(series: SeriesChoice, node: YamlNode) -> SeriesChoice:
    line = node.value[series.by].line if isinstance(node.value, dict) else node.line
    if not series.text:
        raise YamlError(line, "a series is empty")
    if series.by == "expr":
        try:
            compile(series.text)
        except ExpressionError as error:
            raise YamlError(line, str(error)) from None
    if series.by == "regex":
        try:
            regex_of(series.text)
        except ValueError as error:
            raise YamlError(line, str(error)) from None
    if series.by == "expr" and (series.labels or series.runs):
        key = "labels" if series.labels else "runs"
        raise YamlError(line, f'an expression names its own {key}: gpu/power_w{{gpu="0"}}, train/loss{{run="a"}}')
    return series


def exprs_of(series: SeriesChoice) -> list[str]:
    """The expressions that choose the same: one, or one a run where it names some."""
    if series.by == "expr":
        return [series.text]
    plain = series.by == "name" and PLAIN_NAME.fullmatch(series.text)
    name = (series.text if plain else _quoted(series.text)) if series.by == "name" else ""
    of_name = {"name": [], "glob": [f"name=~{_quoted(series.text)}"], "regex": [f"name~={_quoted(series.text)}"]}
    matchers = [
        *of_name[series.by],
        *(_matcher(key if key.isidentifier() else _quoted(key), value) for key, value in series.labels),
    ]
    found = [[*matchers, _matcher("run", run)] for run in series.runs] or [matchers]
    return [f"{name}{{{', '.join(some)}}}" if some else name for some in found]


def _matcher(key: str, glob: str) -> str:
    return f"{key}{'=~' if is_glob(glob) else '='}{_quoted(glob)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def labels_read(node: YamlNode) -> tuple[tuple[str, str], ...]:
    table = table_of(node, "labels", "rank: 0")
    if len(table) > MAX_LABELS:
        raise YamlError(node.line, f"at most {MAX_LABELS} labels")
    return tuple((key[:MAX_TEXT], text_of(value)) for key, value in table.items())


def range_of(node: YamlNode) -> ValueRange:
    """`[0, 100]`; `auto` at an end that the values decide."""
    ends = items_of(node, 2, "a range")
    if len(ends) != 2:
        raise YamlError(node.line, "a range has two ends, such as [0, 100] or [0, auto]")
    low, high = (None if end.value == "auto" else number_of(end) for end in ends)
    if low is not None and high is not None and not low < high:
        raise YamlError(node.line, "the first end of a range is below the second")
    return ValueRange(low, high)


def thresholds_of(node: YamlNode) -> tuple[Threshold, ...]:
    """`{80: warn, 90: bad}`, by value."""
    table = table_of(node, "thresholds", "83: warn")
    if len(table) > MAX_THRESHOLDS:
        raise YamlError(node.line, f"at most {MAX_THRESHOLDS} thresholds")
    found = [
        Threshold(number_of(YamlNode(tone.line, at)), among(("ok", "warn", "bad"))(tone)) for at, tone in table.items()
    ]
    if len({threshold.at for threshold in found}) < len(found):
        raise YamlError(node.line, "a threshold is there twice")
    return tuple(sorted(found))


def chart_of(node: YamlNode) -> BoardChart:
    read = read_table(node, CHART_FIELDS, "a chart")
    table = table_of(node, "a chart", EXAMPLE)
    if "kind" not in read:
        raise YamlError(node.line, f"a chart has a kind: one of {', '.join(BY_NAME)}")
    kind = BY_NAME[read["kind"]]
    for key in read:
        if key not in SHARED and key not in kind.fields:
            raise YamlError(table[key].line, f"a chart of the kind {kind.name} has no {key}")
    for key in kind.needed:
        if not read.get(key):
            raise YamlError(node.line, f"a chart of the kind {kind.name} has {key}")
    return BoardChart(**read)


def row_of(node: YamlNode) -> BoardRow:
    return BoardRow(**read_table(node, ROW_FIELDS, "a row"))


def rows_of(node: YamlNode) -> tuple[BoardRow, ...]:
    rows = tuple(row_of(item) for item in items_of(node, MAX_ROWS, "rows"))
    if sum(len(row.charts) for row in rows) > MAX_CHARTS:
        raise YamlError(node.line, f"a board has at most {MAX_CHARTS} charts")
    return rows


def _all_series(node: YamlNode) -> tuple[SeriesChoice, ...]:
    items = [node] if not isinstance(node.value, list) else items_of(node, MAX_CHOICES, "series")
    return tuple(series_of(item) for item in items)


def _charts(node: YamlNode) -> tuple[BoardChart, ...]:
    return tuple(chart_of(item) for item in items_of(node, MAX_IN_A_ROW, "a row of charts"))


def _plain_range(value: ValueRange | None) -> Any:
    return None if value is None else ["auto" if end is None else plain_number(end) for end in value]


def _plain_thresholds(thresholds: tuple[Threshold, ...]) -> dict[int | float, str]:
    return {plain_number(threshold.at): threshold.tone for threshold in thresholds}


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
    "runs", words_of(MAX_RUNS), listed, "globs of names of runs; without it, the run that the page shows"
)

SERIES_FIELDS = _rows(
    BoardField("name", text_of, same, "a series' name"),
    BoardField("glob", text_of, same, "names with * and ?, in any case"),
    BoardField("regex", text_of, same, "an expression of RE2 that is found in a name"),
    BoardField("expr", lambda node: text_of(node, MAX_EXPRESSION), same, "an expression (docs/expressions.md)"),
    _RUNS,
    BoardField("labels", labels_read, dict, "globs of labels: {gpu: 0}"),
    BoardField("label", text_of, same, "the name of the curve; {run}, {series} and labels in braces are filled in"),
    BoardField("colour", whole_of(1, 16), same, "1 to 16"),
)
CHART_FIELDS = _rows(
    BoardField("kind", among(BY_NAME), same, "one of the kinds"),
    BoardField("title", text_of, same, "above the chart"),
    BoardField("width", whole_of(1, COLUMNS), same, "of 12 columns; without it, what the others of the row leave"),
    BoardField(
        "series", _all_series, lambda all_series: [plain_series(series) for series in all_series], "what it draws"
    ),
    BoardField("x", series_of, plain_series, "of a scatter chart: what lies along x"),
    BoardField(
        "best",
        among(get_args(Corner)),
        same,
        "of a scatter chart: the corner where its best points lie, whose front is drawn",
    ),
    BoardField("axis", among(("time", "step")), same, "time or step; without it, the board's"),
    BoardField("unit", text_of, same, "shown instead of the series' own"),
    BoardField("range", range_of, _plain_range, "of the values: [0, 100], [0, auto]"),
    BoardField("log", flag_of, same, "a logarithmic axis of values"),
    BoardField("smooth", smooth_of, same, "the half-life of an exponential average: 10 s, 20 steps"),
    BoardField(
        "value",
        among(get_args(BucketValue)),
        same,
        "which value of the shown range: last, mean, min, max, sum, or change, from the first to the last",
    ),
    BoardField("thresholds", thresholds_of, _plain_thresholds, "from which value on a tone: {80: warn, 90: bad}"),
    BoardField("bins", whole_of(2, 200), same, "of a histogram, at most"),
    BoardField("text", long_text_of, same, "of a note; of log lines, what they have"),
)
ROW_FIELDS = _rows(
    BoardField("title", text_of, same, "above the row"),
    BoardField("height", whole_of(80, 1200), same, "pixels"),
    BoardField(
        "charts", _charts, lambda charts: [plain_chart(chart) for chart in charts], "at most 12, from left to right"
    ),
)
BOARD_FIELDS = _rows(
    BoardField("title", text_of, same, "of the board"),
    BoardField("about", long_text_of, same, "a sentence below the title"),
    BoardField("window", window_of, same, "how much is shown, up to now: 15 min; all: the shown run"),
    BoardField("axis", among(("time", "step")), same, "time or step"),
    _RUNS,
    BoardField("rows", rows_of, lambda rows: [plain_row(row) for row in rows], "from top to bottom"),
)
