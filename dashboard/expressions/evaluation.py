"""Answer an expression from the store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collectors.analysis.expressions.errors import ExpressionError, NoSeries
from collectors.analysis.expressions.expression import Expression, ExpressionColumns, Need, compile
from collectors.analysis.expressions.selector import RUN, absent
from collectors.analysis.expressions.tracks import Raster
from collectors.store.protocol import Axis, Series, Store
from collectors.store.question import TooMuch

from .asked import ExpressionQuery, ExpressionResult, ExpressionSeries
from .reading import ExpressionReader, NeededSeries, chosen_of, first_of, wanted_of

MOST_SERIES = 400  # of all selectors together
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
        if len(wanted) > MOST_SERIES:
            raise TooMuch(
                f"the expression is about {len(wanted):,} series; at most {MOST_SERIES} may be: name labels, or fewer runs"
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


def _check(need: Need, chosen: Sequence[Series], known: Sequence[Series], axis: Axis) -> None:
    """Raises NoSeries where a selector chooses none, and ExpressionError where none of its series has a place on the axis."""
    if not chosen:
        raise NoSeries(need.column, absent(need.selector, {series.name for series in known}))
    if all(first_of(series, axis) is None for series in chosen):
        raise ExpressionError(need.column, OTHER_AXIS[axis].format(need.selector))


def _series(found: ExpressionColumns) -> ExpressionSeries:
    labels = dict(found.labels)
    run = labels.pop(RUN, "")
    return ExpressionSeries(run, tuple(labels.items()), found.exact, found.reason, found.buckets)
