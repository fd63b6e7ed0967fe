"""What an expression of a question stands for: stored series that it names, or a computed source."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from analysis.expressions.evaluation import Expression, ExpressionColumns, SeriesRequirement, compile
from analysis.expressions.language import (
    NAME,
    RUN,
    ExpressionError,
    Matcher,
    NoSeries,
    SeriesSelector,
    absent,
    meant,
    unit_of_series,
)
from analysis.expressions.values import Raster, SeriesColumns
from collectors.arrays import Bools
from collectors.records import Labels
from collectors.store.buckets import PointSummaries, join_points
from collectors.store.store import Axis, Buckets, RawPoints, Series, TooMuch, check

from .axis import (
    MAX_RAW,
    NO_STEP,
    NO_TIME,
    Attempts,
    CurveReader,
    CurveSource,
    KnownSeries,
    NoPlace,
    StoredSeries,
    attempts_of,
    superseded,
)
from .subscription import is_glob, matches

# The series that a question may choose from.

MAX_RUNS = 200  # of a question; of globs, the newest
STILL_S = 10.0  # after its last point a run may still be going on, and what is measured slowly may still come
MAX_KNOWN = 2 * MAX_RUNS  # with those that selectors name


class Scope:
    """Selectors choose among the series of the named runs, and where none of these has one, among those of the machine.

    A series of the machine with a label `run` belongs to that run alone. A selector that names runs (`run=`) chooses among those.
    With `measured`, those of the machine are only the ones that have points while the runs lasted, once these are over.
    """

    def __init__(self, reader: CurveReader, names: Sequence[str], measured: bool = False) -> None:
        self._reader, self._measured = reader, measured
        self._known: dict[str | None, KnownSeries] = {}
        self._all: list[str] | None = None
        found = dict.fromkeys(run for name in dict.fromkeys(names) for run in self._runs(name))
        there = (self.known(run) for run in found)
        self.runs = list(islice((one for one in there if one.series or reader.has_run(one.run or "")), MAX_RUNS))
        named = {known.run for known in self.runs}
        self.unknown = [name for name in dict.fromkeys(names) if name not in named and not is_glob(name)]

    def known(self, run: str | None) -> KnownSeries:
        """Raises TooMuch where selectors have named very many runs."""
        if run not in self._known:
            if run is not None and len(self._known) > MAX_KNOWN:
                raise TooMuch(f"the expressions of a question name at most {MAX_KNOWN} runs; name fewer")
            self._known[run] = KnownSeries.of(run, self._reader.series(run))
        return self._known[run]

    @cached_property
    def machine(self) -> KnownSeries:
        """Without the series that are about other runs."""
        machine = self.known(None)
        if not self.runs:
            return machine
        runs = {None, *(known.run for known in self.runs)}
        series = [one for one in machine.series if dict(one.labels).get(RUN) in runs]
        if self._measured and self.last_s is not None and self.last_s < time.time() - STILL_S:
            series = self._while_they_lasted(series)
        return KnownSeries.of(None, series)

    def _while_they_lasted(self, series: Sequence[Series]) -> list[Series]:
        """Those of what was measured then. What is measured together, such as all of `gpu/`, is looked up once: by the series with most points."""
        sources: dict[tuple[str, str | None], Series] = {}
        for one in series:
            source = _source_of(one)
            if source not in sources or sources[source].points < one.points:
                sources[source] = one
        points = self._reader.ranges(list(sources.values()), self.first_s, self.last_s, "time", 1)
        return [one for one in series if points[sources[_source_of(one)].id].points_total]

    def begin(self, run: str | None) -> float:
        """Where the relative times of a run begin; those of the machine's series begin with the first run."""
        if run is not None or not self.runs:
            return self.known(run).first_s or 0.0
        return self.first_s or 0.0

    @cached_property
    def first_s(self) -> float | None:
        """Of the named runs."""
        return min((known.first_s for known in self.runs if known.first_s is not None), default=None)

    @cached_property
    def last_s(self) -> float | None:
        """Of the named runs."""
        return max((known.last_s for known in self.runs if known.last_s is not None), default=None)

    def chosen(self, selector: SeriesSelector) -> list[Series]:
        if selector.clock:
            return clocks_of(one for known in self.runs for one in known.series)

        of_name = [matcher for matcher in selector.matchers if matcher.key == NAME]

        def pick(known: KnownSeries) -> Iterator[Series]:
            among = known.by_name.get(selector.name, []) if selector.name else known.series
            if of_name and not selector.name:
                names = {name for name in known.by_name if all(matcher.matches(name) for matcher in of_name)}
                among = [one for one in among if one.name in names]
            return (one for one in among if selector.matches(one.run or "", one.name, one.labels))

        naming = [matcher for matcher in selector.matchers if matcher.key == RUN and matcher.operator in ("=", "=~")]
        if naming:
            return [one for run in self._named_by(naming[0]) for one in pick(self.known(run))]
        return self._choose(pick)

    def named(self, name: str) -> list[Series]:
        return self._choose(lambda known: known.by_name.get(name, []))

    def matching(self, glob: str) -> list[Series]:
        def pick(known: KnownSeries) -> Iterator[Series]:
            names = {name for name in known.by_name if matches(name, glob)}
            return (one for one in known.series if one.name in names)

        return self._choose(pick)

    def names(self) -> set[str]:
        """Of all series of the runs and of the machine."""
        return {name for known in (*self.runs, self.known(None)) for name in known.by_name}

    def _choose(self, pick: Callable[[KnownSeries], Iterable[Series]]) -> list[Series]:
        found = [one for known in self.runs for one in pick(known)]
        return found or list(pick(self.machine))

    def _named_by(self, matcher: Matcher) -> list[str | None]:
        runs: list[str | None] = [None] if matcher.matches("") else []
        if matcher.operator == "=":
            return runs or [matcher.text]
        return [*runs, *self._runs(matcher.text)]

    def _runs(self, name: str) -> list[str]:
        if not is_glob(name) or self._reader.has_run(name):
            return [name]
        if self._all is None:
            self._all = self._reader.runs()
        return [run for run in self._all if matches(run, name)][:MAX_RUNS]


