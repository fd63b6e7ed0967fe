"""Curves of several runs on one axis: buckets, grouping, overlays, and what is kept between requests."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from collectors import catalog
from collectors.arrays import Bools, Floats, Ints
from collectors.records import Labels
from collectors.store.buckets import PointSummaries, bucket, reduce_at
from collectors.store.store import Buckets, RawPoints, Series, Store, TooMuch, check, holding

from .axis import (
    HOST,
    RELATIVE,
    STEP,
    TIME,
    AxisPlacement,
    Curve,
    CurveQuery,
    CurveReader,
    CurveSource,
    NewestAttempt,
    NoCurve,
    NoPlace,
    Overlay,
    RunSelection,
    SharedTag,
    Spread,
    UnknownSeries,
    XAxis,
    bundles,
    units,
)
from .export import Rows
from .smoothing import Smoothing, smoother_of

# Runs with an equal value of their configuration are one group (pure).

NOT_SET = "not set"
MAX_LABEL = 200  # characters


def group_of(info: Mapping[str, Any], key: str) -> str:
    """The value of `optimizer.lr` in the run's config, else in its other information, as text: `0.001`, `adam`, `[1,2]`."""
    for table in (info.get("config"), info):
        found = _found(table, key)
        if found is not None:
            return _text(found)[:MAX_LABEL]
    return NOT_SET


def _found(table: object, key: str) -> object:
    """By the whole key, else by the tables that its dots go through."""
    if not isinstance(table, Mapping):
        return None
    if key in table:
        return table[key]
    first, dot, rest = key.partition(".")
    while dot:
        if first in table and (found := _found(table[first], rest)) is not None:
            return found
        more, dot, rest = rest.partition(".")
        first = f"{first}.{more}"
    return None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # 1 and 1.0 are equal
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return str(value)


# Several curves on common places, and their mean with its spread (pure).
#
# With no more places than cells, each place is one, and a curve's value there is its own, or lies on the straight line between two of its
# points. Of more places, cells of equal width hold the means of their points. A curve has no value beyond its ends.


def merge_cells(members: Sequence[PointSummaries], cells: int) -> Buckets:
    """All curves as one: its buckets are the cells."""
    joined = PointSummaries._make(np.concatenate(column) for column in zip(*members, strict=True))
    order = np.lexsort((joined.low, joined.segment))
    joined = PointSummaries._make(column[order] for column in joined)
    changes = (joined.segment[1:] != joined.segment[:-1]) | (joined.low[1:] != joined.low[:-1])
    starts = np.append(0, np.flatnonzero(changes) + 1)
    if len(joined.low) and len(starts) <= cells and (joined.low == joined.high).all():
        return reduce_at(joined, starts)
    none, no = np.empty(0), np.empty(0, np.int64)
    return bucket(RawPoints(none, none, no, none), [joined], cells)


def values_on(cells: Buckets, units: PointSummaries) -> Floats:
    """One curve in each cell; NaN where it has no value."""
    found = np.full(len(cells.t), np.nan)
    for segment in np.unique(cells.segment).tolist():
        inside = cells.segment == segment
        own = PointSummaries._make(column[units.segment == segment] for column in units)
        found[inside] = _values(cells.t[inside], cells.t_end[inside], own)
    return found


