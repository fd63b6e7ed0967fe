"""Data of a board's charts: which series each shows, their labels, and their points."""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from analysis.expressions.evaluation import compile
from analysis.expressions.language import ExpressionError, NoSeries, unit_of_series
from collectors.records import Labels
from collectors.store.store import Axis, Buckets, Series, Store, TooMuch, check

from ..series.axis import attempts_of, superseded
from ..series.expressions import ExpressionQuery, ExpressionResult, Expressions, chosen_of
from ..series.subscription import is_glob
from .board import Board, BoardChart, SeriesChoice, expression, meant
from .files import BoardFile

X_ITEM = -1  # the item of a scatter chart's `x`


class ChartsQuery(NamedTuple):
    """`lo` and `hi` are inclusive and on the axis; None is open. `runs` are names or globs, of series that name none themselves."""

    charts: Sequence[BoardChart]
    runs: Sequence[str] = ()
    axis: Axis = "time"
    lo: float | None = None
    hi: float | None = None
    buckets: int = 300  # of a curve


class BoardCurve(NamedTuple):
    """`item` is the place in the chart's `series`. `run` is "" of the machine; `series` is a name, or an expression's text."""

    item: int
    run: str
    series: str
    labels: Labels
    unit: str
    buckets: Buckets
    label: str = ""
    colour: int | None = None


class SkippedSeries(NamedTuple):
    """`reason` is one sentence."""

    item: int
    reason: str


@dataclass
class DrawnChart:
    curves: list[BoardCurve] = field(default_factory=list)
    left_out: list[SkippedSeries] = field(default_factory=list)


class FollowedSeries(NamedTuple):
    """A stored series behind the charts: new points of it change them. `run` is None for the machine's."""

    run: str | None
    name: str


@dataclass(frozen=True)
class DrawnCharts:
    """`cursor` is the newest commit that they surely hold. `lo` and `hi` are None where there is no point."""

    cursor: int
    lo: float | None
    hi: float | None
    charts: list[DrawnChart]
    followed: list[FollowedSeries]


# The names of a chart's curves: what its file says, else that in which they differ (pure).

PLACE = re.compile(r"\{([^{}]{1,100})\}")
RUN, SERIES = "run", "series"
WORDS = {"gpu": "GPU {}", "rank": "rank {}"}  # labels that are no word by themselves


def labelled(curves: Sequence[BoardCurve], chart: BoardChart) -> list[BoardCurve]:
    """In the order of the chart's entries, then by run and labels: `gpu/power_w` of eight GPUs are `GPU 0` to `GPU 7`; of two hosts `a, GPU 0`."""
    curves = sorted(curves, key=_order)
    drawn = [curve for curve in curves if curve.item >= 0]  # what lies along x has no name on the chart
    known = dict.fromkeys((RUN, SERIES, *_keys(drawn)))  # `run` is a label of the machine's series about runs, too
    keys = [key for key in known if len({_values(curve).get(key, "") for curve in drawn}) > 1]
    if any(key in keys for key in ("gpu", "mig")):
        keys = [key for key in keys if key != "uuid"]
    found = []
    for curve in curves:
        row = _values(curve)
        entry = chart.series[curve.item] if 0 <= curve.item < len(chart.series) else chart.x
        given = _filled(entry.label, row) if entry else ""
        label = given or ", ".join(_word(key, row[key]) for key in keys if row.get(key)) or curve.series
        found.append(curve._replace(label=label, colour=entry.colour if entry else None))
    return found


def _values(curve: BoardCurve) -> dict[str, str]:
    return {SERIES: curve.series, **({RUN: curve.run} if curve.run else {}), **dict(curve.labels)}


def _order(curve: BoardCurve) -> tuple[object, ...]:
    """`GPU 2` before `GPU 10`."""
    labels = tuple(
        sorted((key, len(value) if value.isdigit() else 0, value) for key, value in curve.labels if key != "uuid")
    )
    return curve.item, curve.run, curve.series, labels


def _keys(curves: Sequence[BoardCurve]) -> list[str]:
    return list(dict.fromkeys(key for curve in curves for key, _ in curve.labels))


def _word(key: str, value: str) -> str:
    return WORDS.get(key, "{}").format(value)


def _filled(template: str, row: dict[str, str]) -> str:
    """A part between commas that names a label which the curve lacks is left out: `rank {rank}, forward` of a single process is `forward`."""
    parts = [part for part in template.split(", ") if all(key in row for key in PLACE.findall(part))]
    return ", ".join(PLACE.sub(lambda place: row[place[1]], part) for part in parts)


