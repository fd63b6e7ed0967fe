"""Rules that compare one series with a number: all those of a series at once, at each new point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ...analysis.findings.rule import Held
from ...analysis.stacks.traces import Bools, Floats
from ...process.activity import spoken
from ...records import Labels
from ..model import OwnRule, is_of
from .condition import SeriesComparison, condition_of

HoldingRules: TypeAlias = dict[tuple[str | None, str], float]
"""By run and rule of each finding that is not over, when its run was last heard of: until more is heard, its values still hold."""
STALE_S = 300.0  # a value holds for so long, or for STALE_INTERVALS of its series
STALE_INTERVALS = 10.0
MOST_FRESH = 1000  # points between two looks; of more the newest
MOST_SERIES = 20_000
OPERATORS = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


class _ComparingRules:
    """Those of one series' name: columns of equal length."""

    def __init__(self, rules: Sequence[tuple[OwnRule, SeriesComparison]]) -> None:
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


class _Passed(NamedTuple):
    """A rule held, and does no longer."""

    from_s: float
    to_s: float
    value: float


class ComparedSeries:
    """Of one run and one set of labels. `since_s` is by rule, NaN where it does not hold; `passed` is of the newest points."""

    __slots__ = ("any", "fresh", "interval_s", "last_s", "passed", "since_s", "value")

    def __init__(self, many: int) -> None:
        self.fresh: list[tuple[float, float]] = []
        self.since_s: Floats = np.full(many, np.nan)
        self.passed: dict[int, _Passed] = {}
        self.last_s, self.interval_s, self.value, self.any = -math.inf, 0.0, math.nan, False


class Comparisons:
    """For one thread."""

    def __init__(self, rules: Sequence[OwnRule], before: Comparisons | None = None) -> None:
        """A rule that was there before, as it is, goes on where it was."""
        found: dict[str, list[tuple[OwnRule, SeriesComparison]]] = {}
        for rule in rules:
            simple = condition_of(rule.kind, rule.text).simple if rule.kind == "when" else None
            if simple is not None:
                found.setdefault(simple.name, []).append((rule, simple))
        self._rules = {name: _ComparingRules(some) for name, some in found.items()}
        self._series: dict[tuple[str | None, str, Labels], ComparedSeries] = {}
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
            if len(self._series) >= MOST_SERIES:
                return
            series = self._series[key] = ComparedSeries(len(rules.rules))
        series.fresh.append((time_s, value))
        if len(series.fresh) > 2 * MOST_FRESH:
            del series.fresh[:MOST_FRESH]

    def look(self, now_s: float, kept: HoldingRules) -> Iterator[tuple[str | None, str, Held]]:
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
    def _follow(series: ComparedSeries, rules: _ComparingRules) -> None:
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
    def _carried(series: ComparedSeries, before: Sequence[OwnRule], after: Sequence[OwnRule]) -> ComparedSeries:
        since_s = dict(zip(((rule.name, rule.text) for rule in before), series.since_s.tolist(), strict=True))
        series.since_s = np.array([since_s.get((rule.name, rule.text), np.nan) for rule in after])
        series.any = bool((~np.isnan(series.since_s)).any())
        return series


def _passed(rules: _ComparingRules, time_s: Floats, values: Floats, true: Bools, since_s: Floats) -> dict[int, _Passed]:
    """By rule, its newest stretch among these points that was long enough and is over."""
    found: dict[int, _Passed] = {}
    over = true.any(axis=0) & ~true[-1]
    newest = len(true) - 1 - np.argmax(true[::-1], axis=0)
    for place in np.flatnonzero(over & (rules.for_s == 0)).tolist():
        at = int(newest[place])
        found[place] = _Passed(float(time_s[at]), float(time_s[at]), float(values[at]))
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
            found[place] = _Passed(float(begun_s[long[-1]]), float(time_s[at]), float(values[at]))
    return found


def _held(rule: OwnRule, name: str, labels: Labels, since_s: float, until_s: float, value: float) -> Held:
    words = dict(labels)
    rank = words.get("rank", "")
    where = f" of GPU {words['gpu']}" if "gpu" in words else ""
    lasting = f" for {spoken(until_s - since_s)}" if rule.for_s else ""
    return Held(
        f"{name}{where} is {value:.5g} ({rule.text}{lasting}).",
        since_s,
        max(since_s, until_s),
        key=" ".join(f"{key}={value}" for key, value in labels),
        rank=int(rank) if rank.isdecimal() else None,
        numbers={"value": value} if math.isfinite(value) else {},
    )