def clocks_of(known: Iterable[Series]) -> list[Series]:
    """Of each run the series with the most points, of those that have steps and times: it says when which step was."""
    found: dict[str, Series] = {}
    for series in known:
        if series.run is None or series.first_step is None or series.first_time_s is None:
            continue
        if series.run not in found or series.points > found[series.run].points:
            found[series.run] = series
    return list(found.values())


# What an expression chooses, or computes.

MAX_SERIES = 400  # of all selectors of an expression together


class Member(Protocol):
    """One series of an expression; `run` is None where it is of the machine, or of several runs together."""

    run: str | None
    name: str
    labels: Labels
    unit: str
    series: Series | None  # None where it is computed

    def source(self) -> CurveSource:
        """On the axis of the store. Raises NoPlace."""


class LeftOut(NamedTuple):
    """What is not in an answer, in one sentence. `expr` is None for a run as a whole; `absent`: there is no such series, which is usual."""

    expr: int | None
    run: str | None
    reason: str
    absent: bool = False


class Choice(NamedTuple):
    members: Sequence[Member]
    followed: Sequence[Series]  # the stored series behind them
    left_out: Sequence[LeftOut] = ()


def choose(number: int, text: str, scope: Scope, reader: CurveReader, axis: Axis) -> Choice:
    """Of the expression of this number. Raises ExpressionError where it is malformed, and TooMuch."""
    expression = expression_of(text, scope)
    if isinstance(expression, Expression) and expression.selector is None:
        return _computed(number, expression, scope, reader, axis)
    found = expression if isinstance(expression, list) else scope.chosen(expression.selector or SeriesSelector(text))
    members = [StoredMember(reader, one, axis) for one in found]
    own = {one.run for one in found}
    missing: list[str | None] = [known.run for known in scope.runs if known.run not in own]
    if not found:
        return Choice([], [], [LeftOut(number, run, _missing(text, run, scope), True) for run in missing or [None]])
    left_out = [] if None in own or _names_runs(expression) else missing
    return Choice(members, found, [LeftOut(number, run, _missing(text, run, scope), True) for run in left_out])


def expression_of(text: str, scope: Scope) -> Expression | list[Series]:
    """The series that it names exactly or by a glob; else what it says. Raises ExpressionError."""
    found = scope.named(text)
    plain = is_glob(text) and not set(text) & set(" \t\n\"'(){}")
    if not found and plain:
        found = scope.matching(text)
    if found:
        return found
    try:
        return compile(text)
    except ExpressionError:
        if plain:
            return []
        raise


def _source_of(series: Series) -> tuple[str, str | None]:
    return series.name.partition("/")[0], dict(series.labels).get(RUN)


def lacks_series(text: str, scope: Scope) -> bool:
    """Whether there is no series that the expression is about, or none for a part of it. One that is wrong lacks nothing."""
    try:
        expression = expression_of(text, scope)
    except ExpressionError:
        return False
    if isinstance(expression, list):
        return not expression
    return any(not need.selector.clock and not scope.chosen(need.selector) for need in expression.needs)


def _names_runs(expression: Expression | list[Series]) -> bool:
    return (
        isinstance(expression, Expression)
        and expression.selector is not None
        and any(matcher.key == RUN for matcher in expression.selector.matchers)
    )


def _missing(text: str, run: str | None, scope: Scope) -> str:
    where = "this run" if run is not None else "this machine"
    if is_glob(text) or "{" in text:
        return f"no series of {where} matches {text}"
    return f"{where} has no series {text}" + (meant(text, scope.names()) if len(scope.runs) <= 1 else "")


