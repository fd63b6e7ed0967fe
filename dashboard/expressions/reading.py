"""Read the series that an expression needs, in buckets that are finer than what is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from collectors.analysis.expressions.expression import Need
from collectors.analysis.expressions.selector import SeriesSelector
from collectors.analysis.expressions.tracks import SeriesColumns
from collectors.analysis.expressions.units import unit_of_series
from collectors.store.protocol import Axis, Buckets, Series, Store
from collectors.store.question import check

from ..curves.attempts import attempts_of, superseded
from .asked import ExpressionQuery, NoSuchRun

FINER = 8  # times as many buckets as are drawn: with no more points than these, each point is one
MOST_FINE = 20_000  # of a series
MOST_READ = 200_000  # of all series of an expression: 100 bytes each
NEIGHBOURS = 4.0  # how many usual distances of its points before a range a series is read


class NeededSeries(NamedTuple):
    """A stored series, and how far beyond the range it is read."""

    series: Series
    before: float
    after: float
    clock: bool = False


class ExpressionReader:
    """Every read of the store for expressions. Raises what the store raises: StoreError, Ended, TooMuch."""

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
        most = max(1, min(MOST_FINE, FINER * query.buckets, MOST_READ // max(1, len(wanted))))
        found = []
        for (lo, hi), some in together.items():
            check()
            ranges = self._store.range([want.series.id for want in some], lo, hi, query.axis, most)
            found += [_columns(want, ranges[want.series.id], query.axis) for want in some]
        return found


def chosen_of(needs: Sequence[Need], known: Sequence[Series]) -> dict[SeriesSelector, list[Series]]:
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
    needs: Sequence[Need], chosen: Mapping[SeriesSelector, Sequence[Series]], axis: Axis
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