# Every read of the store for boards.

MAX_RUNS = 50  # of a question


class BoardReader:
    """Raises what the store raises: StoreError, QueryAborted, TooMuch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cursor(self) -> int:
        return self._store.seq()

    def series(self, run: str | None) -> list[Series]:
        check()
        return list(self._store.series(run))

    def runs(self, globs: Sequence[str]) -> list[str]:
        """Those that exist, the newest first where a glob has several; at most MAX_RUNS."""
        patterns = [glob for glob in globs if is_glob(glob)]
        found = dict.fromkeys(name for name in globs if self._store.run(name) is not None)
        if patterns:
            newest = sorted(self._store.runs(), key=lambda run: run.last_time_s or 0.0, reverse=True)
            found |= dict.fromkeys(run.name for run in newest if any(matches(glob, run.name) for glob in patterns))
        return list(found)[:MAX_RUNS]

    def buckets(
        self, series: Sequence[Series], lo: float | None, hi: float | None, axis: Axis, most: int
    ) -> dict[int, Buckets]:
        """By id. On the step axis, what a newer attempt wrote again is left out."""
        found = self._store.range([chosen.id for chosen in series], lo, hi, axis, most)
        return {number: _newest(data) for number, data in found.items()} if axis == "step" else found


def matches(glob: str, text: str) -> bool:
    """`*` and `?`, in any case."""
    return fnmatch.fnmatchcase(text.lower(), glob.lower().replace("[", "[[]"))


def _newest(data: Buckets) -> Buckets:
    kept = ~superseded(data.step, data.segment, attempts_of(data))
    return data if kept.all() else Buckets._make([*(column[kept] for column in data[:-1]), data.points_total])


# Which stored series a chart's entry means, or the expression that it stands for (pure).

NEAR = 0.8  # a name is meant that is as alike as one with a slip: the series of a board that comes along are no slips


def chosen(entry: SeriesChoice, known: Sequence[Series]) -> list[Series]:
    """In the order of `known`; none for an expression."""
    names = {series.name for series in known}
    if entry.by == "name":
        wanted = {entry.text} & names
    elif entry.by == "glob":
        wanted = {name for name in names if matches(entry.text, name)}
    elif entry.by == "regex":
        search = expression(entry.text).search
        wanted = {name for name in names if search(name)}
    else:
        wanted = set()
    return [series for series in known if series.name in wanted and _has(series.labels, entry.labels)]


def charts_with_something(board: Board, known: Sequence[Series]) -> int:
    """How many of its charts have a series that is stored; of an expression, one that it names."""
    charts = [[*chart.series, *filter(None, [chart.x])] for row in board.rows for chart in row.charts]
    return sum(
        any(_names_one(entry, known) if entry.by == "expr" else chosen(entry, known) for entry in of) for of in charts
    )


def _names_one(entry: SeriesChoice, known: Sequence[Series]) -> bool:
    return any(series.name in entry.text for series in known)


def reason_of(entry: SeriesChoice, known: Sequence[Series], runs: Sequence[str]) -> str:
    """Why it chooses none, in one sentence."""
    where = (
        f"this machine and the run {runs[0]!r} have"
        if len(runs) == 1
        else "this machine and these runs have"
        if runs
        else "this machine has"
    )
    if entry.by in ("glob", "regex"):
        return f"{where} no series that the {entry.by} {entry.text} finds{_labelled(entry.labels)}"
    names = {series.name for series in known}
    if entry.text in names:
        return f"{where} no series {entry.text}{_labelled(entry.labels)}"
    return f"{where} no series {entry.text}{meant(entry.text, names, NEAR)}"


def expressions_of(entry: SeriesChoice, smooth: str, known: Sequence[Series]) -> list[str]:
    """The texts of the expressions that are to be evaluated; [] where the series are drawn as they are stored."""
    if entry.by == "expr":
        return [f"ema({entry.text}, {smooth})" if smooth else entry.text]
    if not smooth:
        return []
    names = dict.fromkeys(series.name for series in chosen(entry, known))
    labels = ", ".join(
        f'"{key}"=~{_quoted(glob)}' if not key.isidentifier() else f"{key}=~{_quoted(glob)}"
        for key, glob in entry.labels
    )
    return [
        f"ema({_quoted(name)}{{{labels}}}, {smooth})" if labels else f"ema({_quoted(name)}, {smooth})" for name in names
    ]


def _has(labels: Labels, wanted: Labels) -> bool:
    values = dict(labels)
    return all(
        matches(glob, values.get(key, "")) if is_glob(glob) else values.get(key, "") == glob for key, glob in wanted
    )


def _labelled(labels: Labels) -> str:
    return f" with {', '.join(f'{key}={glob}' for key, glob in labels)}" if labels else ""


def _quoted(text: str) -> str:
    return (
        json.dumps(text, ensure_ascii=False)
        if "\\" not in text and '"' not in text
        else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


# What the charts of a board draw, from the store.

FIRST = "gpus"
MAX_CURVES = 200  # of a chart
MAX_BUCKETS = 200_000  # of an answer


class Scope:
    """Which series there are, for one question: those of the machine, and of runs as they are asked for."""

    def __init__(self, reader: BoardReader, runs: Sequence[str]) -> None:
        self._reader, self._usual = reader, tuple(runs)
        self._series: dict[str | None, list[Series]] = {}
        self._runs: dict[tuple[str, ...], list[str]] = {}

    def runs(self, entry: SeriesChoice) -> list[str]:
        globs = entry.runs or self._usual
        if globs not in self._runs:
            self._runs[globs] = self._reader.runs(globs)
        return self._runs[globs]

    def known(self, entry: SeriesChoice) -> list[Series]:
        """Those of its runs; where it names none, those of the machine, too."""
        own: list[str | None] = [*self.runs(entry)]
        found: list[Series] = []
        for run in own if entry.runs else [*own, None]:
            if run not in self._series:
                self._series[run] = self._reader.series(run)
            found += self._series[run]
        return [series for series in found if series.run is not None or _is_of(series, own)] if own else found


def _is_of(series: Series, runs: Sequence[str | None]) -> bool:
    """Whether a series of the machine is about one of these runs, or about none."""
    run = dict(series.labels).get("run")
    return run is None or run in runs


class BoardCharts:
    """May be asked from many threads."""

    def __init__(self, store: Store, expressions: Expressions) -> None:
        self._reader, self._expressions = BoardReader(store), expressions

    def first(self, boards: Sequence[BoardFile], run: str | None) -> str:
        """Of those that have something to show of the machine or the run: FIRST, else a user's own, else the one with most such charts."""
        known = [*self._reader.series(None), *(self._reader.series(run) if run is not None else ())]
        counts = {file.name: charts_with_something(file.board, known) for file in boards if file.board is not None}
        having = [file for file in boards if counts.get(file.name)]
        order = sorted(
            having, key=lambda file: (file.name == FIRST, file.source != "template", counts[file.name]), reverse=True
        )
        return order[0].name if order else FIRST

    def draw(self, query: ChartsQuery) -> DrawnCharts:
        """One answer for all charts. A series that is not there, or an expression that fails, costs only itself. Raises what the store raises."""
        cursor = self._reader.cursor()
        scope = Scope(self._reader, query.runs)
        charts = [DrawnChart() for _ in query.charts]
        stored: list[tuple[int, int, Series]] = []
        texts: list[tuple[int, int, str, list[Series]]] = []
        followed: dict[Series, None] = {}
        for place, chart in enumerate(query.charts):
            for item, entry in _entries(chart):
                check()
                known = scope.known(entry)
                found = [] if entry.by == "expr" else chosen(entry, known)
                if entry.by != "expr" and not found:
                    charts[place].left_out.append(SkippedSeries(item, reason_of(entry, known, scope.runs(entry))))
                    continue
                if len(found) > MAX_CURVES:
                    charts[place].left_out.append(
                        SkippedSeries(
                            item, f"{len(found) - MAX_CURVES:,} further series are not drawn; narrow the choice"
                        )
                    )
                    found = found[:MAX_CURVES]
                computed = expressions_of(entry, chart.smooth, known)
                texts += [(place, item, text, known) for text in computed]
                stored += [(place, item, series) for series in found if not computed]
                followed |= dict.fromkeys(found)
                for text in computed if entry.by == "expr" else ():
                    followed |= dict.fromkeys(_behind(text, known))
        query = _within(query, list(followed))
        self._draw_stored(query, stored, charts)
        evaluated: dict[
            tuple[str, Axis, tuple[str, ...]], ExpressionResult | str
        ] = {}  # an expression may be in several charts
        for place, item, text, known in texts:
            entry, axis = _entry(query.charts[place], item), query.charts[place].axis or query.axis
            key = text, axis, entry.runs
            if key not in evaluated:
                evaluated[key] = self._evaluated(query, text, axis, known)
            _put(charts[place], item, entry, text, evaluated[key])
        for drawn, chart in zip(charts, query.charts, strict=True):
            drawn.curves = labelled(drawn.curves, chart)
        lo, hi = _extent(charts)
        names = dict.fromkeys(FollowedSeries(series.run, series.name) for series in followed)
        return DrawnCharts(
            cursor, lo if query.lo is None else query.lo, hi if query.hi is None else query.hi, charts, list(names)
        )

    def _draw_stored(
        self, query: ChartsQuery, stored: Sequence[tuple[int, int, Series]], charts: Sequence[DrawnChart]
    ) -> None:
        """All that is drawn as it is stored is read together, once each."""
        by_axis: dict[Axis, dict[int, Series]] = {}
        for place, _, series in stored:
            by_axis.setdefault(query.charts[place].axis or query.axis, {})[series.id] = series
        most = max(1, min(query.buckets, MAX_BUCKETS // max(1, len(stored))))
        read = {}
        for axis, wanted in by_axis.items():
            lo, hi = (query.lo, query.hi) if axis == query.axis else (None, None)
            read[axis] = self._reader.buckets(list(wanted.values()), lo, hi, axis, most)
        for place, item, series in stored:
            buckets = read[query.charts[place].axis or query.axis][series.id]
            charts[place].curves.append(
                BoardCurve(item, series.run or "", series.name, series.labels, unit_of_series(series.name), buckets)
            )

    def _evaluated(self, query: ChartsQuery, text: str, axis: Axis, known: Sequence[Series]) -> ExpressionResult | str:
        """A sentence where it fails."""
        lo, hi = (query.lo, query.hi) if axis == query.axis else (None, None)
        try:
            return self._expressions.evaluate(ExpressionQuery(text, (), axis, lo, hi, query.buckets), known)
        except NoSeries as error:
            return f"the expression finds {str(error).partition(': ')[2]}"
        except (ExpressionError, TooMuch) as error:
            return str(error)


def _put(chart: DrawnChart, item: int, entry: SeriesChoice, text: str, found: ExpressionResult | str) -> None:
    if isinstance(found, str):
        chart.left_out.append(SkippedSeries(item, found))
        return
    name = entry.text if entry.by == "expr" else text.removeprefix("ema(").rpartition(",")[0].strip('"')
    for row in found.series[:MAX_CURVES]:
        chart.curves.append(BoardCurve(item, row.run, name, row.labels, found.unit, row.buckets))


def _entries(chart: BoardChart) -> Iterator[tuple[int, SeriesChoice]]:
    yield from enumerate(chart.series)
    if chart.x is not None:
        yield X_ITEM, chart.x


def _entry(chart: BoardChart, item: int) -> SeriesChoice:
    if item == X_ITEM:
        assert chart.x is not None
        return chart.x
    return chart.series[item]


def _behind(text: str, known: Sequence[Series]) -> list[Series]:
    """The stored series that an expression needs; those of a text that cannot be compiled are none."""
    try:
        needs = compile(text).needs
    except ExpressionError:
        return []
    found = chosen_of(needs, known)
    return [series for need in needs for series in found[need.selector][:MAX_CURVES]]


def _within(query: ChartsQuery, series: Sequence[Series]) -> ChartsQuery:
    """All of the time is that of the runs' own series, where there are any: the machine's go on for weeks."""
    own = [
        found
        for found in series
        if found.run is not None and found.first_time_s is not None and found.last_time_s is not None
    ]
    if query.axis == "step" or query.lo is not None or not own:
        return query
    first = min(found.first_time_s or math.inf for found in own)
    last = max(found.last_time_s or -math.inf for found in own)
    return query._replace(lo=first, hi=last if query.hi is None else query.hi)


def _extent(charts: Sequence[DrawnChart]) -> tuple[float | None, float | None]:
    rows = [curve.buckets for chart in charts for curve in chart.curves if len(curve.buckets.t)]
    lo = min((float(row.t.min()) for row in rows), default=None)
    hi = max((float(row.t_end.max()) for row in rows), default=None)
    return lo, hi
