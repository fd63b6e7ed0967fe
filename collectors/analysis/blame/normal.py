"""Which stretches of a run are its normal: the steady ones before a window, which every number of that window stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..stacks.traces import EVER, Bools, Floats, Range, overlaps, union
from .units import Units

SLICE_S = 1.0
COVERED = 0.9  # of a slice, by units
BEFORE_S = 1800.0  # how far from the window normal may lie
FIRST_UNITS = 50  # a run's beginning is not its normal
SLOWEST = 1.5  # times the 25th percentile over steps
SLACK = 0.15  # without steps: how far from the better quartile a slice's activity may lie
ENOUGH_S = 60.0  # the nearest so many seconds are taken; more for long windows
WINDOWS = 25  # ... so many of the window's own lengths, for less than 20 say little about chance
AFTER_BELOW_S = 10.0  # where there is less before the window, what follows it is taken as well
LEAST_S = 3.0


class Activity(NamedTuple):
    """How well a run got on, by a signal that is no step: 1 is busy, 0 is idle or waiting."""

    time_s: Floats
    value: Floats
    weight: Floats


def normal(
    window: Range,
    units: Units | None,
    *,
    activity: Activity | None = None,
    left_out: Sequence[Range] = (),
    recorded: Sequence[Range] = EVER,
    windows: int = WINDOWS,
) -> list[Range]:
    """Ranges in order; [] where there are less than 3 s, and nothing to compare with.

    `left_out` is what is no steady state by its nature: the first steps, checkpoints, validations. `windows` is how many of the
    window's own lengths are taken, if there are so many.
    """
    lo, hi = window
    before = lo - SLICE_S * np.arange(1, BEFORE_S / SLICE_S + 1)
    after = hi + SLICE_S * np.arange(BEFORE_S / SLICE_S)
    starts = np.r_[before, after]
    good = _steady(starts, units, activity) & _inside(starts, recorded) & ~_touching(starts, left_out)
    enough = max(ENOUGH_S, windows * (hi - lo))
    earlier = before[good[: len(before)]][: int(np.ceil(enough / SLICE_S))]
    if len(earlier) * SLICE_S >= AFTER_BELOW_S:
        return _ranges(earlier)
    later = after[good[len(before) :]][: int(np.ceil(enough / SLICE_S)) - len(earlier)]
    chosen = np.r_[earlier, later]
    return _ranges(chosen) if len(chosen) * SLICE_S >= LEAST_S else []


def unsteady_by_nature(units: Units | None, first: bool, events: Sequence[Range], window: Range) -> list[Range]:
    """The first steps of a run, where `first` says that these units are its first, checkpoints and validations; not what fills the window itself."""
    found = list(events)
    if units is not None and first and len(units.end_s):
        last = int(np.searchsorted(np.cumsum(units.units), FIRST_UNITS))
        found.append((float(units.start_s[0]) - BEFORE_S, float(units.end_s[min(last, len(units.end_s) - 1)])))
    return [one for one in union(found) if min(one[1], window[1]) - max(one[0], window[0]) < 0.5 * (window[1] - window[0])]


def _steady(starts: Floats, units: Units | None, activity: Activity | None) -> Bools:
    if units is not None and len(units.end_s):
        median_s, mean_s = _by_slice(starts, units)
        usual_s = float(np.percentile(mean_s[np.isfinite(mean_s)], 25)) if np.isfinite(mean_s).any() else np.inf
        steady: Bools = (median_s <= SLOWEST * _quartile(units)) & (mean_s <= SLOWEST * usual_s)
        return steady
    if activity is not None and len(activity.time_s):
        value = _means(starts, activity)
        close: Bools = value >= np.percentile(value[np.isfinite(value)] if np.isfinite(value).any() else [np.inf], 75) - SLACK
        return close
    return np.zeros(len(starts), bool)


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


def _quartile(units: Units) -> float:
    """The 25th percentile over all units, of how long one takes."""
    order = np.argsort(units.seconds)
    reached = np.cumsum(units.units[order])
    return float(units.seconds[order][np.searchsorted(reached, 0.25 * reached[-1])])


def _means(starts: Floats, activity: Activity) -> Floats:
    """The mean of the signal over each slice; NaN where it says nothing."""
    order = np.argsort(starts)
    ordered = starts[order]
    place = np.searchsorted(ordered, activity.time_s, "right") - 1
    inside = (place >= 0) & np.isfinite(activity.value) & (activity.time_s < ordered[np.maximum(place, 0)] + SLICE_S)
    weight = activity.weight[inside]
    sums = np.bincount(place[inside], activity.value[inside] * weight, len(starts))
    weights = np.bincount(place[inside], weight, len(starts))
    value = np.full(len(starts), np.nan)
    value[order] = np.where(weights > 0, sums / np.maximum(weights, 1e-9), np.nan)
    return value


def _inside(starts: Floats, recorded: Sequence[Range]) -> Bools:
    """Which slices were recorded from end to end."""
    inside = np.zeros(len(starts), bool)
    for lo, hi in recorded:
        inside |= (starts >= lo) & (starts + SLICE_S <= hi)
    return inside


def _touching(starts: Floats, ranges: Sequence[Range]) -> Bools:
    touching = np.zeros(len(starts), bool)
    for lo, hi in ranges:
        touching |= (starts + SLICE_S > lo) & (starts < hi)
    return touching


def _ranges(starts: Floats) -> list[Range]:
    return union([(float(start), float(start) + SLICE_S) for start in starts], touching_s=1e-3)
