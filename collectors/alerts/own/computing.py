"""Rules that need more than the newest point: expressions, and what is unlike the last hour. In turn, from the store."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...analysis.expressions.errors import ExpressionError, NoSeries
from ...analysis.expressions.expression import ExpressionColumns
from ...analysis.expressions.tracks import Raster, SeriesColumns
from ...analysis.expressions.units import unit_of_series
from ...analysis.findings.rule import Held
from ...analysis.stacks.traces import Floats
from ...process.activity import spoken
from ...records import Labels
from ...store.protocol import Buckets, Series, Store, StoreError
from ...store.question import TooMuch
from ..model import OwnRule, is_of
from .comparing import STALE_S, HoldingRules
from .condition import Condition, condition_of

HOUR_S = 3600.0  # of a baseline
LEAST_POINTS = 60  # of a baseline
MAD = 1.4826  # spreads of a normal distribution
LEAST_SPREAD = 0.01  # of the median: less is rounding
MOST_QUEUED = 1000  # rules and runs, before more are looked for
EVERY_S = 2.0  # the same rule and run at most so often
BUCKETS, MOST_SERIES = 2000, 50
SERIES_S = 20.0  # a run's list of series is read again after this


@dataclass
class _State:
    """Of one rule, run and series of its result."""

    since_s: float
    last_s: float
    sentence: str
    value: float


@dataclass
class _KnownSeries:
    read_s: float
    rows: list[Series]


class ComputedRules:
    """For one thread. Each rule and run stands in a queue while there are new points for it."""

    def __init__(self, store: Store, rules: Sequence[OwnRule]) -> None:
        self._store = store
        self.troubles: dict[str, str] = {}
        self._rules: dict[str, tuple[OwnRule, Condition]] = {}
        self._names: dict[str, str] = {}
        self._queue: deque[tuple[str, str | None]] = deque()
        self._queued: set[tuple[str, str | None]] = set()
        self._fresh: set[tuple[str | None, tuple[str, ...]]] = set()  # run, and series with new points
        self._done_s: dict[tuple[str, str | None], float] = {}
        self._states: dict[tuple[str, str | None], dict[str, _State]] = {}
        self._runs: dict[str | None, set[str]] = {}  # names of their series that are known
        self._series: dict[str | None, _KnownSeries] = {}
        self.use(rules)

    def use(self, rules: Sequence[OwnRule]) -> None:
        """Rules that are as they were go on."""
        found = {rule.name: (rule, condition_of(rule.kind, rule.text)) for rule in rules}
        self._names = {
            name: condition.name
            for name, (rule, condition) in found.items()
            if rule.kind == "absent" and condition.name
        }
        before = self._rules
        self._rules = {name: row for name, row in found.items() if row[1].simple is None and name not in self._names}
        gone = {name for name in before if name not in self._rules or self._rules[name][0] != before[name][0]}
        self._states = {key: state for key, state in self._states.items() if key[0] not in gone}
        self.troubles = {name: why for name, why in self.troubles.items() if name in self._rules and name not in gone}
        self._queue, self._queued = deque(), set()
        for run, names in self._runs.items():
            self.fresh(run, tuple(sorted(names)))

    def name_of(self, rule: str) -> str:
        """The series of a rule that waits for one alone; "" of others."""
        return self._names.get(rule, "")

    def fresh(self, run: str | None, names: tuple[str, ...]) -> None:
        """New points of these came."""
        if self._rules:
            self._fresh.add((run, names))

    def _enqueue(self) -> None:
        """What the new points are about; while much is waiting they are looked at later."""
        if len(self._queue) > MOST_QUEUED:
            return
        fresh, self._fresh = self._fresh, set()
        for run, names in fresh:
            self._runs.setdefault(run, set()).update(names)
            for name, (rule, condition) in self._rules.items():
                key = name, run
                if key not in self._queued and is_of(rule.runs, run) and _is_about(condition, run, names):
                    self._queued.add(key)
                    self._queue.append(key)

    def let_go(self, run: str | None) -> None:
        self._runs.pop(run, None)
        self._series.pop(run, None)
        for kept in (self._states, self._done_s):
            for key in [key for key in kept if key[1] == run]:
                del kept[key]

    def work(self, may_go_on: Callable[[], bool], now_s: float) -> None:
        """Compute what is due, one at least, as long as there is time; the rest is next."""
        if self._fresh:
            self._enqueue()
        for done in range(len(self._queue)):
            if done and not may_go_on():
                return
            key = self._queue.popleft()
            if 0 <= now_s - self._done_s.get(key, -math.inf) < EVERY_S:
                self._queue.append(key)
                continue
            self._queued.discard(key)
            if key[0] in self._rules:
                self._done_s[key] = now_s
                self._compute(*key, now_s)

    def held(self, now_s: float, kept: HoldingRules) -> Iterator[tuple[str | None, str, Held]]:
        for (name, run), states in self._states.items():
            rule = self._rules[name][0]
            heard_s = min(now_s, kept.get((run, name), now_s))
            for key, state in states.items():
                if now_s - state.since_s >= rule.for_s and heard_s - state.last_s < STALE_S:
                    lasting = f" for {spoken(now_s - state.since_s)}" if rule.for_s else ""
                    numbers = {"value": state.value} if math.isfinite(state.value) else {}
                    sentence = f"{state.sentence}{lasting}."
                    yield run, name, Held(sentence, state.since_s, now_s, key=key, numbers=numbers)

    def _compute(self, name: str, run: str | None, now_s: float) -> None:
        rule, condition = self._rules[name]
        try:
            found = list(self._columns(rule, condition, run, now_s))
            self.troubles.pop(name, None)
        except NoSeries:
            return
        except (ExpressionError, StoreError, TooMuch) as error:
            self.troubles[name] = str(error)
            return
        before = self._states.get((name, run), {})
        after: dict[str, _State] = {}
        for labels, time_s, value in found:
            key = " ".join(f"{key}={value}" for key, value in labels if key != "run")
            state = _anomaly(rule, time_s, value) if rule.kind == "anomaly" else _true(rule, time_s, value)
            if state is not None:
                old = before.get(key)
                if old is not None and old.last_s >= float(time_s[0]) and _never_false_since(rule, time_s, value, old):
                    state.since_s = min(state.since_s, old.since_s)
                after[key] = state
        if after:
            self._states[name, run] = after
        else:
            self._states.pop((name, run), None)

    def _columns(
        self, rule: OwnRule, condition: Condition, run: str | None, now_s: float
    ) -> Iterator[tuple[Labels, Floats, Floats]]:
        """Labels, places and values of each series of the result."""
        reach_s = HOUR_S if rule.kind == "anomaly" else rule.for_s + 60.0
        lo = now_s - min(reach_s, 24 * HOUR_S)
        rows = [
            *self._of(run, now_s),
            *(self._of(None, now_s) if run is not None and condition.expression is not None else []),
        ]
        if condition.expression is None:
            chosen = [row for row in rows if row.name == condition.name][:MOST_SERIES]
            for row, data in zip(chosen, self._buckets(chosen, lo), strict=True):
                if len(data.count):
                    yield row.labels, data.t_end, data.last
            return
        needs = condition.expression.needs
        before = max(need.before for need in needs)
        chosen = [
            row for row in rows if any(need.selector.matches(row.run or "", row.name, row.labels) for need in needs)
        ]
        if any(need.selector.clock for need in needs):
            chosen += [row for row in rows if row.run == run and row.first_step is not None and row not in chosen][:1]
        if len(chosen) > MOST_SERIES:
            raise TooMuch(f"{len(chosen)} series are more than a rule may look at ({MOST_SERIES}); name labels")
        if not any(row.run == run for row in chosen):
            return
        columns = self._read(chosen, lo - before)
        clocks = [
            data._replace(clock=True) for data in columns if any(need.selector.clock for need in needs) and data.run
        ][:1]
        found: list[ExpressionColumns] = condition.expression.over(
            [*columns, *clocks], Raster("time", lo, None, BUCKETS)
        )
        for column in found:
            if len(column.buckets.count):
                yield column.labels, column.buckets.t_end, column.buckets.last

    def _of(self, run: str | None, now_s: float) -> list[Series]:
        known = self._series.get(run)
        names = self._runs.get(run, set())
        if known is None or not 0 <= now_s - known.read_s <= SERIES_S or not names <= {row.name for row in known.rows}:
            if known is not None and 0 <= now_s - known.read_s < EVERY_S:
                return known.rows
            known = self._series[run] = _KnownSeries(now_s, self._store.series(run))
        return known.rows

    def _buckets(self, rows: Sequence[Series], lo: float) -> list[Buckets]:
        ranges = self._store.range([row.id for row in rows], lo, None, "time", BUCKETS) if rows else {}
        return [ranges[row.id] for row in rows]

    def _read(self, rows: Sequence[Series], lo: float) -> list[SeriesColumns]:
        return [
            SeriesColumns(row.run or "", row.name, row.labels, unit_of_series(row.name), data)
            for row, data in zip(rows, self._buckets(rows, lo), strict=True)
        ]


def _is_about(condition: Condition, run: str | None, names: Sequence[str]) -> bool:
    if condition.expression is None:
        return condition.name in names
    for need in condition.expression.needs:
        if need.selector.clock:
            if run is not None:
                return True
        elif not need.selector.name or need.selector.name in names:
            return True
    return False


def _true(rule: OwnRule, time_s: Floats, value: Floats) -> _State | None:
    """Since when its newest values are neither 0 nor NaN; None where the newest is."""
    known = ~np.isnan(value)
    time_s, value = time_s[known], value[known]
    if not len(value) or value[-1] == 0:
        return None
    false = np.flatnonzero(value == 0)
    first = int(false[-1]) + 1 if len(false) else 0
    return _State(float(time_s[first]), float(time_s[-1]), rule.text, float(value[-1]))


def _never_false_since(rule: OwnRule, time_s: Floats, value: Floats, old: _State) -> bool:
    if rule.kind == "anomaly":
        return True
    later = time_s > old.last_s
    return not bool((value[later] == 0).any())


def _anomaly(rule: OwnRule, time_s: Floats, value: Floats) -> _State | None:
    """How far the newest value is from the median of those before, in spreads: median absolute deviations, scaled to a normal's."""
    known = np.isfinite(value)
    if int(known.sum()) < LEAST_POINTS:
        return None
    time_s, value = time_s[known], value[known]
    median = float(np.median(value))
    spread = max(MAD * float(np.median(np.abs(value - median))), LEAST_SPREAD * abs(median), 1e-12)
    far = np.abs(value - median) > rule.times * spread
    if not far[-1]:
        return None
    near = np.flatnonzero(~far)
    first = int(near[-1]) + 1 if len(near) else 0
    times = abs(float(value[-1]) - median) / spread
    sentence = f"{rule.text} is {value[-1]:.5g}, {times:.3g} spreads from the median {median:.5g} of its last hour"
    return _State(float(time_s[first]), float(time_s[-1]), sentence, float(value[-1]))
