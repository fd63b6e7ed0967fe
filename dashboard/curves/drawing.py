"""What is drawn of one source, or of several together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collectors.analysis.stacks.traces import Bools, Floats, Ints
from collectors.store.protocol import Buckets
from collectors.store.question import check

from . import grid
from .asked import Spread
from .smoothing import Smoothing, smoother_of
from .sources import CurveSource, Newest, units


class CurveView(NamedTuple):
    """What is to be drawn of any curve of an answer."""

    lo: float | None
    hi: float | None
    buckets: int
    smooth: Smoothing | None
    spread: Spread


class Drawn(NamedTuple):
    buckets: Buckets
    smooth: Floats | None
    superseded: Bools


def single(source: CurveSource, view: CurveView) -> Drawn:
    found = source.buckets(view.lo, view.hi, view.buckets)
    smooth = None
    if view.smooth is not None:  # where a run has no finite value, it has none by smoothing either
        smooth = np.where(np.isnan(found.mean), np.nan, smoothed(source, view.smooth, view, found.segment, found.t_end))
    return Drawn(found, smooth, source.superseded(found))


def ranks(sources: Sequence[CurveSource], view: CurveView) -> Drawn:
    """The mean over the ranks of a run; min and max are those of all."""
    return _joined([sources], view, "minmax")


def group(runs: Sequence[Sequence[CurveSource]], view: CurveView) -> Drawn:
    """The mean over runs, each of them the mean over its ranks; without what newer attempts wrote again."""
    return _joined([[Newest(source) for source in sources] for sources in runs], view, view.spread)


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


def _joined(runs: Sequence[Sequence[CurveSource]], view: CurveView, spread: Spread) -> Drawn:
    sources = [source for some in runs for source in some]
    members = [units(source, view.lo, view.hi, view.buckets, len(sources)) for source in sources]
    cells = grid.together(members, view.buckets)
    each = [grid.values_on(cells, member) for member in members]
    of_run = _by_run(each, runs)
    mean = grid.mean(of_run)
    least, most = cells.min, cells.max
    if spread == "stderr":
        error = grid.standard_error(of_run)
        least, most = mean - error, mean + error
    smooth = None
    if view.smooth is not None:
        curves = [smoothed(source, view.smooth, view, cells.segment, cells.t_end) for source in sources]
        inside = [np.where(np.isnan(value), np.nan, curve) for value, curve in zip(each, curves, strict=True)]
        smooth = grid.mean(_by_run(inside, runs))
    return Drawn(cells._replace(mean=mean, last=mean, min=least, max=most), smooth, sources[0].superseded(cells))


def _by_run(each: Sequence[Floats], runs: Sequence[Sequence[CurveSource]]) -> Floats:
    """`[run, cell]`, the mean over the ranks of each run."""
    rows = iter(each)
    return np.stack([grid.mean(np.stack([next(rows) for _ in sources])) for sources in runs])
