"""Answer a question for curves of several runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from collectors import catalog
from collectors.records import Labels
from collectors.store.protocol import Series, Store
from collectors.store.question import TooMuch, check, holding

from . import drawing
from .asked import RELATIVE, STEP, TIME, Curve, CurveQuery, NoCurve, Overlay, SharedTag, XAxis
from .drawing import CurveView, Drawn
from .grouping import group_of
from .kept import KeptCurves
from .placing import NoPlace, Placing, Unknown
from .ranks import HOST, bundles
from .reading import Chosen, CurveReader
from .rows import Rows
from .sources import CurveSource

MOST_CURVES = 1000  # of an answer
MOST_SERIES = 8000  # that these are made of
MOST_BUCKETS = 200_000  # of all curves of an answer: 200 bytes each
LARGE = 200_000  # points: curves of more are made one at a time, for all clients
DEAR_S = 0.05  # a curve that took longer is kept
UNITS = {STEP: "", RELATIVE: "s", TIME: "s"}


class Bundle(NamedTuple):
    """The series of a curve: those of a run that are its ranks, or those of the runs of a group."""

    run: str  # "" for a group
    group: str
    series: str
    labels: Labels
    members: list[tuple[Chosen, list[Series]]]


class Overlays:
    """Of many runs. May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._reader = CurveReader(store)
        self._large = threading.Lock()
        self._kept = KeptCurves()

    def tags(self, runs: Sequence[str]) -> list[SharedTag]:
        return self._reader.tags(runs)

    def overlay(self, query: CurveQuery) -> Overlay:
        """Raises TooMuch where more curves are asked for than an answer may hold."""
        cursor = self._reader.cursor()
        left_out: list[NoCurve] = []
        chosen = self._reader.choose(query.runs, query.series, left_out)
        asked = list(self._bundles(chosen, query))
        series = sum(len(run.series) for run in chosen)
        if len(asked) > MOST_CURVES or series > MOST_SERIES:
            raise TooMuch(
                f"{series:,} series match, for {len(asked):,} curves; an answer holds at most {MOST_CURVES:,} curves "
                f"of {MOST_SERIES:,} series: name fewer runs or series"
            )
        buckets = max(1, min(query.buckets, MOST_BUCKETS // max(1, len(asked))))
        view = CurveView(query.lo, query.hi, buckets, query.smooth, query.spread)
        placing = Placing(self._reader, query.x, query.baseline)
        curves = [curve for bundle in asked if (curve := self._curve(bundle, placing, view, left_out)) is not None]
        return Overlay(cursor, _axis_of(query, curves), curves, left_out)

    def rows(self, query: CurveQuery) -> Iterator[Rows]:
        """Every raw point, for a file. Raises NoPlace and TooMuch before the first one is read."""
        left_out: list[NoCurve] = []
        chosen = self._reader.choose(query.runs, query.series, left_out)
        gone = next((missing for missing in left_out if not missing.series), None)
        asked = [(run, series) for run in chosen for series in run.series]
        if gone or not asked:
            raise Unknown((gone or left_out[0]).reason)
        if len(asked) > MOST_SERIES:
            raise TooMuch(
                f"{len(asked):,} series match; a file holds at most {MOST_SERIES:,}: name fewer runs or series"
            )
        placing = Placing(self._reader, query.x, None)
        sources = [(run.run, placing.exported(run, series)) for run, series in asked]
        return (
            Rows(run, source.series.name, source.series.labels, points)
            for run, source in sources
            for points in source.parts(query.lo, query.hi)
        )

    def _bundles(self, chosen: Sequence[Chosen], query: CurveQuery) -> Iterator[Bundle]:
        groups: dict[tuple[str, str, Labels], list[tuple[Chosen, list[Series]]]] = {}
        for run in chosen:
            group = "" if query.group is None else group_of(self._reader.info(run.run), query.group)
            for (name, labels), series in bundles(run.series, query.ranks).items():
                if query.group is None:
                    yield Bundle(run.run, "", name, labels, [(run, series)])
                else:
                    shared = tuple(
                        pair for pair in labels if pair[0] != HOST and (pair[0] != "rank" or query.ranks == "each")
                    )
                    groups.setdefault((group, name, shared), []).append((run, series))
        for (group, name, labels), members in groups.items():
            yield Bundle("", group, name, labels, members)

    def _curve(self, bundle: Bundle, placing: Placing, view: CurveView, left_out: list[NoCurve]) -> Curve | None:
        """None where it cannot be drawn: that is noted."""
        check()
        runs, there = [], []
        for run, series in bundle.members:
            try:
                runs.append([placing.source(run, found, bundle.labels) for found in series])
                there.append(run.run)
            except NoPlace as error:
                left_out.append(NoCurve(run.run, bundle.series, str(error)))
        if not runs:
            return None
        try:
            drawn = self._in_turn(bundle, runs, view, placing)
        except TooMuch as error:
            left_out += [NoCurve(run, bundle.series, str(error)) for run in there]
            return None
        read = drawn.buckets.points_total
        total = (
            sum(source.series.points for sources in runs for source in sources) if view.lo is view.hi is None else read
        )
        return Curve(
            bundle.run,
            bundle.group,
            there,
            bundle.series,
            bundle.labels,
            drawn.buckets,
            drawn.smooth,
            drawn.superseded,
            total,
            read,
        )

    def _in_turn(self, bundle: Bundle, runs: list[list[CurveSource]], view: CurveView, placing: Placing) -> Drawn:
        """Where many points are read one by one, one curve after the other, and each of them once."""
        summaries = (
            bundle.run and len(runs[0]) == 1 and view.smooth is None and placing.baseline is None and placing.x in UNITS
        )
        if summaries or sum(source.series.points for sources in runs for source in sources) <= LARGE:
            return _drawn(bundle, runs, view)
        clocks = tuple(series for run, _ in bundle.members for series in run.known if series.name == placing.x)
        key = (
            placing.x,
            view,
            bundle.run,
            bundle.group,
            tuple(tuple(source.series for source in sources) for sources in runs),
            clocks,
        )
        lasting = placing.baseline is None  # which may have grown meanwhile
        if lasting and (kept := self._kept.get(key)) is not None:
            return kept
        with holding(self._large):
            begun_s = time.monotonic()
            drawn = _drawn(bundle, runs, view)
        if lasting and time.monotonic() - begun_s > DEAR_S:
            self._kept.put(key, drawn)
        return drawn


def _drawn(bundle: Bundle, runs: list[list[CurveSource]], view: CurveView) -> Drawn:
    if not bundle.run:
        return drawing.group(runs, view)
    return drawing.ranks(runs[0], view) if len(runs[0]) > 1 else drawing.single(runs[0][0], view)


def _axis_of(query: CurveQuery, curves: Sequence[Curve]) -> XAxis:
    drawn = [curve.buckets for curve in curves if len(curve.buckets.t)]
    lo = min((float(np.min(found.t)) for found in drawn), default=None)
    hi = max((float(np.max(found.t_end)) for found in drawn), default=None)
    unit = UNITS[query.x] if query.x in UNITS else catalog.unit_of(query.x)
    return XAxis(query.x, unit, lo if query.lo is None else query.lo, hi if query.hi is None else query.hi)
