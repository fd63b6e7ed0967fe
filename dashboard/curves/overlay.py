"""Answer a question for curves of several runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectors import catalog
from collectors.store.protocol import Axis, Buckets, Series, Store
from collectors.store.question import TooMuch

from .asked import RELATIVE, STEP, TIME, Curve, CurveQuery, NoCurve, Overlay, Tag, XAxis
from .attempts import superseded
from .reading import Chosen, CurveReader

MOST_CURVES = 1000  # of an answer
MOST_BUCKETS = 200_000  # of all curves of an answer: 200 bytes each
UNITS = {STEP: "", RELATIVE: "s", TIME: "s"}
NO_STEP = "its points have no step; choose x=time or x=relative"
NO_TIME = "its points have no time; choose x=step"


class Overlays:
    """Of many runs. May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._reader = CurveReader(store)

    def tags(self, runs: Sequence[str]) -> list[Tag]:
        return self._reader.tags(runs)

    def overlay(self, query: CurveQuery) -> Overlay:
        """Raises TooMuch where more curves are asked for than an answer may hold."""
        cursor = self._reader.cursor()
        left_out: list[NoCurve] = []
        chosen = self._reader.choose(query.runs, query.series, left_out)
        count = sum(len(run.series) for run in chosen)
        if count > MOST_CURVES:
            raise TooMuch(f"{count:,} series match; an answer holds at most {MOST_CURVES:,} curves: name fewer runs or series")
        query = query._replace(buckets=max(1, min(query.buckets, MOST_BUCKETS // max(1, count))))
        curves = list(self._curves(chosen, query, left_out))
        return Overlay(cursor, _axis_of(query, curves), curves, left_out)

    def _curves(self, chosen: Sequence[Chosen], query: CurveQuery, left_out: list[NoCurve]) -> Iterator[Curve]:
        for run in chosen:
            there = []
            for series in run.series:
                if (reason := _no_place(series, query.x)) is None:
                    there.append(series)
                else:
                    left_out.append(NoCurve(run.run, series.name, reason))
            begin = (run.first_s or 0.0) if query.x == RELATIVE else 0.0
            axis: Axis = "step" if query.x == STEP else "time"
            lo, hi = (None if end is None else end + begin for end in (query.lo, query.hi))
            for series, found in self._reader.ranges(there, lo, hi, axis, query.buckets):
                if isinstance(found, str):
                    left_out.append(NoCurve(run.run, series.name, found))
                else:
                    yield _plain(run.run, series, _moved(found, begin))


def _no_place(series: Series, x: str) -> str | None:
    """Why a series has no place on the axis."""
    if x == STEP:
        return NO_STEP if series.first_step is None else None
    return NO_TIME if series.first_time_s is None else None


def _moved(found: Buckets, begin: float) -> Buckets:
    return found._replace(t=found.t - begin, t_end=found.t_end - begin) if begin else found


def _plain(run: str, series: Series, found: Buckets) -> Curve:
    again = superseded(found.step, found.segment)
    return Curve(run, "", [run], series.name, series.labels, found, None, again, found.points_total, found.points_total)


def _axis_of(query: CurveQuery, curves: Sequence[Curve]) -> XAxis:
    drawn = [curve.buckets for curve in curves if len(curve.buckets.t)]
    lo = min((float(found.t.min()) for found in drawn), default=None)
    hi = max((float(found.t_end.max()) for found in drawn), default=None)
    unit = UNITS[query.x] if query.x in UNITS else catalog.unit_of(query.x)
    return XAxis(query.x, unit, lo if query.lo is None else query.lo, hi if query.hi is None else query.hi)
