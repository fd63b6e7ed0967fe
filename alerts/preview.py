"""When a rule would have fired: a user's rule over the stored history of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats
from collectors.store.store import Buckets, Series, Store

from .conditions import SeriesComparison, condition_of, series_of
from .config import UserRule
from .rules import HOUR_S, MAD, MIN_POINTS, MIN_SPREAD, OPERATORS, ExpressionEvaluator

MAX_RUNS = 50  # the newest that the rule is about
MAX_CURVES = 8  # that are drawn
BUCKETS = 2000  # of a series: one bucket a point where it has no more of them


class Firing(NamedTuple):
    """A stretch in which the rule holds, beginning when it has held for long enough. Unix seconds; `value` is the last."""

    run: str
    from_s: float
    to_s: float
    value: float


class Curve(NamedTuple):
    run: str
    time_s: Floats
    value: Floats


class Preview(NamedTuple):
    """`runs` counts those that have data for the rule since then; firings are in the order of time."""

    firings: list[Firing]
    curves: list[Curve]
    runs: int


def preview_of(store: Store, rule: UserRule, runs: Iterable[str], now_s: float, lo: float) -> Preview:
    """Over these runs, the newest first. Raises ExpressionError, StoreError, TooMuch."""
    firings: list[Firing] = []
    curves: list[Curve] = []
    seen = 0
    for run in list(runs)[:MAX_RUNS]:
        stretches = list(_stretches(store, rule, run, now_s, lo))
        if not stretches:
            continue
        seen += 1
        for time_s, value, true in stretches:
            firings += [Firing(run, *span) for span in spans(time_s, value, true, rule.for_s)]
        if len(curves) < MAX_CURVES:
            curves.append(Curve(run, *stretches[0][:2]))
    return Preview(sorted(firings, key=lambda firing: firing.from_s), curves, seen)


def spans(time_s: Floats, value: Floats, true: Bools, for_s: float) -> list[tuple[float, float, float]]:
    """When it has held for `for_s`, until when it held, and its last value then; points are in the order of time."""
    edges = np.diff(np.concatenate([[False], true, [False]]).astype(np.int8))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    long = time_s[last] - time_s[first] >= for_s
    return [
        (float(time_s[begin]) + for_s, float(time_s[end]), float(value[end]))
        for begin, end in zip(first[long], last[long], strict=True)
    ]


def _stretches(
    store: Store, rule: UserRule, run: str, now_s: float, lo: float
) -> Iterator[tuple[Floats, Floats, Bools]]:
    """Times and values of each series that the rule looks at, and whether its condition holds there."""
    condition = condition_of(rule.kind, rule.text)
    if rule.kind == "absent" or condition.simple is not None:
        name = series_of(rule.kind, rule.text)
        for data in _read(store, [row for row in store.series(run, name) if row.name == name], lo):
            if condition.simple is not None:
                yield data.t_end, data.last, _compared(condition.simple, data)
            else:
                yield _silence(data, rule.for_s)
        return
    for _, time_s, value in ExpressionEvaluator(store, [rule]).past(rule.name, run, now_s, lo):
        yield time_s, value, _odd(rule, time_s, value) if rule.kind == "anomaly" else ~np.isnan(value) & (value != 0)


def _read(store: Store, rows: Sequence[Series], lo: float) -> Iterator[Buckets]:
    ranges = store.range([row.id for row in rows], lo, None, "time", BUCKETS) if rows else {}
    for row in rows:
        data = ranges[row.id]
        if len(data.count):
            yield data


def _compared(comparison: SeriesComparison, data: Buckets) -> Bools:
    """Of a bucket of several points the extreme value counts, so that a single one is not missed."""
    extreme = {">": data.max, ">=": data.max, "<": data.min, "<=": data.min}.get(comparison.operator, data.last)
    with np.errstate(invalid="ignore"):
        true: list[Bools] = [
            OPERATORS[comparison.operator](value, comparison.number) & ~np.isnan(value)
            for value in (extreme, data.last)
        ]
    return true[0] | true[1]


def _silence(data: Buckets, for_s: float) -> tuple[Floats, Floats, Bools]:
    """Each gap between points that is long enough, as a stretch of its own."""
    begin, end = data.t_end[:-1], data.t[1:]
    gaps = np.flatnonzero(end - begin >= for_s)
    time_s = np.stack([begin[gaps], end[gaps], end[gaps]]).T.ravel()
    value = np.repeat(data.last[:-1][gaps], 3)
    return (time_s, value, np.tile([True, True, False], len(gaps))) if len(gaps) else (data.t_end, data.last, np.zeros(len(data.count), np.bool_))  # fmt: skip


def _odd(rule: UserRule, time_s: Floats, value: Floats) -> Bools:
    """Where a value is that many spreads from the median of the hour before it."""
    odd = np.zeros(len(value), np.bool_)
    begin = np.searchsorted(time_s, time_s - HOUR_S)
    for at in range(len(value)):
        before = value[begin[at] : at + 1]
        known = before[np.isfinite(before)]
        if len(known) < MIN_POINTS or not np.isfinite(value[at]):
            continue
        median = float(np.median(known))
        spread = max(MAD * float(np.median(np.abs(known - median))), MIN_SPREAD * abs(median), 1e-12)
        odd[at] = abs(value[at] - median) > rule.times * spread
    return odd
