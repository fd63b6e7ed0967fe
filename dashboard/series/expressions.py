"""Expressions over stored series: what they need, reading it, and evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.expressions.evaluation import Expression, ExpressionColumns, SeriesRequirement, compile
from analysis.expressions.language import RUN, ExpressionError, NoSeries, SeriesSelector, absent, unit_of_series
from analysis.expressions.values import Raster, SeriesColumns
from collectors.records import Labels
from collectors.store.store import Axis, Buckets, Series, Store, TooMuch, check

from .axis import attempts_of, superseded

# What a client asks of an expression, and what it gets.


class ExpressionQuery(NamedTuple):
    """`lo` and `hi` are inclusive and stand on the axis; None is open. Series are those of these runs and of the machine."""

    text: str
    runs: Sequence[str] = ()
    axis: Axis = "time"
    lo: float | None = None
    hi: float | None = None
    buckets: int = 600  # of a series of the result


class ExpressionSeries(NamedTuple):
    """A series of the result; `run` is "" where it is of the machine, or of several runs together."""

    run: str
    labels: Labels
    buckets: Buckets


@dataclass(frozen=True)
class ExpressionResult:
    """`cursor` is the newest commit that the series surely hold. `lo` and `hi` are None where there is no point."""

    cursor: int
    unit: str
    lo: float | None
    hi: float | None
    series: list[ExpressionSeries]


class NoSuchRun(Exception):
    """The text is one sentence with the remedy."""


# Read the series that an expression needs, in buckets that are finer than what is drawn.

FINER = 8  # times as many buckets as are drawn: with no more points than these, each point is one
MAX_FINE = 20_000  # of a series
MAX_READ = 200_000  # of all series of an expression: 100 bytes each
NEIGHBOURS = 4.0  # how many usual distances of its points before a range a series is read


class NeededSeries(NamedTuple):
    """A stored series, and how far beyond the range it is read."""

    series: Series
    before: float
    after: float
    clock: bool = False


class ExpressionReader:
    """Every read of the store for expressions. Raises what the store raises: StoreError, QueryAborted, TooMuch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def cursor(self) -> int:
        return self._store.seq()

    def known(self, runs: Iterable[str]) -> list[Series]:
        """Those of the runs and of the machine. Raises NoSuchRun."""
        found = list(self._store.series(None))
        for run in dict.fromkeys(runs):
            check()
            of_run = self._store.series(run)
            if not of_run and self._store.run(run) is None:
                raise NoSuchRun(f"no run {run!r}; GET /api/v1/runs lists them")
            found += of_run
        return found

    def columns(self, wanted: Sequence[NeededSeries], query: ExpressionQuery) -> list[SeriesColumns]:
        together: dict[tuple[float | None, float | None], list[NeededSeries]] = {}
        for want in wanted:
            lo = (
                None
                if query.lo is None
                else _finite(query.lo - want.before - NEIGHBOURS * _distance(want.series, query.axis))
            )
            together.setdefault((lo, None if query.hi is None else _finite(query.hi + want.after)), []).append(want)
        most = max(1, min(MAX_FINE, FINER * query.buckets, MAX_READ // max(1, len(wanted))))
        found = []
        for (lo, hi), some in together.items():
            check()
            ranges = self._store.range([want.series.id for want in some], lo, hi, query.axis, most)
            found += [_columns(want, ranges[want.series.id], query.axis) for want in some]
        return found


def chosen_of(needs: Sequence[SeriesRequirement], known: Sequence[Series]) -> dict[SeriesSelector, list[Series]]:
    """What each selector chooses."""
    found: dict[SeriesSelector, list[Series]] = {}
    for need in needs:
        check()
        selector = need.selector
        if selector.clock:
            found[selector] = clocks_of(known)
        elif selector not in found:
            found[selector] = [
                series for series in known if selector.matches(series.run or "", series.name, series.labels)
            ]
    return found


def wanted_of(
    needs: Sequence[SeriesRequirement], chosen: Mapping[SeriesSelector, Sequence[Series]], axis: Axis
) -> list[NeededSeries]:
    """All series that have a place on the axis, each as far as the widest of its needs looks."""
    found: dict[tuple[int, bool], NeededSeries] = {}
    for need in needs:
        clock = need.selector.clock
        for series in chosen[need.selector]:
            if first_of(series, axis) is not None:
                before = found.get((series.id, clock), NeededSeries(series, 0.0, 0.0))
                reach = max(before.before, need.before), max(before.after, need.after)
                found[series.id, clock] = NeededSeries(series, *reach, clock)
    return list(found.values())


def clocks_of(known: Sequence[Series]) -> list[Series]:
    """Of each run the series with the most points, of those that have steps and times: it says when which step was."""
    found: dict[str, Series] = {}
    for series in known:
        if series.run is None or series.first_step is None or series.first_time_s is None:
            continue
        if series.run not in found or series.points > found[series.run].points:
            found[series.run] = series
    return list(found.values())


def _columns(want: NeededSeries, data: Buckets, axis: Axis) -> SeriesColumns:
    series = want.series
    if axis == "step":  # what a newer attempt wrote again does not count
        newest = ~superseded(data.step, data.segment, attempts_of(data))
        if not newest.all():
            data = Buckets._make([*(column[newest] for column in data[:-1]), data.points_total])
    return SeriesColumns(series.run or "", series.name, series.labels, unit_of_series(series.name), data, want.clock)


def first_of(series: Series, axis: Axis) -> float | None:
    return series.first_time_s if axis == "time" else series.first_step


def _distance(series: Series, axis: Axis) -> float:
    """Between two points, on the mean."""
    first, last = (series.first_time_s, series.last_time_s) if axis == "time" else (series.first_step, series.last_step)
    return 0.0 if first is None or last is None else (last - first) / max(1, series.points - 1)


def _finite(place: float) -> float | None:
    return place if math.isfinite(place) else None


# Answer an expression from the store.

MAX_SERIES = 400  # of all selectors together
OTHER_AXIS = {
    "time": "the points of {} have no time; ask with x=step",
    "step": "the points of {} have no step; ask with x=time",
}


class Expressions:
    """May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._reader = ExpressionReader(store)

    def evaluate(self, query: ExpressionQuery, known: Sequence[Series] | None = None) -> ExpressionResult:
        """Raises ExpressionError, NoSuchRun, TooMuch, and what the store raises. `known` are the series that may be chosen, where they are known."""
        expression = compile(query.text)
        cursor = self._reader.cursor()
        known = self._reader.known(query.runs) if known is None else known
        chosen = chosen_of(expression.needs, known)
        for need in expression.needs:
            _check(need, chosen[need.selector], known, query.axis)
        wanted = wanted_of(expression.needs, chosen, query.axis)
        if len(wanted) > MAX_SERIES:
            raise TooMuch(
                f"the expression is about {len(wanted):,} series; at most {MAX_SERIES} may be: name labels, or fewer runs"
            )
        query = _within(query, wanted)
        found = self._evaluated(expression, wanted, query)
        lo = min((float(np.min(row.buckets.t)) for row in found if len(row.buckets.t)), default=None)
        hi = max((float(np.max(row.buckets.t_end)) for row in found if len(row.buckets.t)), default=None)
        unit = found[0].unit if found else ""
        return ExpressionResult(
            cursor,
            unit,
            lo if query.lo is None else query.lo,
            hi if query.hi is None else query.hi,
            [_series(row) for row in found],
        )

    def _evaluated(
        self, expression: Expression, wanted: Sequence[NeededSeries], query: ExpressionQuery
    ) -> list[ExpressionColumns]:
        columns = self._reader.columns(wanted, query)
        return expression.over(columns, Raster(query.axis, query.lo, query.hi, query.buckets))


def _within(query: ExpressionQuery, wanted: Sequence[NeededSeries]) -> ExpressionQuery:
    """An open range is that of the runs' own series, where there are any: the machine's go on for weeks."""
    own = [want.series for want in wanted if want.series.run is not None]
    if query.axis == "step" or not own:
        return query
    firsts = [series.first_time_s for series in own if series.first_time_s is not None]
    lasts = [series.last_time_s for series in own if series.last_time_s is not None]
    lo, hi = query.lo, query.hi
    return query._replace(
        lo=min(firsts) if lo is None and firsts else lo, hi=max(lasts) if hi is None and lasts else hi
    )


def _check(need: SeriesRequirement, chosen: Sequence[Series], known: Sequence[Series], axis: Axis) -> None:
    """Raises NoSeries where a selector chooses none, and ExpressionError where none of its series has a place on the axis."""
    if not chosen:
        raise NoSeries(need.column, absent(need.selector, {series.name for series in known}))
    if all(first_of(series, axis) is None for series in chosen):
        raise ExpressionError(need.column, OTHER_AXIS[axis].format(need.selector))


def _series(found: ExpressionColumns) -> ExpressionSeries:
    labels = dict(found.labels)
    run = labels.pop(RUN, "")
    return ExpressionSeries(run, tuple(labels.items()), found.buckets)
