"""User-defined rules: a comparison of a series with a number, or any expression, evaluated as records arrive."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from analysis.expressions.evaluation import ExpressionColumns
from analysis.expressions.language import ExpressionError, NoSeries, unit_of_series
from analysis.expressions.values import Raster, SeriesColumns
from analysis.findings.rule import Detection, RunRule
from analysis.findings.watch import FindingTracker
from collectors.arrays import Bools, Floats
from collectors.message import Message, Sentence, phrase
from collectors.records import Finding, Labels, Points, Record
from collectors.store.store import Buckets, Series, Store, StoreError, TooMuch

from .conditions import Condition, SeriesComparison, condition_of
from .config import OWN, AlertSettings, UserRule, is_of

# Rules that compare one series with a number: all those of a series at once, at each new point.

HoldingRules: TypeAlias = dict[tuple[str | None, str], float]
"""By run and rule of each finding that is not over, when its run was last heard of: until more is heard, its values still hold."""
STALE_S = 300.0  # a value holds for so long, or for STALE_INTERVALS of its series
STALE_INTERVALS = 10.0
MAX_FRESH = 1000  # points between two looks; of more the newest
MAX_SERIES = 20_000
OPERATORS = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


class _ThresholdRules:
    """Those of one series' name: columns of equal length."""

    def __init__(self, rules: Sequence[tuple[UserRule, SeriesComparison]]) -> None:
        self.rules = [rule for rule, _ in rules]
        self.numbers = np.array([comparison.number for _, comparison in rules])
        self.for_s = np.array([rule.for_s for rule in self.rules])
        self.by_operator = {
            operator: np.array(
                [place for place, (_, comparison) in enumerate(rules) if comparison.operator == operator]
            )
            for operator in {comparison.operator for _, comparison in rules}
        }
        self._of_run: dict[str | None, Bools] = {}

    def true(self, values: Floats) -> Bools:
        """By point and rule."""
        found = np.zeros((len(values), len(self.rules)), np.bool_)
        with np.errstate(invalid="ignore"):
            for operator, places in self.by_operator.items():
                found[:, places] = OPERATORS[operator](values[:, None], self.numbers[None, places])
        found[np.isnan(values)] = False
        return found

    def of_run(self, run: str | None) -> Bools:
        """Whether each is about a run."""
        found = self._of_run.get(run)
        if found is None:
            found = self._of_run[run] = np.array([is_of(rule.runs, run) for rule in self.rules])
        return found

    def let_go(self, run: str | None) -> None:
        self._of_run.pop(run, None)


class _HeldPeriod(NamedTuple):
    """A rule held, and does no longer."""

    from_s: float
    to_s: float
    value: float


class ThresholdState:
    """Of one run and one set of labels. `since_s` is by rule, NaN where it does not hold; `passed` is of the newest points."""

    __slots__ = ("any", "fresh", "interval_s", "last_s", "passed", "since_s", "value")

    def __init__(self, many: int) -> None:
        self.fresh: list[tuple[float, float]] = []
        self.since_s: Floats = np.full(many, np.nan)
        self.passed: dict[int, _HeldPeriod] = {}
        self.last_s, self.interval_s, self.value, self.any = -math.inf, 0.0, math.nan, False