class StoredMember:
    def __init__(self, reader: CurveReader, series: Series, axis: Axis) -> None:
        self._reader, self._axis = reader, axis
        self.run, self.name, self.labels, self.unit = (
            series.run,
            series.name,
            series.labels,
            unit_of_series(series.name),
        )
        self.series: Series | None = series

    def source(self) -> CurveSource:
        assert self.series is not None
        if first_of(self.series, self._axis) is None:
            raise NoPlace(NO_TIME if self._axis == "time" else NO_STEP)
        return StoredSeries(self._reader, self.series, self._axis)


class ComputedMember:
    def __init__(self, name: str, computation: Computation, place: int, columns: ExpressionColumns) -> None:
        labels = dict(columns.labels)
        self.run, self.name, self.unit = labels.pop(RUN, None) or None, name, columns.unit
        self.labels: Labels = tuple(labels.items())
        self.series: Series | None = None
        self._source = ComputedSeries(computation, place)

    def source(self) -> CurveSource:
        return self._source


def _computed(number: int, expression: Expression, scope: Scope, reader: CurveReader, axis: Axis) -> Choice:
    chosen = {need.selector: scope.chosen(need.selector) for need in expression.needs}
    for need in expression.needs:
        if not chosen[need.selector]:
            sentence = str(NoSeries(need.column, absent(need.selector, scope.names())))
            return Choice([], [], [LeftOut(number, None, sentence, True)])
        if all(first_of(one, axis) is None for one in chosen[need.selector]):
            raise ExpressionError(need.column, OTHER_AXIS[axis].format(need.selector))
    computation = Computation(reader, expression, chosen, axis)
    members = [
        ComputedMember(expression.text, computation, place, columns)
        for place, columns in enumerate(computation.shape())
    ]
    return Choice(members, list(dict.fromkeys(one for some in chosen.values() for one in some)))


def first_of(series: Series, axis: Axis) -> float | None:
    return series.first_time_s if axis == "time" else series.first_step


# An expression over stored series, in buckets that are finer than what is drawn.

FINER = 8  # times as many buckets as are drawn: with no more points than these, each point is one
MAX_FINE = 20_000  # of a series
MAX_READ = 200_000  # of all series of an expression: 100 bytes each
NEIGHBOURS = 4.0  # how many usual distances of its points before a range a series is read
EVERY = 2**62  # buckets: each place is one
OTHER_AXIS = {
    "time": "the points of {} have no time; ask with x=step",
    "step": "the points of {} have no step; ask with x=time",
}
T = TypeVar("T")
_none, _no = np.empty(0), np.empty(0, np.int64)
NO_POINTS = RawPoints(_none, _none, _no, _none)


class NeededSeries(NamedTuple):
    """A stored series, and how far beyond the range it is read."""

    series: Series
    before: float
    after: float
    clock: bool = False


