"""How the numbers of a configuration go with a value of the runs: Spearman's rank correlation with its interval, and medians of groups.

The interval: Fisher's z of the rank correlation r with the variance (1 + r^2 / 2) / (n - 3), after D. G. Bonett and T. A. Wright,
"Sample size requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65 (2000), pages 23-28.
`docs/decisions/0201` has its measured coverage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .differences import canonical, shown

NORMAL_975 = 1.959963984540054  # 95 % of a normal distribution lie within so many standard deviations
LEAST_RUNS = 10  # for an interval
LEAST_PAIRS = 3  # for a correlation
CLOSE = 0.95  # beyond it fewer than 95 of 100 such intervals hold
MOST_GROUPS = 20

Floats = NDArray[np.float64]


class Correlation(NamedTuple):
    """Of one key with the value, over the `n` runs that have both as finite numbers. `lo` and `hi` are None where `note` says why."""

    key: str
    n: int
    rho: float
    lo: float | None
    hi: float | None
    note: str  # one sentence, or ""


class GroupMedian(NamedTuple):
    group: str  # the value of the key, as text
    n: int
    median: float


class GroupSpread(NamedTuple):
    """Of a key whose values are no numbers: how far apart the medians of its groups lie. It is no test."""

    key: str
    n: int
    spread: float
    groups: list[GroupMedian]  # by their median


class Effects(NamedTuple):
    correlations: list[Correlation]  # the strongest first
    spreads: list[GroupSpread]  # the widest first
    left_out: list[tuple[str, str]]  # key, and why
    by_chance: float  # of the intervals, so many would leave out zero although nothing depends on anything


def effects(configs: Sequence[Mapping[str, Any]], values: Sequence[float | None]) -> Effects:
    """`configs` are flat, one a run; `values` the chosen value of each, None where it has none."""
    correlations, spreads, left_out = [], [], []
    for key in dict.fromkeys(key for config in configs for key in config):
        pairs = [
            (config[key], float(value))
            for config, value in zip(configs, values, strict=True)
            if key in config and value is not None and math.isfinite(value)
        ]
        keys = [item for item, _ in pairs]
        if len({canonical(item) for item in keys}) < 2:
            continue  # it is the same in all runs that have the value
        if all(map(is_number, keys)):
            if len(pairs) < LEAST_PAIRS:
                left_out.append((key, f"only {len(pairs)} runs have it and the value"))
            elif len({value for _, value in pairs}) < 2:
                left_out.append((key, "the value is the same in all runs that have it"))
            else:
                correlations.append(correlation(key, np.array(keys, float), np.array([value for _, value in pairs])))
        elif (found := spread(key, pairs)) is not None:
            spreads.append(found)
        else:
            left_out.append((key, "no two runs share a value of it"))
    correlations.sort(key=lambda row: -abs(row.rho))
    spreads.sort(key=lambda row: -row.spread)
    with_interval = sum(row.lo is not None for row in correlations)
    return Effects(correlations, spreads, left_out, 0.05 * with_interval)


def correlation(key: str, x: Floats, y: Floats) -> Correlation:
    """`x` and `y` are finite, and have one item a run. A value that is the same in all runs has no order: NaN."""
    n, rho = len(x), spearman(x, y)
    if math.isnan(rho):
        return Correlation(key, n, rho, None, None, "the value is the same in all these runs")
    if n < LEAST_RUNS:
        return Correlation(key, n, rho, None, None, f"{n} runs are too few for an interval; it takes {LEAST_RUNS}")
    lo, hi = interval(rho, n)
    return Correlation(key, n, rho, lo, hi, "so close to 1, the interval is too narrow" if abs(rho) > CLOSE else "")


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the ranks, so that ties are right; NaN where one of the two does not vary."""
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return max(-1.0, min(1.0, float(a @ b) / scale)) if scale > 0 else math.nan


def ranks(values: Floats) -> Floats:
    """`[5, 1, 5] -> [2.5, 1, 2.5]`: equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Floats = last - (counts - 1) / 2
    return mean[place]


def interval(rho: float, n: int) -> tuple[float, float]:
    """95 %. A perfect order has the interval of the order that two neighbours' exchange makes of it, up to 1: no sample shows that there is no other."""
    next_to_perfect = 1 - 12 / (n * (n * n - 1))
    within = max(-next_to_perfect, min(next_to_perfect, rho))
    z, half = math.atanh(within), NORMAL_975 * math.sqrt((1 + within**2 / 2) / (n - 3))
    lo, hi = math.tanh(z - half), math.tanh(z + half)
    return (-1.0 if rho < -next_to_perfect else lo), (1.0 if rho > next_to_perfect else hi)


def spread(key: str, pairs: Sequence[tuple[Any, float]]) -> GroupSpread | None:
    """None where no group has two runs, or where there are too many groups to say anything."""
    groups: dict[str | bytes, list[float]] = {}
    names: dict[str | bytes, str] = {}
    for item, value in pairs:
        form = canonical(item)
        groups.setdefault(form, []).append(value)
        names.setdefault(form, str(shown(item)))
    if len(groups) > MOST_GROUPS or all(len(found) < 2 for found in groups.values()):
        return None
    medians = sorted(
        (GroupMedian(names[form], len(found), float(np.median(found))) for form, found in groups.items()),
        key=lambda group: group.median,
    )
    return GroupSpread(key, len(pairs), medians[-1].median - medians[0].median, medians)


def is_number(value: Any) -> bool:
    """Finite, and none that stands for yes or no."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