class ThresholdEvaluator:
    """For one thread."""

    def __init__(self, rules: Sequence[UserRule], before: ThresholdEvaluator | None = None) -> None:
        """A rule that was there before, as it is, goes on where it was."""
        found: dict[str, list[tuple[UserRule, SeriesComparison]]] = {}
        for rule in rules:
            simple = condition_of(rule.kind, rule.text).simple if rule.kind == "when" else None
            if simple is not None:
                found.setdefault(simple.name, []).append((rule, simple))
        self._rules = {name: _ThresholdRules(some) for name, some in found.items()}
        self._series: dict[tuple[str | None, str, Labels], ThresholdState] = {}
        for key, series in before._series.items() if before else ():
            if key[1] in self._rules:
                self._series[key] = self._carried(series, before._rules[key[1]].rules, self._rules[key[1]].rules)  # type: ignore[union-attr]

    def take(self, run: str | None, name: str, labels: Labels, time_s: float, value: float) -> None:
        rules = self._rules.get(name)
        if rules is None:
            return
        key = run, name, labels
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                return
            series = self._series[key] = ThresholdState(len(rules.rules))
        series.fresh.append((time_s, value))
        if len(series.fresh) > 2 * MAX_FRESH:
            del series.fresh[:MAX_FRESH]

    def look(self, now_s: float, kept: HoldingRules) -> Iterator[tuple[str | None, str, Detection]]:
        runs = {run for run, _ in kept}
        for (run, name, labels), series in self._series.items():
            rules = self._rules[name]
            if series.fresh:
                self._follow(series, rules)
                of_run = rules.of_run(run)
                for place, passed in series.passed.items():
                    if of_run[place]:
                        yield run, rules.rules[place].name, _held(rules.rules[place], name, labels, *passed)
            lasting_s = max(STALE_S, STALE_INTERVALS * series.interval_s)
            is_fresh = now_s - series.last_s <= lasting_s
            if not series.any or not (is_fresh or run in runs):
                continue
            holds = (now_s - series.since_s >= rules.for_s) & rules.of_run(run)  # NaN compares as false
            for place in np.flatnonzero(holds).tolist():
                rule = rules.rules[place]
                if is_fresh or kept.get((run, rule.name), math.inf) - series.last_s <= lasting_s:
                    yield run, rule.name, _held(rule, name, labels, float(series.since_s[place]), now_s, series.value)

    def let_go(self, run: str | None) -> None:
        for key in [key for key in self._series if key[0] == run]:
            del self._series[key]
        for rules in self._rules.values():
            rules.let_go(run)

    @staticmethod
    def _follow(series: ThresholdState, rules: _ThresholdRules) -> None:
        rows, series.fresh = np.array(series.fresh), []
        time_s, values = rows[:, 0], rows[:, 1]
        true = rules.true(values)
        last = true[-1]
        series.passed = _passed(rules, time_s, values, true, series.since_s)
        if last.any():
            from_end = np.argmin(true[::-1], axis=0)  # the last that is false, from the end; 0 where none is
            all_true = true.all(axis=0)
            first = np.where(all_true, 0, len(true) - from_end)
            begun = time_s[np.minimum(first, len(true) - 1)]
            goes_on = all_true & ~np.isnan(series.since_s)
            series.since_s = np.where(last, np.where(goes_on, series.since_s, begun), np.nan)
        elif series.any:
            series.since_s = np.full(len(last), np.nan)
        series.any = bool(last.any())
        if math.isfinite(series.last_s):
            series.interval_s = max(0.0, float(time_s[-1] - series.last_s) / len(values))
        series.last_s, series.value = float(time_s[-1]), float(values[-1])

    @staticmethod
    def _carried(series: ThresholdState, before: Sequence[UserRule], after: Sequence[UserRule]) -> ThresholdState:
        since_s = dict(zip(((rule.name, rule.text) for rule in before), series.since_s.tolist(), strict=True))
        series.since_s = np.array([since_s.get((rule.name, rule.text), np.nan) for rule in after])
        series.any = bool((~np.isnan(series.since_s)).any())
        return series


def _passed(
    rules: _ThresholdRules, time_s: Floats, values: Floats, true: Bools, since_s: Floats
) -> dict[int, _HeldPeriod]:
    """By rule, its newest stretch among these points that was long enough and is over."""
    found: dict[int, _HeldPeriod] = {}
    over = true.any(axis=0) & ~true[-1]
    newest = len(true) - 1 - np.argmax(true[::-1], axis=0)
    for place in np.flatnonzero(over & (rules.for_s == 0)).tolist():
        at = int(newest[place])
        found[place] = _HeldPeriod(float(time_s[at]), float(time_s[at]), float(values[at]))
    began_s = np.fmin(since_s, time_s[0])
    for place in np.flatnonzero(over & (rules.for_s > 0) & (time_s[newest] - began_s >= rules.for_s)).tolist():
        holds = np.concatenate([[False], true[:, place], [False]])
        first, last = np.flatnonzero(~holds[:-1] & holds[1:]), np.flatnonzero(holds[:-1] & ~holds[1:]) - 1
        begun_s = time_s[first]
        if first[0] == 0:
            begun_s[0] = min(began_s[place], begun_s[0])
        long = np.flatnonzero(time_s[last] - begun_s >= rules.for_s[place])
        if len(long):
            at = int(last[long[-1]])
            found[place] = _HeldPeriod(float(begun_s[long[-1]]), float(time_s[at]), float(values[at]))
    return found


