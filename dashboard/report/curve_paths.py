"""Curves as paths of a picture that is 1,000 wide and 100 high: a band from the least to the greatest value, and the mean."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from collectors.analysis.stacks.traces import Floats, Range
from collectors.store.protocol import Buckets

from .findings import ReportCurves, ReportPlot
from .texts import figure, shortened

WIDTH, HEIGHT = 1000.0, 100.0
LARGE = 1e300  # beyond it a difference of two values is none any more


class CurvePath(NamedTuple):
    colour: int  # 0 to 7
    label: str
    line: str  # of an SVG path
    dots: str  # places that no line joins
    band: str
    last: str
    least: str
    most: str
    points: int
    non_finite: int


class PlotPicture(NamedTuple):
    """`marked` is the slow stretch as (left, width), both percent; None where it is not on the axis."""

    title: str
    top: str
    bottom: str
    first: str
    last: str
    paths: list[CurvePath]
    more: int
    marked: tuple[float, float] | None


class PlotEnds(NamedTuple):
    """The ends of the axis and their words."""

    lo: float
    hi: float
    first: str
    last: str


def picture_of(
    plot: ReportPlot, ends: PlotEnds, marked: Range | None, places: int, most: int, characters: int
) -> PlotPicture | None:
    """At most so many lines of so many places; None where no value is finite."""
    lines = plot.lines[:most]
    finite = [
        column[np.isfinite(column)]
        for line in lines
        for column in (line.buckets.min, line.buckets.max, line.buckets.mean)
    ]
    values = np.clip(np.concatenate([*finite, np.zeros(0)]), -LARGE, LARGE)
    if not len(values):
        return None
    lo, hi = float(values.min()), float(values.max())
    if lo == hi:
        lo, hi = lo - abs(lo) * 0.01 - 1e-9, hi + abs(hi) * 0.01 + 1e-9
    if plot.unit == "%" and lo >= 0 and hi <= 100:
        lo, hi = 0.0, 100.0
    scale = (ends.lo, ends.hi, lo, hi)
    unit = plot.unit if plot.unit in ("%", "B") else ""  # any other stands once, behind the title
    paths = [
        _path(i % 8, shortened(line.label, characters), thinned(line.buckets, places), scale, unit)
        for i, line in enumerate(lines)
    ]
    return PlotPicture(
        shortened(f"{plot.title}, {plot.unit}" if plot.unit and not unit else plot.title, characters),
        figure(hi, unit),
        figure(lo, unit),
        ends.first,
        ends.last,
        paths,
        plot.more + len(plot.lines) - len(lines),
        _marked(marked, ends) if marked else None,
    )


def ends_of(curves: ReportCurves, window: Range | None, words: tuple[str, str] | None) -> PlotEnds:
    """Of the window, else of all that the curves have."""
    if window is not None and words is not None:
        return PlotEnds(*window, *words)
    columns = [
        column for plot in curves.plots for line in plot.lines for column in (line.buckets.t, line.buckets.t_end)
    ]
    places = np.concatenate([*columns, np.zeros(0)])
    places = places[np.isfinite(places)]
    lo, hi = (float(places.min()), float(places.max())) if len(places) else (0.0, 1.0)
    return PlotEnds(lo, hi if hi > lo else lo + 1.0, f"step {figure(lo)}", f"step {figure(hi)}")


def thinned(buckets: Buckets, most: int) -> Buckets:
    """At most about so many buckets of each segment: neighbours are joined, their least and greatest values stay."""
    group = -(-len(buckets.t) // max(1, most))
    if group <= 1:
        return buckets
    turn = np.flatnonzero(np.r_[True, np.diff(buckets.segment) != 0])
    first = np.unique(np.r_[turn, np.arange(0, len(buckets.t), group)])
    last = np.r_[first[1:], len(buckets.t)] - 1
    count = np.maximum(np.add.reduceat(buckets.count, first), 1)
    weighed = np.where(np.isfinite(buckets.mean), buckets.mean, 0.0) * buckets.count
    known = np.add.reduceat(np.where(np.isfinite(buckets.mean), buckets.count, 0), first)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean = np.where(known > 0, np.add.reduceat(weighed, first) / known, np.nan)
    return Buckets(
        buckets.t[first],
        buckets.t_end[last],
        buckets.step[last],
        buckets.segment[first],
        np.fmin.reduceat(buckets.min, first),
        np.fmax.reduceat(buckets.max, first),
        mean,
        buckets.last[last],
        count,
        np.add.reduceat(buckets.non_finite, first),
        buckets.points_total,
    )


def _path(colour: int, label: str, buckets: Buckets, scale: tuple[float, float, float, float], unit: str) -> CurvePath:
    lo, hi, bottom, top = scale
    middle = _across((buckets.t + buckets.t_end) / 2, lo, hi)
    least, mean, most = (_up(column, bottom, top) for column in (buckets.min, buckets.mean, buckets.max))
    drawn = np.isfinite(middle) & np.isfinite(mean) & np.isfinite(least) & np.isfinite(most)
    broken = np.r_[True, np.diff(buckets.segment) != 0]
    line, band = [], []
    for run in _runs(drawn, broken):
        x, y = middle[run], mean[run]
        line.append("M" + "L".join(_point(x, y)))
        if len(run) > 1 and float(np.max(least[run] - most[run])) > 0.2:
            there, back = _point(x, most[run]), _point(x[::-1], least[run][::-1])
            band.append("M" + "L".join([*there, *back]) + "z")
    return CurvePath(
        colour,
        label,
        "".join(part for part in line if "L" in part),
        "".join(f"{part}h.01" for part in line if "L" not in part),
        "".join(band),
        figure(float(buckets.last[-1]), unit),
        figure(_extreme(buckets.min, np.fmin), unit),
        figure(_extreme(buckets.max, np.fmax), unit),
        buckets.points_total,
        int(buckets.non_finite.sum()),
    )


def _runs(drawn: np.ndarray, broken: np.ndarray) -> list[np.ndarray]:
    """Indices that are joined by a line: what is not drawn, or another segment, ends one."""
    where = np.flatnonzero(drawn)
    if not len(where):
        return []
    cuts = np.flatnonzero((np.diff(where) > 1) | broken[where[1:]]) + 1
    return np.split(where, cuts)


def _across(place: Floats, lo: float, hi: float) -> Floats:
    across: Floats = np.clip((place - lo) / (hi - lo), 0, 1) * WIDTH
    return across


def _up(value: Floats, bottom: float, top: float) -> Floats:
    """A large value is halved first, so that no difference overflows."""
    held = np.clip(value, -LARGE, LARGE) / 2
    up: Floats = (1 - np.clip((held - bottom / 2) / (top / 2 - bottom / 2), 0, 1)) * HEIGHT
    return up


def _point(x: Floats, y: Floats) -> list[str]:
    return [f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _extreme(column: Floats, reduce: np.ufunc) -> float:
    finite = column[np.isfinite(column)]
    return float(reduce.reduce(finite)) if len(finite) else math.nan


def _marked(stretch: Range, ends: PlotEnds) -> tuple[float, float] | None:
    lo, hi = (100 * min(1.0, max(0.0, (at - ends.lo) / (ends.hi - ends.lo))) for at in stretch)
    return (lo, max(hi - lo, 0.3)) if hi > lo else None
