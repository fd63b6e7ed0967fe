"""The question of every chart, and its answer: curves of stored series and of expressions on one axis."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import orjson

from analysis.expressions.language import ExpressionError
from collectors import catalog
from collectors.arrays import Bools, Floats, Ints
from collectors.records import Labels, is_progress
from collectors.store.buckets import PointSummaries, bucket, reduce_at
from collectors.store.store import Buckets, RawPoints, Series, Store, TooMuch, check, holding

from .axis import (
    HOST,
    MAX_PLACES,
    RANK,
    RELATIVE,
    STEP,
    TIME,
    AxisPlacement,
    CurveReader,
    CurveSource,
    NewestAttempt,
    NoPlace,
    ReferenceCurve,
    RelativeToBaseline,
    base_line,
    rank_of,
    stored_axis,
    units,
)
from .export import Rows
from .expressions import LeftOut, Member, Scope, choose, lacks_series
from .smoothing import Smoothing, smoother_of

# What a client asks, and what it gets.

Band: TypeAlias = Literal["minmax", "stderr"]
RankChoice: TypeAlias = Literal["each", "mean"]


class CurveQuery(NamedTuple):
    """`lo` and `hi` are inclusive and on the axis; None is open."""

    exprs: Sequence[str]
    runs: Sequence[str] = ()  # names or globs
    x: str = TIME  # step, relative, or the name of a series
    lo: float | None = None
    hi: float | None = None
    buckets: int = 600  # of a curve
    smooth: Smoothing | None = None
    group: str | None = None  # a key of the runs' configuration
    band: Band = "minmax"
    baseline: str | None = None  # a run
    ranks: RankChoice = "each"


class XAxis(NamedTuple):
    """`lo` and `hi` are None where no curve has a point."""

    name: str
    unit: str
    lo: float | None
    hi: float | None


@dataclass(frozen=True)
class Curve:
    """`expr` is the place of its expression in the question. `run` is None of the machine, and where it stands for several runs.

    The places of `buckets` are on the asked axis. `points_total` is the number of points of its series (in the asked range, where there
    is one), `points_read` of those that the buckets stand for: the others have no place on the axis, or nothing to be compared with, or
    are superseded in a group.
    """

    expr: int
    run: str | None
    group: str
    runs: list[str]
    name: str
    labels: Labels
    unit: str
    buckets: Buckets
    smooth: Floats | None
    superseded: Bools
    points_total: int
    points_read: int


class FollowedSeries(NamedTuple):
    """A stored series behind an answer: new points of it change the answer. `run` is None for the machine's."""

    run: str | None
    name: str


@dataclass(frozen=True)
class CurveAnswer:
    """`cursor` is the newest commit that the curves surely hold: deltas after it continue them."""

    cursor: int
    x: XAxis
    curves: list[Curve]
    left_out: list[LeftOut]
    followed: list[FollowedSeries]


class SharedTag(NamedTuple):
    """A series' name in some runs."""

    name: str
    points: int
    runs: int
    ranks: int  # of the run that has the most
    progress: bool = False  # nothing but counters that were read from text


class UnknownSeries(Exception):
    """There is no such run or series; the text is one sentence with the remedy."""


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


# Which series are one curve.


class Bundle(NamedTuple):
    """The members of a curve, by run: one, the ranks of a run, or those of the runs of a group."""

    expr: int
    run: str | None
    group: str
    name: str
    labels: Labels
    unit: str
    of_runs: Mapping[str | None, list[Member]]

    @property
    def members(self) -> list[Member]:
        return [member for some in self.of_runs.values() for member in some]

    @property
    def is_stored(self) -> bool:
        """Whether all of it is stored by runs."""
        return all(member.series is not None and member.run is not None for member in self.members)