def _held(rule: UserRule, name: str, labels: Labels, since_s: float, until_s: float, value: float) -> Detection:
    words = dict(labels)
    rank = words.get("rank", "")
    return Detection(
        phrase(
            "{name}{where} is {value:.5g} ({rule}{lasting}).",
            name=name,
            where=phrase(" of GPU {gpu}", gpu=words["gpu"]) if "gpu" in words else None,
            value=value,
            rule=rule.text,
            lasting=_lasting(rule, until_s - since_s),
        ),
        since_s,
        max(since_s, until_s),
        key=" ".join(f"{key}={value}" for key, value in labels),
        rank=int(rank) if rank.isdecimal() else None,
        numbers={"value": value} if math.isfinite(value) else {},
    )


def _lasting(rule: UserRule, seconds: float) -> Message | None:
    return phrase(" for {seconds:spoken}", seconds=seconds) if rule.for_s else None


# Rules that need more than the newest point: expressions, and what is unlike the last hour. In turn, from the store.

HOUR_S = 3600.0  # of a baseline
MIN_POINTS = 60  # of a baseline
MAD = 1.4826  # spreads of a normal distribution
MIN_SPREAD = 0.01  # of the median: less is rounding
MAX_QUEUED = 1000  # rules and runs, before more are looked for
EVERY_S = 2.0  # the same rule and run at most so often
BUCKETS, MAX_COMPUTED_SERIES = 2000, 50
SERIES_S = 20.0  # a run's list of series is read again after this


@dataclass
class _State:
    """Of one rule, run and series of its result."""

    since_s: float
    last_s: float
    what: Sentence
    value: float


@dataclass
class _KnownSeries:
    read_s: float
    rows: list[Series]


class ExpressionEvaluator:
    """For one thread. Each rule and run stands in a queue while there are new points for it."""

    def __init__(self, store: Store, rules: Sequence[UserRule]) -> None:
        self._store = store
        self.troubles: dict[str, str] = {}
        self._rules: dict[str, tuple[UserRule, Condition]] = {}
        self._names: dict[str, str] = {}
        self._queue: deque[tuple[str, str | None]] = deque()
        self._queued: set[tuple[str, str | None]] = set()
        self._fresh: set[tuple[str | None, tuple[str, ...]]] = set()  # run, and series with new points
        self._done_s: dict[tuple[str, str | None], float] = {}
        self._states: dict[tuple[str, str | None], dict[str, _State]] = {}
        self._runs: dict[str | None, set[str]] = {}  # names of their series that are known
        self._series: dict[str | None, _KnownSeries] = {}
        self.use(rules)

    def use(self, rules: Sequence[UserRule]) -> None:
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
        if len(self._queue) > MAX_QUEUED:
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

    def held(self, now_s: float, kept: HoldingRules) -> Iterator[tuple[str | None, str, Detection]]:
        for (name, run), states in self._states.items():
            rule = self._rules[name][0]
            heard_s = min(now_s, kept.get((run, name), now_s))
            for key, state in states.items():
                if now_s - state.since_s >= rule.for_s and heard_s - state.last_s < STALE_S:
                    numbers = {"value": state.value} if math.isfinite(state.value) else {}
                    lasting = _lasting(rule, now_s - state.since_s)
                    said = phrase("{what}{lasting}.", what=state.what, lasting=lasting)
                    yield run, name, Detection(said, state.since_s, now_s, key=key, numbers=numbers)

    def _compute(self, name: str, run: str | None, now_s: float) -> None:
        rule, condition = self._rules[name]
        try:
            reach_s = HOUR_S if rule.kind == "anomaly" else rule.for_s + 60.0
            found = list(self._columns(condition, run, now_s, now_s - min(reach_s, 24 * HOUR_S)))
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

    def past(self, name: str, run: str | None, now_s: float, lo: float) -> Iterator[tuple[Labels, Floats, Floats]]:
        """What a rule computes of a run since then: labels, places and values of each series. Raises ExpressionError, StoreError, TooMuch."""
        try:
            yield from self._columns(self._rules[name][1], run, now_s, lo)
        except NoSeries:
            return

    def _columns(
        self, condition: Condition, run: str | None, now_s: float, lo: float
    ) -> Iterator[tuple[Labels, Floats, Floats]]:
        """Labels, places and values of each series of the result."""
        rows = [
            *self._of(run, now_s),
            *(self._of(None, now_s) if run is not None and condition.expression is not None else []),
        ]
        if condition.expression is None:
            chosen = [row for row in rows if row.name == condition.name][:MAX_COMPUTED_SERIES]
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
        if len(chosen) > MAX_COMPUTED_SERIES:
            raise TooMuch(f"{len(chosen)} series are more than a rule may look at ({MAX_COMPUTED_SERIES}); name labels")
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


