"""What the charts of a board draw, from the store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from collectors.analysis.expressions.errors import ExpressionError, NoSeries
from collectors.analysis.expressions.expression import compile
from collectors.analysis.expressions.units import unit_of_series
from collectors.store.protocol import Axis, Series, Store
from collectors.store.question import TooMuch, check

from ..expressions.asked import ExpressionQuery, ExpressionResult
from ..expressions.evaluation import Expressions
from ..expressions.reading import chosen_of
from .asked import X_ITEM, BoardCurve, ChartsQuery, DrawnChart, DrawnCharts, Followed, NotDrawn
from .choosing import charts_with_something, chosen, expressions_of, reason_of
from .files import BoardFile
from .labelling import labelled
from .model import BoardChart, ChosenSeries
from .stored import BoardReader

FIRST = "gpus"
MOST_CURVES = 200  # of a chart
MOST_BUCKETS = 200_000  # of an answer


class Scope:
    """Which series there are, for one question: those of the machine, and of runs as they are asked for."""

    def __init__(self, reader: BoardReader, runs: Sequence[str]) -> None:
        self._reader, self._usual = reader, tuple(runs)
        self._series: dict[str | None, list[Series]] = {}
        self._runs: dict[tuple[str, ...], list[str]] = {}

    def runs(self, entry: ChosenSeries) -> list[str]:
        globs = entry.runs or self._usual
        if globs not in self._runs:
            self._runs[globs] = self._reader.runs(globs)
        return self._runs[globs]

    def known(self, entry: ChosenSeries) -> list[Series]:
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
                    charts[place].left_out.append(NotDrawn(item, reason_of(entry, known, scope.runs(entry))))
                    continue
                if len(found) > MOST_CURVES:
                    charts[place].left_out.append(
                        NotDrawn(item, f"{len(found) - MOST_CURVES:,} further series are not drawn; narrow the choice")
                    )
                    found = found[:MOST_CURVES]
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
        names = dict.fromkeys(Followed(series.run, series.name) for series in followed)
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
        most = max(1, min(query.buckets, MOST_BUCKETS // max(1, len(stored))))
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


def _put(chart: DrawnChart, item: int, entry: ChosenSeries, text: str, found: ExpressionResult | str) -> None:
    if isinstance(found, str):
        chart.left_out.append(NotDrawn(item, found))
        return
    name = entry.text if entry.by == "expr" else text.removeprefix("ema(").rpartition(",")[0].strip('"')
    for row in found.series[:MOST_CURVES]:
        chart.curves.append(BoardCurve(item, row.run, name, row.labels, found.unit, row.buckets, row.exact, row.reason))


def _entries(chart: BoardChart) -> Iterator[tuple[int, ChosenSeries]]:
    yield from enumerate(chart.series)
    if chart.x is not None:
        yield X_ITEM, chart.x


def _entry(chart: BoardChart, item: int) -> ChosenSeries:
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
    return [series for need in needs for series in found[need.selector][:MOST_CURVES]]


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