def bundled(
    expr: int, members: Sequence[Member], ranks: RankChoice, group: Callable[[str], str] | None
) -> Iterator[Bundle]:
    """In the order of the members, those of a bundle by rank. What is of no run is a curve by itself."""
    together: dict[Hashable, list[Member]] = {}
    for place, member in enumerate(members):
        key: Hashable = place
        if member.run is not None and group is not None:
            key = group(member.run), member.name, _shared(member.labels, ranks, HOST)
        elif member.run is not None and ranks == "mean":
            key = member.run, member.name, _shared(member.labels, ranks)
        together.setdefault(key, []).append(member)
    for some in together.values():
        some.sort(key=lambda member: rank_of(member.labels))
        first = some[0]
        of_runs: dict[str | None, list[Member]] = {}
        for member in some:
            of_runs.setdefault(member.run, []).append(member)
        if first.run is None or group is None:
            labels = first.labels if len(some) == 1 else _shared(first.labels, ranks)
            yield Bundle(expr, first.run, "", first.name, labels, first.unit, of_runs)
        else:
            labels = _shared(first.labels, ranks, HOST)
            yield Bundle(expr, None, group(first.run), first.name, labels, first.unit, of_runs)


def _shared(labels: Labels, ranks: RankChoice, *apart: str) -> Labels:
    """Without what differs among those that are one curve."""
    apart = (*apart, *((RANK, HOST) if ranks == "mean" else ()))
    return tuple(pair for pair in labels if pair[0] not in apart)


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
        known = np.where(np.isnan(values), 0.0, values)
        found: Floats = known.sum(axis=0) / count
        too_large = ~np.isfinite(found) & (count > 0)  # the sum, though the mean may not be
        found[too_large] = (known[:, too_large] / count[too_large]).sum(axis=0)
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
    band: Band


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
    return _joined([[NewestAttempt(source) for source in sources] for sources in runs], view, view.band)


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


def _joined(runs: Sequence[Sequence[CurveSource]], view: CurveView, band: Band) -> DrawnCurve:
    sources = [source for some in runs for source in some]
    members = [units(source, view.lo, view.hi, view.buckets, len(sources)) for source in sources]
    cells = merge_cells(members, view.buckets)
    each = [values_on(cells, member) for member in members]
    of_run = _by_run(each, runs)
    mean = mean_of(of_run)
    least, most = cells.min, cells.max
    if band == "stderr":
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


# Answer a question.

MAX_CURVES = 1000  # of an answer
MAX_SERIES = 8000  # that these are made of
MAX_BUCKETS = 200_000  # of all curves of an answer: 200 bytes each
LARGE = 200_000  # points: curves of more are made one at a time, for all clients
DEAR_S = 0.05  # a curve that took longer is kept
UNITS = {STEP: "", RELATIVE: "s", TIME: "s"}
NO_RUN = "there is no run {!r}; GET /api/v1/runs lists them"