def _values(starts: Floats, ends: Floats, units: PointSummaries) -> Floats:
    rows = (units.rows - units.non_finite).astype(np.float64)
    some = rows > 0
    place, rows, total = units.high[some], rows[some], units.total[some]
    if not len(place):
        return np.full(len(starts), np.nan)
    cell = np.searchsorted(starts, place, "right") - 1
    count = np.bincount(cell, rows, len(starts))
    places, at = np.unique(place, return_inverse=True)
    means = np.bincount(at, total, len(places)) / np.bincount(at, rows, len(places))
    between = np.interp(ends, places, means, left=np.nan, right=np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(count > 0, np.bincount(cell, total, len(starts)) / count, between)
    return found


def mean_of(values: Floats) -> Floats:
    """`[curve, cell]`, over those that have a value."""
    count = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found: Floats = np.where(np.isnan(values), 0.0, values).sum(axis=0) / count
    return found


def standard_error(values: Floats) -> Floats:
    """`[curve, cell]`: the sample standard deviation over the square root of the number of values; NaN for fewer than two."""
    count: Ints = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        known = np.where(np.isnan(values), 0.0, values - mean_of(values))
        error = np.sqrt((known**2).sum(axis=0) / (count - 1)) / np.sqrt(count)
    return np.where(count > 1, error, np.nan)


# What is drawn of one source, or of several together.


class CurveView(NamedTuple):
    """What is to be drawn of any curve of an answer."""

    lo: float | None
    hi: float | None
    buckets: int
    smooth: Smoothing | None
    spread: Spread


class DrawnCurve(NamedTuple):
    buckets: Buckets
    smooth: Floats | None
    superseded: Bools


def single(source: CurveSource, view: CurveView) -> DrawnCurve:
    found = source.buckets(view.lo, view.hi, view.buckets)
    smooth = None
    if view.smooth is not None:  # where a run has no finite value, it has none by smoothing either
        smooth = np.where(np.isnan(found.mean), np.nan, smoothed(source, view.smooth, view, found.segment, found.t_end))
    return DrawnCurve(found, smooth, source.superseded(found))


def ranks(sources: Sequence[CurveSource], view: CurveView) -> DrawnCurve:
    """The mean over the ranks of a run; min and max are those of all."""
    return _joined([sources], view, "minmax")


def group(runs: Sequence[Sequence[CurveSource]], view: CurveView) -> DrawnCurve:
    """The mean over runs, each of them the mean over its ranks; without what newer attempts wrote again."""
    return _joined([[NewestAttempt(source) for source in sources] for sources in runs], view, view.spread)


def smoothed(source: CurveSource, smoothing: Smoothing, view: CurveView, segment: Ints, at: Floats) -> Floats:
    """At places that rise in each segment; points before and behind the range count, too."""
    of_segment = {number: np.flatnonzero(segment == number) for number in np.unique(segment).tolist()}
    smoothers = {number: smoother_of(smoothing, at[where]) for number, where in of_segment.items()}
    lo = None if view.lo is None else view.lo - smoothing.before
    hi = None if view.hi is None else view.hi + smoothing.after
    for points in source.parts(lo, hi) if len(at) else ():
        check()
        for number in np.unique(points.segment).tolist():
            own = points.segment == number
            if number in smoothers:
                smoothers[number].add(points.place[own], points.value[own])
    found = np.full(len(at), np.nan)
    for number, where in of_segment.items():
        found[where] = smoothers[number].values()
    return found


def _joined(runs: Sequence[Sequence[CurveSource]], view: CurveView, spread: Spread) -> DrawnCurve:
    sources = [source for some in runs for source in some]
    members = [units(source, view.lo, view.hi, view.buckets, len(sources)) for source in sources]
    cells = merge_cells(members, view.buckets)
    each = [values_on(cells, member) for member in members]
    of_run = _by_run(each, runs)
    mean = mean_of(of_run)
    least, most = cells.min, cells.max
    if spread == "stderr":
        error = standard_error(of_run)
        least, most = mean - error, mean + error
    smooth = None
    if view.smooth is not None:
        curves = [smoothed(source, view.smooth, view, cells.segment, cells.t_end) for source in sources]
        inside = [np.where(np.isnan(value), np.nan, curve) for value, curve in zip(each, curves, strict=True)]
        smooth = mean_of(_by_run(inside, runs))
    return DrawnCurve(cells._replace(mean=mean, last=mean, min=least, max=most), smooth, sources[0].superseded(cells))


def _by_run(each: Sequence[Floats], runs: Sequence[Sequence[CurveSource]]) -> Floats:
    """`[run, cell]`, the mean over the ranks of each run."""
    rows = iter(each)
    return np.stack([mean_of(np.stack([next(rows) for _ in sources])) for sources in runs])


# Curves of very many points are kept for a while: the next question for the same one, in another tab or after a zoom, costs nothing.

MAX_BYTES = 16 << 20  # of all that is kept: some hundred curves
MAX_S = 600.0


class CurveCache:
    """A key names everything that a curve depends on, with the number of its points. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, DrawnCurve]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> DrawnCurve | None:
        with self._lock:
            made_s, drawn = self._kept.get(key, (0.0, None))
            if drawn is None or time.monotonic() - made_s > MAX_S:
                return None
            self._kept.move_to_end(key)
            return drawn

    def put(self, key: Hashable, drawn: DrawnCurve) -> None:
        with self._lock:
            if key in self._kept:
                self._bytes -= _bytes_of(self._kept.pop(key)[1])
            self._kept[key] = time.monotonic(), drawn
            self._bytes += _bytes_of(drawn)
            while self._bytes > MAX_BYTES:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._bytes -= _bytes_of(oldest)


def _bytes_of(drawn: DrawnCurve) -> int:
    arrays = [column for column in (*drawn.buckets, drawn.smooth, drawn.superseded) if isinstance(column, np.ndarray)]
    return sum(array.nbytes for array in arrays) + 1000


# Answer a question for curves of several runs.

MAX_CURVES = 1000  # of an answer
MAX_SERIES = 8000  # that these are made of
MAX_BUCKETS = 200_000  # of all curves of an answer: 200 bytes each
LARGE = 200_000  # points: curves of more are made one at a time, for all clients
DEAR_S = 0.05  # a curve that took longer is kept
UNITS = {STEP: "", RELATIVE: "s", TIME: "s"}


class Bundle(NamedTuple):
    """The series of a curve: those of a run that are its ranks, or those of the runs of a group."""

    run: str  # "" for a group
    group: str
    series: str
    labels: Labels
    members: list[tuple[RunSelection, list[Series]]]


class Overlays:
    """Of many runs. May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._reader = CurveReader(store)
        self._large = threading.Lock()
        self._kept = CurveCache()

    def tags(self, runs: Sequence[str]) -> list[SharedTag]:
        return self._reader.tags(runs)

    def overlay(self, query: CurveQuery) -> Overlay:
        """Raises TooMuch where more curves are asked for than an answer may hold."""
        cursor = self._reader.cursor()
        left_out: list[NoCurve] = []
        chosen = self._reader.choose(query.runs, query.series, left_out)
        asked = list(self._bundles(chosen, query))
        series = sum(len(run.series) for run in chosen)
        if len(asked) > MAX_CURVES or series > MAX_SERIES:
            raise TooMuch(
                f"{series:,} series match, for {len(asked):,} curves; an answer holds at most {MAX_CURVES:,} curves "
                f"of {MAX_SERIES:,} series: name fewer runs or series"
            )
        buckets = max(1, min(query.buckets, MAX_BUCKETS // max(1, len(asked))))
        view = CurveView(query.lo, query.hi, buckets, query.smooth, query.spread)
        placing = AxisPlacement(self._reader, query.x, query.baseline)
        curves = [curve for bundle in asked if (curve := self._curve(bundle, placing, view, left_out)) is not None]
        return Overlay(cursor, _axis_of(query, curves), curves, left_out)

    def rows(self, query: CurveQuery) -> Iterator[Rows]:
        """Every raw point, for a file. Raises NoPlace and TooMuch before the first one is read."""
        left_out: list[NoCurve] = []
        chosen = self._reader.choose(query.runs, query.series, left_out)
        gone = next((missing for missing in left_out if not missing.series), None)
        asked = [(run, series) for run in chosen for series in run.series]
        if gone or not asked:
            raise UnknownSeries((gone or left_out[0]).reason)
        if len(asked) > MAX_SERIES:
            raise TooMuch(
                f"{len(asked):,} series match; a file holds at most {MAX_SERIES:,}: name fewer runs or series"
            )
        placing = AxisPlacement(self._reader, query.x, None)
        sources = [(run.run, placing.exported(run, series)) for run, series in asked]
        return (
            Rows(run, source.series.name, source.series.labels, points)
            for run, source in sources
            for points in source.parts(query.lo, query.hi)
        )

    def _bundles(self, chosen: Sequence[RunSelection], query: CurveQuery) -> Iterator[Bundle]:
        groups: dict[tuple[str, str, Labels], list[tuple[RunSelection, list[Series]]]] = {}
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

    def _curve(self, bundle: Bundle, placing: AxisPlacement, view: CurveView, left_out: list[NoCurve]) -> Curve | None:
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

    def _in_turn(
        self, bundle: Bundle, runs: list[list[CurveSource]], view: CurveView, placing: AxisPlacement
    ) -> DrawnCurve:
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


def _drawn(bundle: Bundle, runs: list[list[CurveSource]], view: CurveView) -> DrawnCurve:
    if not bundle.run:
        return group(runs, view)
    return ranks(runs[0], view) if len(runs[0]) > 1 else single(runs[0][0], view)


def _axis_of(query: CurveQuery, curves: Sequence[Curve]) -> XAxis:
    drawn = [curve.buckets for curve in curves if len(curve.buckets.t)]
    lo = min((float(np.min(found.t)) for found in drawn), default=None)
    hi = max((float(np.max(found.t_end)) for found in drawn), default=None)
    unit = UNITS[query.x] if query.x in UNITS else catalog.unit_of(query.x)
    return XAxis(query.x, unit, lo if query.lo is None else query.lo, hi if query.hi is None else query.hi)