class Computation:
    """One expression, whose series are computed together, once for each range that is asked for."""

    def __init__(
        self, reader: CurveReader, expression: Expression, chosen: Mapping[SeriesSelector, Sequence[Series]], axis: Axis
    ) -> None:
        self._reader, self._expression, self._chosen, self._axis = reader, expression, chosen, axis
        self._wanted = _wanted(expression.needs, chosen, axis)
        if len(self._wanted) > MAX_SERIES:
            raise TooMuch(
                f"the expression is about {len(self._wanted):,} series; at most {MAX_SERIES} may be: name labels, or fewer runs"
            )
        self.points = sum(want.series.points for want in self._wanted)
        self.key: Hashable = (expression.text, axis, tuple(self._wanted))
        self._drawn: tuple[object, list[Buckets] | TooMuch] | None = None
        self._raw: tuple[object, list[RawPoints] | TooMuch] | None = None

    def shape(self) -> list[ExpressionColumns]:
        """Labels and units of the series, without their values. Raises ExpressionError."""
        return self._over(dict.fromkeys(self._wanted, NO_POINTS), Raster(self._axis))

    def buckets(self, lo: float | None, hi: float | None, most: int) -> list[Buckets]:
        asked = (lo, hi, most)
        if self._drawn is None or self._drawn[0] != asked:
            self._drawn = asked, _result(lambda: self._buckets(lo, hi, most))
        return _raised(self._drawn[1])

    def raw(self, lo: float | None, hi: float | None) -> list[RawPoints]:
        """At each place of its series; of too many points, the means of fine buckets."""
        if self._raw is None or self._raw[0] != (lo, hi):
            self._raw = (lo, hi), _result(lambda: self._points(lo, hi))
        return _raised(self._raw[1])

    def count(self, lo: float | None, hi: float | None) -> int:
        return sum(found.points_total for found in self._ranges(lo, hi, 1).values())

    def _buckets(self, lo: float | None, hi: float | None, most: int) -> list[Buckets]:
        fine = max(1, min(MAX_FINE, FINER * most, MAX_READ // max(1, len(self._wanted))))
        return [found.buckets for found in self._over(self._ranges(lo, hi, fine), Raster(self._axis, lo, hi, most))]

    def _points(self, lo: float | None, hi: float | None) -> list[RawPoints]:
        every = Raster(self._axis, lo, hi, EVERY)
        if self.points > MAX_RAW and self.count(lo, hi) > MAX_RAW:
            return [_as_points(found, found.mean) for found in self._buckets(lo, hi, MAX_FINE)]
        read: dict[NeededSeries, RawPoints] = {}
        for between, some in self._together(lo, hi):
            points = self._reader.points([want.series for want in some], *between, self._axis)
            read |= {want: points[want.series.id] for want in some}
        return [_as_points(found.buckets, found.buckets.last) for found in self._over(read, every)]

    def _ranges(self, lo: float | None, hi: float | None, most: int) -> dict[NeededSeries, Buckets]:
        found: dict[NeededSeries, Buckets] = {}
        for between, some in self._together(lo, hi):
            check()
            ranges = self._reader.ranges([want.series for want in some], *between, self._axis, most)
            found |= {want: ranges[want.series.id] for want in some}
        return found

    def _together(
        self, lo: float | None, hi: float | None
    ) -> Iterable[tuple[tuple[float | None, float | None], list[NeededSeries]]]:
        """Series that are read in the same range."""
        found: dict[tuple[float | None, float | None], list[NeededSeries]] = {}
        for want in self._wanted:
            reach = want.before + NEIGHBOURS * _distance(want.series, self._axis)
            between = None if lo is None else _finite(lo - reach), None if hi is None else _finite(hi + want.after)
            found.setdefault(between, []).append(want)
        return found.items()

    def _over(self, read: Mapping[NeededSeries, Buckets | RawPoints], raster: Raster) -> list[ExpressionColumns]:
        columns = {(want.series.id, want.clock): _columns(want, data, self._axis) for want, data in read.items()}
        chosen = {
            selector: [columns[key] for one in some if (key := (one.id, selector.clock)) in columns]
            for selector, some in self._chosen.items()
        }
        return self._expression.over_chosen(chosen, raster)


class ComputedSeries:
    """A series of a computation; newer attempts have replaced what they wrote again."""

    def __init__(self, computation: Computation, place: int) -> None:
        self._computation, self._place = computation, place
        self.points, self.key = computation.points, (computation.key, place)

    def buckets(self, lo: float | None, hi: float | None, most: int) -> Buckets:
        return self._computation.buckets(lo, hi, most)[self._place]

    def count(self, lo: float | None, hi: float | None) -> int:
        return self._computation.count(lo, hi)

    def parts(self, lo: float | None, hi: float | None) -> Iterator[RawPoints]:
        yield self._computation.raw(lo, hi)[self._place]

    def attempts(self) -> Attempts:
        return {}

    def superseded(self, found: Buckets | RawPoints | PointSummaries) -> Bools:
        return np.zeros(len(found.step), np.bool_)


def _result(work: Callable[[], list[T]]) -> list[T] | TooMuch:
    """What is too much for one series of a computation is it for all: it is not tried again."""
    try:
        return work()
    except TooMuch as error:
        return error


def _raised(found: list[T] | TooMuch) -> list[T]:
    if isinstance(found, TooMuch):
        raise found
    return found


def _wanted(
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


def _columns(want: NeededSeries, data: Buckets | RawPoints, axis: Axis) -> SeriesColumns:
    series = want.series
    if axis == "step":  # what a newer attempt wrote again does not count
        newest = ~superseded(data.step, data.segment, attempts_of(data))
        if not newest.all():
            data = _where(data, newest)
    return SeriesColumns(series.run or "", series.name, series.labels, unit_of_series(series.name), data, want.clock)


def _where(data: Buckets | RawPoints, kept: Bools) -> Buckets | RawPoints:
    if isinstance(data, RawPoints):
        return RawPoints._make(column[kept] for column in data)
    return Buckets._make([*(column[kept] for column in data[:-1]), data.points_total])


def _as_points(found: Buckets, value: np.ndarray) -> RawPoints:
    some = found.count > 0
    return join_points([RawPoints(found.t_end[some], found.step[some], found.segment[some], value[some])])


def _distance(series: Series, axis: Axis) -> float:
    """Between two points, on the mean."""
    first, last = (series.first_time_s, series.last_time_s) if axis == "time" else (series.first_step, series.last_step)
    return 0.0 if first is None or last is None else (last - first) / max(1, series.points - 1)


def _finite(place: float) -> float | None:
    return place if math.isfinite(place) else None