class Curves:
    """May be asked from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._large = threading.Lock()
        self._kept = CurveCache()

    def answer(self, query: CurveQuery) -> CurveAnswer:
        """What cannot be drawn costs only itself. Raises UnknownSeries where none of the named runs exists, and ExpressionError for a
        single expression that is malformed."""
        return _Answering(self._store, query, self._large, self._kept).answer()

    def rows(self, query: CurveQuery) -> Iterator[Rows]:
        """Every raw point, for a file. Raises UnknownSeries, NoPlace, ExpressionError and TooMuch before the first one is read."""
        return _Answering(self._store, query, self._large, self._kept).rows()

    def tags(self, runs: Sequence[str]) -> list[SharedTag]:
        """By name."""
        points: dict[str, int] = {}
        places: dict[str, dict[str, set[str]]] = {}
        told: set[str] = set()  # names of series that are no counters of text
        for run in dict.fromkeys(runs):
            check()
            for series in self._store.series(run):
                points[series.name] = points.get(series.name, 0) + series.points
                if not is_progress(series.name, series.labels):
                    told.add(series.name)
                places.setdefault(series.name, {}).setdefault(run, set()).add(dict(series.labels).get(RANK, ""))
        return [
            SharedTag(name, points[name], len(of_runs), max(map(len, of_runs.values())), name not in told)
            for name, of_runs in sorted(places.items())
        ]

    def machine_names(self, runs: Sequence[str]) -> set[str]:
        """The names of what was measured on the machine while these runs lasted, or ever without runs."""
        return set(Scope(CurveReader(self._store), runs, measured=True).machine.by_name)

    def lacks_series(self, runs: Sequence[str]) -> Callable[[str], bool]:
        """Whether neither these runs, nor the machine while they lasted, have the series that an expression is about."""
        scope = Scope(CurveReader(self._store), runs, measured=True)
        return lambda text: lacks_series(text, scope)


class _Answering:
    """One question."""

    def __init__(self, store: Store, query: CurveQuery, large: threading.Lock, kept: CurveCache) -> None:
        self._query, self._large, self._kept = query, large, kept
        self._reader = CurveReader(store)
        self._cursor = self._reader.cursor()
        self._axis = stored_axis(query.x)
        self._placement = AxisPlacement(self._reader, query.x)
        self._scope = Scope(self._reader, query.runs)
        self._bases = Baselines(self)
        self.left_out = [LeftOut(None, run, NO_RUN.format(run)) for run in self._scope.unknown]
        if self._scope.unknown and not self._scope.runs:
            raise UnknownSeries(NO_RUN.format(self._scope.unknown[0]))

    def answer(self) -> CurveAnswer:
        query = self._query
        followed: dict[FollowedSeries, None] = {}
        bundles: list[Bundle] = []
        for expr, members in self._chosen(followed):
            found = list(bundled(expr, members, query.ranks, self._group_of() if query.group is not None else None))
            if len(bundles) + len(found) > MAX_CURVES:
                more = len(bundles) + len(found) - MAX_CURVES
                reason = (
                    f"{more:,} further curves are not drawn; an answer holds {MAX_CURVES:,}: name fewer runs or series"
                )
                self.left_out.append(LeftOut(expr, None, reason))
            bundles += found[: max(0, MAX_CURVES - len(bundles))]
        most = max(1, min(query.buckets, MAX_BUCKETS // max(1, len(bundles))))
        self._read_ahead(bundles, most)
        curves = [curve for bundle in bundles if (curve := self._curve(bundle, most)) is not None]
        return CurveAnswer(self._cursor, self._axis_of(curves), curves, self.left_out, list(followed))

    def rows(self) -> Iterator[Rows]:
        members = [member for _, some in self._chosen({}, strict=True) for member in some]
        if not members or self._scope.unknown:
            raise UnknownSeries(self.left_out[0].reason if self.left_out else "nothing is asked for")
        sources = []
        for member in members:
            try:
                sources.append((member, self.place(member)))
            except NoPlace as error:
                of = f"series {member.name!r}" + (f" of run {member.run!r}" if member.run is not None else "")
                raise NoPlace(f"{of} cannot be exported on this axis: {error}") from None
        return (
            Rows(member.run or "", member.name, member.labels, points)
            for member, source in sources
            for points in source.parts(self._query.lo, self._query.hi)
        )

    def _chosen(
        self, followed: dict[FollowedSeries, None], strict: bool = False
    ) -> Iterator[tuple[int, Sequence[Member]]]:
        """The members of each expression, as many as an answer may be made of."""
        series = 0
        for expr, text in enumerate(self._query.exprs):
            check()
            try:
                choice = choose(expr, text, self._scope, self._reader, self._axis)
            except (ExpressionError, TooMuch) as error:
                if strict or (len(self._query.exprs) == 1 and isinstance(error, ExpressionError)):
                    raise
                self.left_out.append(LeftOut(expr, None, str(error)))
                continue
            more = series + len(choice.members)
            if more > MAX_SERIES:
                sentence = (
                    f"{more:,} series match; an answer is made of at most {MAX_SERIES:,}: name fewer runs or series"
                )
                if strict:
                    raise TooMuch(sentence)
                self.left_out.append(LeftOut(expr, None, sentence))
                continue
            series = more
            self.left_out += choice.left_out
            followed |= dict.fromkeys(FollowedSeries(one.run, one.name) for one in choice.followed)
            yield expr, choice.members

    def place(self, member: Member) -> CurveSource:
        """Raises NoPlace."""
        scope = self._scope
        if member.run is None and self._query.x not in UNITS:
            raise NoPlace(f"{self._query.x!r} is a series of a run, and cannot place what is of no run")
        return self._placement.place(member.source(), member.labels, scope.known(member.run), scope.begin(member.run))

    def of_baseline(self, expr: int, run: str) -> Sequence[Member] | None:
        """What this expression is in another run; None where there is no such run. Raises ExpressionError and TooMuch."""
        scope = Scope(self._reader, [run])
        if not scope.runs:
            return None
        members = choose(expr, self._query.exprs[expr], scope, self._reader, self._axis).members
        return [member for member in members if member.run in (run, None)]

    def _group_of(self) -> Callable[[str], str]:
        groups: dict[str, str] = {}

        def group(run: str) -> str:
            if run not in groups:
                groups[run] = group_of(self._reader.info(run), self._query.group or "")
            return groups[run]

        return group

    def _read_ahead(self, bundles: Sequence[Bundle], most: int) -> None:
        """Stored series that are drawn as they are, all together."""
        if self._query.baseline is not None or self._query.x not in UNITS:
            return
        together: dict[tuple[float | None, float | None], list[Series]] = {}
        stepped = []
        for bundle in bundles:
            members = bundle.members
            if len(members) > 1 or (series := members[0].series) is None:
                continue
            view = self._view(bundle, most)
            begin = self._scope.begin(series.run) if self._query.x == RELATIVE else 0.0
            place = tuple(None if end is None else end + begin for end in (view.lo, view.hi))
            together.setdefault(place, []).append(series)  # type: ignore[arg-type]
            if self._axis == "time" and series.first_step is not None:
                stepped.append(series)
        for (lo, hi), some in together.items():
            self._reader.read_ahead(some, lo, hi, self._axis, most)
        self._reader.read_ahead(stepped, None, None, "step", 1)  # their attempts

    def _view(self, bundle: Bundle, most: int) -> CurveView:
        """Without `lo`, all of the time is that of the named runs: the machine's series go on for weeks."""
        query = self._query
        lo, hi, first_s, last_s = query.lo, query.hi, self._scope.first_s, self._scope.last_s
        if lo is None and first_s is not None and self._axis == "time" and not bundle.is_stored:
            begin = self._scope.begin(bundle.run) if query.x == RELATIVE else 0.0
            lo = first_s - begin
            hi = last_s - begin if hi is None and last_s is not None else hi
        return CurveView(lo, hi, most, query.smooth, query.band)

    def _curve(self, bundle: Bundle, most: int) -> Curve | None:
        """None where it cannot be drawn: that is noted."""
        check()
        runs: list[list[CurveSource]] = []
        there: list[str | None] = []
        for run, members in bundle.of_runs.items():
            try:
                runs.append([self._source(bundle, member) for member in members])
                there.append(run)
            except NoPlace as error:
                self.left_out.append(LeftOut(bundle.expr, run, str(error)))
        if not runs:
            return None
        view = self._view(bundle, most)
        try:
            drawn = self._in_turn(bundle, runs, view)
        except (TooMuch, ExpressionError) as error:
            self.left_out += [LeftOut(bundle.expr, run, str(error)) for run in there]
            return None
        read = drawn.buckets.points_total
        whole = view.lo is None and view.hi is None and all(member.series is not None for member in bundle.members)
        total = sum(source.points for sources in runs for source in sources) if whole else read
        return Curve(
            bundle.expr,
            bundle.run,
            bundle.group,
            [run for run in there if run is not None],
            bundle.name,
            bundle.labels,
            bundle.unit,
            drawn.buckets,
            drawn.smooth,
            drawn.superseded,
            total,
            read,
        )

    def _source(self, bundle: Bundle, member: Member) -> CurveSource:
        placed = self.place(member)
        if self._query.baseline is None:
            return placed
        return RelativeToBaseline(placed, self._bases.of(bundle, self._query.baseline))

    def _in_turn(self, bundle: Bundle, runs: list[list[CurveSource]], view: CurveView) -> DrawnCurve:
        """Where many points are read one by one, one curve after the other, and each of them once."""
        query = self._query
        summaries = (
            not bundle.group
            and len(runs[0]) == 1
            and view.smooth is None
            and query.baseline is None
            and query.x in UNITS
        )
        if summaries or sum(source.points for sources in runs for source in sources) <= LARGE:
            return _drawn(bundle, runs, view)
        key = view, bundle.group, tuple(tuple(source.key for source in sources) for sources in runs)
        if (kept := self._kept.get(key)) is not None:
            return kept
        with holding(self._large):
            begun_s = time.monotonic()
            drawn = _drawn(bundle, runs, view)
        if time.monotonic() - begun_s > DEAR_S:
            self._kept.put(key, drawn)
        return drawn

    def _axis_of(self, curves: Sequence[Curve]) -> XAxis:
        query = self._query
        drawn = [curve.buckets for curve in curves if len(curve.buckets.t)]
        lo = min((float(np.min(found.t)) for found in drawn), default=None)
        hi = max((float(np.max(found.t_end)) for found in drawn), default=None)
        unit = UNITS[query.x] if query.x in UNITS else catalog.unit_of(query.x)
        return XAxis(query.x, unit, lo if query.lo is None else query.lo, hi if query.hi is None else query.hi)


