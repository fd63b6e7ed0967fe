"""Smooth raw points over any axis, part by part, at the places that are drawn (pure).

Both methods are weighted means of the finite points of one segment, with weights by distance on the axis:

- ema: `y(a) = sum(w v) / sum(w)` over points at or before `a`, `w = 0.5 ** ((a - x) / half-life)`. It is debiased: pandas calls
  it `ewm(halflife=..., times=...)` with `adjust=True`.
- gauss: the same with `w = exp(-(a - x)**2 / (2 sigma**2))` over points at most 4 sigma away on either side.

Values are summed as differences from a segment's first one, so that a constant stays exactly that constant.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol

import numpy as np

from collectors.arrays import Floats, Ints

REACH_EMA = 64.0  # half-lives: older points weigh less than a bit of a float64
REACH_GAUSS = 4.0  # sigmas
AT_ONCE = 1_000_000  # pairs of a point and a place that are weighed together
DEAR = 4_000_000  # pairs from which cells are cheaper
CELLS = 64  # a sigma
TERMS = 7  # of the series of exp(u d), |u| <= 1/128 and |d| <= 4: the rest is below 1e-14


class Smoothing(NamedTuple):
    """`width`, in units of the axis, is a half-life or a sigma."""

    kind: Literal["ema", "gauss"]
    width: float

    @property
    def before(self) -> float:
        """How far back points matter."""
        return self.width * (REACH_EMA if self.kind == "ema" else REACH_GAUSS)

    @property
    def after(self) -> float:
        return 0.0 if self.kind == "ema" else self.width * REACH_GAUSS


class Smoother(Protocol):
    """Of one segment. Parts come in the order of the axis; points that share their place come in one part."""

    def add(self, x: Floats, value: Floats) -> None: ...

    def values(self) -> Floats:
        """At the places that were asked for; NaN where no point reaches them."""


def smoothing_of(text: str) -> Smoothing | None:
    """`"none" -> None`, `"ema:50" -> Smoothing("ema", 50.0)`. Raises ValueError with a sentence."""
    kind, _, width = text.partition(":")
    if text == "none":
        return None
    try:
        number = float(width)
    except ValueError:
        number = math.nan
    if kind not in ("ema", "gauss") or not 0 < number < math.inf:
        raise ValueError("smooth is none, ema:<half-life> or gauss:<sigma>, a positive number in units of the x axis")
    return Smoothing("ema" if kind == "ema" else "gauss", number)


def smoother_of(smoothing: Smoothing, at: Floats) -> Smoother:
    """`at` rises."""
    return Ema(smoothing.width, at) if smoothing.kind == "ema" else Gauss(smoothing.width, at)


def smoothed(smoothing: Smoothing, x: Floats, value: Floats, at: Floats) -> Floats:
    """Of one segment whose points are all there, in order."""
    smoother = smoother_of(smoothing, at)
    smoother.add(x, value)
    return smoother.values()


class Ema:
    """Holds the mean so far, as a difference from the first value, and the sum of its weights at the last finite point."""

    def __init__(self, half_life: float, at: Floats) -> None:
        self._half_life, self._at = half_life, at
        self._found = np.full(len(at), np.nan)
        self._done = 0  # places before the end of what was added
        self._base, self._mean, self._weight, self._last = math.nan, math.nan, 0.0, 0.0

    def add(self, x: Floats, value: Floats) -> None:
        if not len(x):
            return
        upto = int(
            np.searchsorted(self._at, x[-1])
        )  # a later part may have no point there, but this one may have more of them
        places = self._at[self._done : upto]
        finite = np.isfinite(value)
        x, value = (x, value) if finite.all() else (x[finite], value[finite])
        ends = np.searchsorted(x, places, "right")  # how many points stand at or before each place
        cuts = np.unique(np.concatenate([[0], ends, [len(x)]]))
        means = self._means(x, value, cuts)
        self._found[self._done : upto] = self._base + means[np.searchsorted(cuts, ends)]
        self._done = upto

    def values(self) -> Floats:
        self._found[self._done :] = self._base + self._mean
        return self._found

    def _means(self, x: Floats, value: Floats, cuts: Ints) -> Floats:
        """Before the first point, and after those up to each cut but the first."""
        means = [self._mean]
        if len(x):
            if not self._weight:
                self._base, self._last, self._mean = float(value[0]), float(x[0]), 0.0
            starts, lasts = cuts[:-1], x[cuts[1:] - 1]
            with np.errstate(over="ignore", invalid="ignore"):
                weight = np.exp2((x - np.repeat(lasts, np.diff(cuts))) / self._half_life)
                sums = np.add.reduceat(weight * (value - self._base), starts)
            weights = np.add.reduceat(weight, starts)
            means += [
                self._grown(*group) for group in zip(lasts.tolist(), weights.tolist(), sums.tolist(), strict=True)
            ]
        return np.array(means)

    def _grown(self, last: float, weight: float, total: float) -> float:
        """`weight` and `total` are the sums over points up to the place `last`, as of there."""
        self._weight = self._weight * 2.0 ** (-(last - self._last) / self._half_life) + weight
        self._mean += (total - self._mean * weight) / self._weight
        self._last = last
        return self._mean


class Gauss:
    """Sums of weights and of weighted values for each place, to which each part adds its own.

    Where a place has very many points, cells of them are summed once for all places: with a point at distance u from its cell's middle and
    the middle at distance d from the place (both in sigmas), the weight is `exp(-u**2 / 2) exp(-d**2 / 2) exp(u d)`, and the last
    factor is a short power series (L. Greengard and J. Strain, The Fast Gauss Transform, SIAM J. Sci. Stat. Comput. 12, 1991).
    """

    def __init__(self, sigma: float, at: Floats) -> None:
        self._sigma, self._at = sigma, at
        self._low, self._high = at - REACH_GAUSS * sigma, at + REACH_GAUSS * sigma
        self._weights, self._sums = np.zeros(len(at)), np.zeros(len(at))
        self._base = math.nan

    def add(self, x: Floats, value: Floats) -> None:
        finite = np.isfinite(value)
        x, value = (x, value) if finite.all() else (x[finite], value[finite])
        if not len(x):
            return
        if math.isnan(self._base):
            self._base = float(value[0])
        starts, ends = np.searchsorted(x, self._low), np.searchsorted(x, self._high, "right")
        with np.errstate(over="ignore", invalid="ignore"):
            value = value - self._base
            if int((ends - starts).sum()) <= DEAR:
                self._weigh(x, value, np.arange(len(self._at)), starts, ends)
            else:
                self._weigh_cells(x, value, starts, ends)

    def values(self) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._base + self._sums / self._weights

    def _weigh(self, x: Floats, value: Floats, places: Ints, starts: Ints, ends: Ints) -> None:
        """Add the points from `starts` to `ends` to each of the places, one by one."""
        some = ends > starts
        places, starts, counts = places[some], starts[some], (ends - starts)[some]
        behind = np.cumsum(counts)
        first = 0
        while first < len(places):
            done = int(behind[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(behind, done + AT_ONCE, "right")))
            count = counts[first:last]
            offsets = np.cumsum(count) - count
            index = np.arange(int(count.sum())) + np.repeat(starts[first:last] - offsets, count)
            weight = np.exp(-0.5 * ((x[index] - np.repeat(self._at[places[first:last]], count)) / self._sigma) ** 2)
            self._weights[places[first:last]] += np.add.reduceat(weight, offsets)
            self._sums[places[first:last]] += np.add.reduceat(weight * value[index], offsets)
            first = last

    def _weigh_cells(self, x: Floats, value: Floats, starts: Ints, ends: Ints) -> None:
        width = self._sigma / CELLS
        numbers = np.floor((x - x[0]) / width)
        begins = np.append(0, np.flatnonzero(numbers[1:] != numbers[:-1]) + 1)
        edges = np.append(begins, len(x))
        middles = x[0] + (numbers[begins] + 0.5) * width
        powers = _powers(x, value, middles, edges, self._sigma)
        first, last = np.searchsorted(edges, starts), np.searchsorted(edges, ends, "right") - 1  # cells that lie inside
        for place in np.flatnonzero(last > first).tolist():
            some = slice(first[place], last[place])
            d = (self._at[place] - middles[some]) / self._sigma
            near = np.exp(-0.5 * d * d)
            weights, sums = (np.polynomial.polynomial.polyval(d, part[:, some], tensor=False) for part in powers)
            self._weights[place] += float(near @ weights)
            self._sums[place] += float(near @ sums)
        none, places = last <= first, np.arange(len(self._at))
        self._weigh(x, value, places, starts, np.where(none, ends, edges[first]))
        self._weigh(x, value, places[~none], edges[last[~none]], ends[~none])


def _powers(x: Floats, value: Floats, middles: Floats, edges: Ints, sigma: float) -> tuple[Floats, Floats]:
    """Of each cell the sums of `exp(-u**2 / 2) u**k / k!`, without and with the values; `[k, cell]`."""
    u = (x - np.repeat(middles, np.diff(edges))) / sigma
    term = np.exp(-0.5 * u * u)
    weights, sums = np.empty((TERMS, len(middles))), np.empty((TERMS, len(middles)))
    for k in range(TERMS):
        weights[k] = np.add.reduceat(term, edges[:-1])
        sums[k] = np.add.reduceat(term * value, edges[:-1])
        term *= u / (k + 1)
    return weights, sums
