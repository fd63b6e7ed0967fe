"""Which stretches of a run are its baseline: the steady ones before a window, which every number of that window stands beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...store.protocol import RawPoints
from ..baseline.units import Units
from ..stacks.traces import EVER, Bools, Floats, Ints, Range, Traces, overlaps, union
from .mix import usual

SLICE_S = 1.0
COVERED = 0.9  # of a slice, by units
BEFORE_S = 1800.0  # how far from the window the baseline may lie
FIRST_UNITS, FIRST_S = (
    50,
    120.0,
)  # a run's beginning is not its baseline: so many units, and no more than so many seconds
FEW_UNITS = 8.0  # a window of fewer is compared in whole units: what a part of one does says little of the others
LEAST_UNITS = 5.0  # whole units that are looked for
SLOWEST, SLOWEST_MEAN = 1.5, 1.25  # times the 25th percentile over steps: the median of a second, and its mean
SLACK = 0.15  # without steps: how far from the better quartile a slice's activity may lie
ENOUGH_S = 60.0  # the nearest so many seconds are taken; more for long windows
WINDOWS = 25  # ... so many of the window's own lengths, for less than 20 say little about chance
AFTER_BELOW_S = 10.0  # where there is less before the window, what follows it is taken as well
LEAST_S = 3.0
MANY = 2.0  # units a line


def baseline_of(
    window: Range,
    units: Units | None,
    *,
    activity: RawPoints | None = None,
    mains: Traces | None = None,
    left_out: Sequence[Range] = (),
    recorded: Sequence[Range] = EVER,
    windows: int = WINDOWS,
) -> list[Range]:
    """Ranges in order; [] where there are less than 3 s, and nothing to compare with.

    Without units, a slice is steady where `activity`, a signal from 0 for idle to 1, is about as high as in the better quarter of all
    slices; without that signal, where the main threads, `mains`, do what they usually do. `left_out` is what is no steady state by its nature: the first steps,
    checkpoints, validations. `windows` is how many of the window's own lengths are taken, if there are so many.
    """
    if units is not None and is_part(window, units):
        return _whole_units(units.whole(window), units, left_out, recorded, windows)
    lo, hi = window
    before = lo - SLICE_S * np.arange(1, BEFORE_S / SLICE_S + 1)
    after = hi + SLICE_S * np.arange(BEFORE_S / SLICE_S)
    starts = np.r_[before, after]
    good = (
        _steady(starts, units, activity, mains)
        & _held(starts, starts + SLICE_S, recorded)
        & ~_touching(starts, starts + SLICE_S, left_out)
    )
    enough = max(ENOUGH_S, windows * (hi - lo))
    earlier = before[good[: len(before)]][: int(np.ceil(enough / SLICE_S))]
    if len(earlier) * SLICE_S >= AFTER_BELOW_S:
        return _ranges(earlier)
    later = after[good[len(before) :]][: int(np.ceil(enough / SLICE_S)) - len(earlier)]
    chosen = np.r_[earlier, later]
    return _ranges(chosen) if len(chosen) * SLICE_S >= LEAST_S else []


def is_part(window: Range, units: Units) -> bool:
    """Whether a window is so short that it holds some parts of a unit more often than others."""
    return window[1] - window[0] < FEW_UNITS * units.usual_s() < np.inf


def _whole_units(
    window: Range, units: Units, left_out: Sequence[Range], recorded: Sequence[Range], windows: int = WINDOWS
) -> list[Range]:
    """The nearest steady units, each from end to end: those before the window, and those after it where there are few."""
    starts, ends = units.start_s, units.end_s
    good = (
        (units.seconds <= SLOWEST * units.usual_s())
        & _held(starts, ends, recorded)
        & ~_touching(starts, ends, left_out)
    )
    before, after = np.flatnonzero(good & (ends <= window[0]))[::-1], np.flatnonzero(good & (starts >= window[1]))
    enough_s = max(ENOUGH_S, windows * (window[1] - window[0]) / FEW_UNITS, LEAST_UNITS * units.usual_s())
    chosen = _nearest(before, ends - starts, enough_s)
    if not len(chosen) or (ends - starts)[chosen].sum() < max(AFTER_BELOW_S, (LEAST_UNITS - 1) * units.usual_s()):
        chosen = np.r_[chosen, _nearest(after, ends - starts, enough_s - float((ends - starts)[chosen].sum()))]
    found = union(list(zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True)), touching_s=1e-3)
    return found if sum(hi - lo for lo, hi in found) >= LEAST_S else []


def _nearest(places: Ints, seconds: Floats, enough_s: float) -> Ints:
    """So many from the first on that they add up to enough."""
    return places[: int(np.searchsorted(np.cumsum(seconds[places]), enough_s)) + 1] if enough_s > 0 else places[:0]


def unsteady_by_nature(
    units: Units | None, first: bool, events: Sequence[Range], window: Range, compilations: Sequence[Range] = ()
) -> list[Range]:
    """The first steps of a run, where `first` says that these units are its first, checkpoints and validations; not what fills the window itself.

    A run begins anew after each compilation, as long as it has not got beyond its first steps.
    """
    found = [*events, *compilations]
    if units is not None and first and len(units.end_s):
        begun_s = float(units.start_s[0] - np.median(units.end_s - units.start_s))  # the first line ends a unit, too
        end_s = _first_end(units, begun_s)
        for start, end in sorted(compilations):
            end_s = max(end_s, _first_end(units, end)) if start <= end_s else end_s
        found.append((begun_s - BEFORE_S, end_s))
    return [
        part
        for part in union(found)
        if min(part[1], window[1]) - max(part[0], window[0]) < 0.5 * (window[1] - window[0])
    ]


def _first_end(units: Units, begun_s: float) -> float:
    """When so many units, or so many seconds, have passed since."""
    since = np.flatnonzero(units.end_s > begun_s)
    if not len(since):
        return begun_s
    last = min(int(np.searchsorted(np.cumsum(units.units[since]), FIRST_UNITS)), len(since) - 1)
    return min(float(units.end_s[since[last]]), begun_s + FIRST_S)


def _steady(starts: Floats, units: Units | None, activity: RawPoints | None, mains: Traces | None) -> Bools:
    if units is not None and len(units.end_s):
        median_s, mean_s = _by_slice(starts, units)
        usual_s = float(np.percentile(mean_s[np.isfinite(mean_s)], 25)) if np.isfinite(mean_s).any() else np.inf
        steady: Bools = (median_s <= SLOWEST * units.usual_s()) & (mean_s <= SLOWEST_MEAN * usual_s)
        return steady & _beside_steady(starts, steady) if np.median(units.units) >= MANY else steady
    if activity is not None and len(activity.place):
        value = _means(starts, activity)
        if np.isfinite(value).any():
            close: Bools = value >= np.percentile(value[np.isfinite(value)], 75) - SLACK
            return close
    return usual(mains, starts) if mains is not None else np.zeros(len(starts), bool)


def _beside_steady(starts: Floats, steady: Bools) -> Bools:
    """Where both neighbours are steady, too: which units of a line that counts for many were slow is not known."""
    order = np.argsort(starts)
    ordered = np.r_[True, steady[order], True]
    beside = np.zeros(len(starts), bool)
    beside[order] = ordered[:-2] & ordered[2:]
    return beside


def _by_slice(starts: Floats, units: Units) -> tuple[Floats, Floats]:
    """The median and the mean time of the units that touch each slice; infinite where they do not fill it."""
    order = np.argsort(starts)
    ordered = starts[order]
    unit, place = overlaps(units.start_s, units.end_s, ordered, ordered + SLICE_S)
    median_s, mean_s = np.full(len(starts), np.inf), np.full(len(starts), np.inf)
    inside_s = np.minimum(units.end_s[unit], ordered[place] + SLICE_S) - np.maximum(units.start_s[unit], ordered[place])
    covered_s = np.bincount(place, inside_s, len(starts))
    count = np.bincount(place, inside_s / units.seconds[unit], len(starts))
    whole = covered_s >= COVERED * SLICE_S
    mean_s[order[whole]] = (covered_s / np.maximum(count, 1e-9))[whole]
    by_place = np.lexsort((units.seconds[unit], place))
    places, first, many = np.unique(place[by_place], return_index=True, return_counts=True)
    median_s[order[places]] = units.seconds[unit][by_place][first + (many - 1) // 2]
    return median_s, mean_s


def _means(starts: Floats, activity: RawPoints) -> Floats:
    """The mean of the signal over each slice; NaN where it says nothing."""
    order = np.argsort(starts)
    ordered = starts[order]
    place = np.searchsorted(ordered, activity.place, "right") - 1
    inside = (place >= 0) & np.isfinite(activity.value) & (activity.place < ordered[np.maximum(place, 0)] + SLICE_S)
    sums = np.bincount(place[inside], activity.value[inside], len(starts))
    counts = np.bincount(place[inside], minlength=len(starts))
    value = np.full(len(starts), np.nan)
    value[order] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return value


def _held(starts: Floats, ends: Floats, ranges: Sequence[Range]) -> Bools:
    """Which stretches lie in one of the ranges from end to end."""
    held = np.zeros(len(starts), bool)
    for lo, hi in ranges:
        held |= (starts >= lo) & (ends <= hi)
    return held


def _touching(starts: Floats, ends: Floats, ranges: Sequence[Range]) -> Bools:
    touching = np.zeros(len(starts), bool)
    for lo, hi in ranges:
        touching |= (ends > lo) & (starts < hi)
    return touching


def _ranges(starts: Floats) -> list[Range]:
    return union([(float(start), float(start) + SLICE_S) for start in starts], touching_s=1e-3)