class Baselines:
    """The lines that curves are compared with, each read once."""

    def __init__(self, answering: _Answering) -> None:
        self._answering = answering
        self._found: dict[Hashable, ReferenceCurve | str] = {}

    def of(self, bundle: Bundle, run: str) -> ReferenceCurve:
        """Over all ranks of the baseline that have the labels of the bundle. Raises NoPlace."""
        labels = tuple(pair for pair in bundle.labels if pair[0] != HOST)  # which differs from run to run
        key = bundle.expr, bundle.name, labels
        if key not in self._found:
            self._found[key] = self._read(bundle, labels, run)
        found = self._found[key]
        if isinstance(found, str):
            raise NoPlace(found)
        return found

    def _read(self, bundle: Bundle, labels: Labels, run: str) -> ReferenceCurve | str:
        """The line, or why there is none."""
        try:
            members = self._answering.of_baseline(bundle.expr, run)
            if members is None:
                return f"there is no run {run!r} to be the baseline; GET /api/v1/runs lists them"
            named = [member for member in members if member.name == bundle.name]
            alike = [member for member in named if set(labels) <= set(member.labels)] or named
            if not alike:
                return f"the baseline {run!r} has no series {bundle.name!r}"
            sources = [NewestAttempt(self._answering.place(member)) for member in alike]
        except NoPlace as error:
            return f"the baseline {run!r} has no place on this axis: {error}"
        except (ExpressionError, TooMuch) as error:
            return f"the baseline {run!r} cannot be computed: {error}"
        try:
            read = [units(source, None, None, MAX_PLACES, len(sources)) for source in sources]
        except TooMuch as error:
            return f"the baseline {run!r} cannot be read: {error}"
        joined = PointSummaries._make(np.concatenate(column) for column in zip(*read, strict=True))
        return base_line(joined, tuple(source.key for source in sources))


def _drawn(bundle: Bundle, runs: list[list[CurveSource]], view: CurveView) -> DrawnCurve:
    if bundle.group:
        return group(runs, view)
    return ranks(runs[0], view) if len(runs[0]) > 1 else single(runs[0][0], view)