def _true(rule: UserRule, time_s: Floats, value: Floats) -> _State | None:
    """Since when its newest values are neither 0 nor NaN; None where the newest is."""
    known = ~np.isnan(value)
    time_s, value = time_s[known], value[known]
    if not len(value) or value[-1] == 0:
        return None
    false = np.flatnonzero(value == 0)
    first = int(false[-1]) + 1 if len(false) else 0
    return _State(float(time_s[first]), float(time_s[-1]), rule.text, float(value[-1]))


def _never_false_since(rule: UserRule, time_s: Floats, value: Floats, old: _State) -> bool:
    if rule.kind == "anomaly":
        return True
    later = time_s > old.last_s
    return not bool((value[later] == 0).any())


def _anomaly(rule: UserRule, time_s: Floats, value: Floats) -> _State | None:
    """How far the newest value is from the median of those before, in spreads: median absolute deviations, scaled to a normal's."""
    known = np.isfinite(value)
    if int(known.sum()) < MIN_POINTS:
        return None
    time_s, value = time_s[known], value[known]
    median = float(np.median(value))
    spread = max(MAD * float(np.median(np.abs(value - median))), MIN_SPREAD * abs(median), 1e-12)
    far = np.abs(value - median) > rule.times * spread
    if not far[-1]:
        return None
    near = np.flatnonzero(~far)
    first = int(near[-1]) + 1 if len(near) else 0
    times = abs(float(value[-1]) - median) / spread
    what = phrase(
        "{rule} is {value:.5g}, {spreads:.3g} spreads from the median {median:.5g} of its last hour",
        rule=rule.text,
        value=float(value[-1]),
        spreads=times,
        median=median,
    )
    return _State(float(time_s[first]), float(time_s[-1]), what, float(value[-1]))


# Own rules of alerts.yaml: what holds now becomes findings, by the same watch as those of the built-in rules.
#
# A comparison of a series with a number looks at each new point, all rules of a series at once; an expression, and what is unlike
# the last hour, is computed from the store, in turn and within a share of a core.

SHARE = 0.02  # of a core, for expressions
MAX_TURN_S = 0.1
MAX_HOLDING = 5000  # findings of own rules
AWAKE_S = 3600.0  # a run without a point is let go after this
ENDED_S = (
    35.0  # without a point, before it is asked whether a run has ended: what was resolved before that is over by then
)
ASK_S = 5.0  # between two such questions


class UserRules:
    """For one thread. `alive` are the runs of which a process is known."""

    def __init__(
        self, store: Store, known: Iterable[Finding] = (), has_ended: Callable[[str], bool] = lambda run: False
    ) -> None:
        mine = [row for row in known if row.rule.startswith(OWN)]
        self._has_ended = has_ended
        self._watch = FindingTracker(mine)
        self._settings = AlertSettings()
        self._rules: dict[str, tuple[UserRule, RunRule]] = {}
        self._comparisons = ThresholdEvaluator(())
        self._computed = ExpressionEvaluator(store, ())
        self._awaiting: list[tuple[UserRule, str]] = []  # with the name of the series
        self._awaited: set[str] = set()
        self._last_s: dict[str | None, dict[str, float]] = {}  # by run and awaited series, the time of its newest point
        self._sign_s: dict[str | None, float] = {}  # by run, the time of its newest point
        self._heard_s: dict[str | None, float] = {}  # by run, when its newest point came
        self._since_s: dict[str | None, float] = {
            row.run: row.to_s for row in mine if not row.over
        }  # since when a run is known
        self._asked_s = -ASK_S  # when it was last asked which runs have ended
        self._credit_s, self._then_s = 0.0, time.monotonic()

    def use(self, settings: AlertSettings) -> None:
        """Rules that are the same go on where they were."""
        if settings.rules == self._settings.rules:
            self._settings = settings
            return
        self._settings = settings
        rules = [rule for rule in settings.rules if rule.enabled]
        self._rules = {rule.name: (rule, as_rule(rule)) for rule in rules}
        self._comparisons = ThresholdEvaluator(rules, self._comparisons)
        self._computed.use(rules)
        self._awaiting = [(rule, self._computed.name_of(rule.name)) for rule in rules if rule.kind == "absent"]
        self._awaited = {name for _, name in self._awaiting}

    @property
    def wants_points(self) -> bool:
        """Whether there is any."""
        return bool(self._rules)

    def take(self, records: Iterable[Record], now_s: float) -> None:
        for record in records:
            if isinstance(record, Points):
                time_s = now_s if record.time_s is None else min(record.time_s, now_s)  # another clock may be ahead
                self._sign_s[record.run] = max(time_s, self._sign_s.get(record.run, time_s))
                self._heard_s[record.run] = now_s
                self._since_s.setdefault(record.run, now_s)
                for name, value in zip(record.names, record.values, strict=True):
                    if name in self._awaited:
                        self._last_s.setdefault(record.run, {})[name] = time_s
                    self._comparisons.take(record.run, name, record.labels, time_s, value)
                self._computed.fresh(record.run, record.names)

    def look(self, alive: Iterable[str], now_s: float) -> list[Finding]:
        """Findings that are new, changed or over."""
        if not self._rules and not self._watch.holding():
            return []
        living = set(alive)
        for name in living:
            self._since_s.setdefault(name, now_s)
        news = self._ends(living, now_s)
        kept: HoldingRules = {}
        for row in self._watch.holding():
            kept[row.run, row.rule.removeprefix(OWN)] = now_s if row.run is None else self._sign_s.get(row.run, now_s)
        held: dict[tuple[str | None, str], list[Detection]] = {}
        facts = [
            *self._comparisons.look(now_s, kept),
            *self._absent(living, kept, now_s),
            *self._expressions(now_s, kept),
        ]
        for run, rule_name, fact in facts:
            held.setdefault((run, rule_name), []).append(fact)
        for run, name in kept.keys() | held.keys():
            if (run, name) not in held and name in self._rules and self._is_awaited(run):
                continue
            rule = self._rules[name][1] if name in self._rules else as_rule(UserRule(name, "when", "", 0.0, 0))
            if (run, name) in kept or len(kept) < MAX_HOLDING:
                news += self._watch.look(rule, run, held.get((run, name), []), now_s)
        for run, since_s in list(self._since_s.items()):
            if run is not None and run not in living and now_s - max(since_s, self._sign_s.get(run, 0.0)) > AWAKE_S:
                self._let_go(run)
        return news

    def _ends(self, living: set[str], now_s: float) -> list[Finding]:
        """What still held when its run ended."""
        if 0 <= now_s - self._asked_s < ASK_S:
            return []
        self._asked_s = now_s
        news: list[Finding] = []
        for run in {row.run for row in self._watch.holding() if row.run is not None} - living:
            if now_s - self._heard_s.get(run, 0.0) > ENDED_S and self._has_ended(run):
                news += self._watch.end(run)
                self._let_go(run)
        return news

    def _is_awaited(self, run: str | None) -> bool:
        """Whether nothing was heard yet of a run in which something held when this began."""
        return run is not None and run in self._since_s and run not in self._heard_s

    def _let_go(self, run: str) -> None:
        for kept in (self._last_s, self._since_s, self._sign_s, self._heard_s):
            kept.pop(run, None)
        self._comparisons.let_go(run)
        self._computed.let_go(run)

    def troubles(self) -> dict[str, str]:
        """By rule, why it could not be computed when it was tried last."""
        return dict(self._computed.troubles)

    def _absent(
        self, living: set[str], kept: HoldingRules, now_s: float
    ) -> Iterator[tuple[str | None, str, Detection]]:
        """Of runs that are alive, or were when it began: a series has no new point for so long, or never had one."""
        for rule, name in self._awaiting:
            for run, known_s in self._since_s.items():
                if run is None or not is_of(rule.runs, run):
                    continue
                from_s = self._last_s.get(run, {}).get(name, known_s)
                is_alive = run in living or now_s - self._sign_s.get(run, 0.0) < rule.for_s
                if (is_alive or (run, rule.name) in kept) and now_s - from_s >= rule.for_s:
                    yield (
                        run,
                        rule.name,
                        Detection(
                            phrase("No point of {name} for {silent_s:spoken}.", name=name, silent_s=now_s - from_s),
                            from_s,
                            now_s,
                        ),
                    )

    def _expressions(self, now_s: float, kept: HoldingRules) -> Iterator[tuple[str | None, str, Detection]]:
        passed_s, self._then_s = time.monotonic() - self._then_s, time.monotonic()
        self._credit_s = min(MAX_TURN_S, self._credit_s + SHARE * passed_s)
        began_s = time.thread_time()
        self._computed.work(lambda: time.thread_time() - began_s < self._credit_s, now_s)
        self._credit_s -= time.thread_time() - began_s
        return self._computed.held(now_s, kept)


def as_rule(rule: UserRule) -> RunRule:
    """As the watch knows rules."""
    return RunRule(rule.rule, "training", rule.name, rule.weight, 0.0, "", rule.text, "alerts.yaml", lambda subject: ())
