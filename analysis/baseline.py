"""The baseline of a window: the steady stretch before it, chosen by how its steps or stacks are distributed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.store.store import RawPoints

from .stacks.spans import EVER, Interval, TrustedSpans, overlaps, union
from .stacks.threads import always_there, common_ratio, parts_of
from .units import Units

# What a run without steps usually does: the seconds in which its main threads spend their time alike, and most often so.
#
# If most of that work is done faster in other stretches, those are the usual ones: a slow part leaves less of each second for all others.

ALIKE = 0.15  # of the time may be spent otherwise
SETTLED = 0.07  # so little differs between one stretch and the next, in the median, beside what chance makes
LENGTHS = (1, 2, 4, 8, 16)  # slices that are looked at together
PARTS = 16  # those with most time; all others count as one
CENTRES = 100
WHOLE = 0.5  # of a slice, recorded
SAMPLES = 100.0  # of a slice
MIN_SLICES = 8  # of stretches that are alike, to be compared with the largest such set
SETS = 6
FASTER = 1.15  # times as much of the work in a second


def period_s(mains: TrustedSpans) -> float:
    """How long what main threads repeat takes; 0 for under a second."""
    if not len(mains.start_s):
        return 0.0
    length = _length(_shares(mains, np.arange(mains.start_s.min(), mains.end_s.max(), SLICE_S)))
    return 0.0 if length == 1 else length * SLICE_S


def usual(mains: TrustedSpans, starts: Floats) -> Bools:
    """In which slices, 1 s from each of `starts`, main threads do what they usually do.

    A program that alternates between two parts is looked at in stretches long enough to hold both.
    """
    order = np.argsort(starts)
    share = _shares(mains, starts[order])
    usual = np.zeros(len(starts), bool)
    usual[order] = _fastest(share, _alike(_rolling(share, _length(share)), np.isfinite(share[:, 0])))
    return usual


def _alike(smooth: Floats, known: Bools) -> list[Bools]:
    """Sets of slices that are alike, the largest first, each without those before it."""
    found: list[Bools] = []
    left = known.copy()
    while len(found) < SETS and left.any():
        centres = np.flatnonzero(left)[:: max(1, int(left.sum()) // CENTRES)]
        near = np.array([(_apart(smooth, smooth[centre]) <= ALIKE) & left for centre in centres])
        largest = near[int(near.sum(axis=1).argmax())]
        if found and largest.sum() < MIN_SLICES:
            break
        found.append(largest)
        left &= ~largest
    return found


def _fastest(share: Floats, sets: list[Bools]) -> Bools:
    """The first set, unless another one does most of the same work faster, whichever of the two one starts from."""
    if not sets:
        return np.zeros(len(share), bool)
    means = [share[some].mean(axis=0) for some in sets]
    best = 0
    for other in range(1, len(sets)):
        there, here = common_ratio(means[other], means[best]), common_ratio(means[best], means[other])
        if there is not None and here is not None and there >= FASTER and here <= 1 / FASTER:
            best = other
    return sets[best]


def _shares(mains: TrustedSpans, starts: Floats) -> Floats:
    """`[slice, part]`: shares of what was recorded; NaN where little was."""
    part = _parts(mains)
    span, place = overlaps(mains.start_s, mains.end_s, starts, starts + SLICE_S)
    inside_s = np.minimum(mains.end_s[span], starts[place] + SLICE_S) - np.maximum(mains.start_s[span], starts[place])
    sums = np.bincount(place * PARTS + part[span], inside_s * mains.weight[span], len(starts) * PARTS)
    seconds = sums.astype(np.float64).reshape(len(starts), PARTS)
    total_s = seconds.sum(axis=1, keepdims=True)
    share: Floats = np.where(total_s >= WHOLE * SLICE_S, seconds / np.maximum(total_s, 1e-9), np.nan)
    return share


def _parts(spans: TrustedSpans) -> Ints:
    """The part of the program that each span is in: from 1 on for those with most time, 0 for all others."""
    (of_stack,) = parts_of([spans], "", always_there(spans))
    part = of_stack[spans.stack] if len(of_stack) else np.zeros(0, np.int64)
    seconds = np.bincount(part, spans.seconds)
    rank = np.zeros(len(seconds), np.int64)
    largest = np.argsort(-seconds)[: PARTS - 1]
    rank[largest] = np.arange(1, len(largest) + 1)
    return rank[part] if len(part) else part


def _apart(share: Floats, other: Floats) -> Floats:
    """How much of the time is spent otherwise, 0 to 1."""
    apart: Floats = 0.5 * np.abs(share - other).sum(axis=-1)
    return apart


def _length(share: Floats) -> int:
    """The shortest stretch that is much like the next one."""
    return next((some for some in LENGTHS if _unrest(share, some) <= SETTLED), LENGTHS[-1])


def _unrest(share: Floats, length: int) -> float:
    """How much a stretch of so many slices differs from the next one, in the median, beyond what counting samples makes."""
    count = len(share) // length
    blocks = share[: count * length].reshape(count, length, -1).mean(axis=1)
    differences = _apart(blocks[1:], blocks[:-1])
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return np.inf
    mean = blocks[np.isfinite(blocks[:, 0])].mean(axis=0)
    by_chance = float(
        np.sqrt(mean * (1 - mean) / (np.pi * SAMPLES * length)).sum()
    )  # of a mean absolute difference of two counts
    return float(np.median(differences)) - by_chance


def _rolling(share: Floats, length: int) -> Floats:
    """Means over so many slices around each, as far as they are known."""
    if length == 1:
        return share
    known = np.isfinite(share)
    window = np.ones(length)
    sums = np.apply_along_axis(np.convolve, 0, np.where(known, share, 0.0), window, "same")[: len(share)]
    counts = np.apply_along_axis(np.convolve, 0, known.astype(float), window, "same")[: len(share)]
    return np.where(counts > 0, sums / np.maximum(counts, 1e-9), np.nan)


# Which stretches of a run are its baseline: the steady ones before a window, which every number of that window stands beside.

SLICE_S = 1.0
COVERED = 0.9  # of a slice, by units
BEFORE_S = 1800.0  # how far from the window the baseline may lie
FIRST_UNITS, FIRST_S = (
    50,
    120.0,
)  # a run's beginning is not its baseline: so many units, and no more than so many seconds
FEW_UNITS = 8.0  # a window of fewer is compared in whole units: what a part of one does says little of the others
MIN_UNITS = 5.0  # whole units that are looked for
SLOWEST, SLOWEST_MEAN = 1.5, 1.25  # times the 25th percentile over steps: the median of a second, and its mean
SLACK = 0.15  # without steps: how far from the better quartile a slice's activity may lie
ENOUGH_S = 60.0  # the nearest so many seconds are taken; more for long windows
WINDOWS = 25  # ... so many of the window's own lengths, for less than 20 say little about chance
AFTER_BELOW_S = 10.0  # where there is less before the window, what follows it is taken as well
MIN_S = 3.0
MANY = 2.0  # units a line


def baseline_of(
    window: Interval,
    units: Units | None,
    *,
    activity: RawPoints | None = None,
    mains: TrustedSpans | None = None,
    left_out: Sequence[Interval] = (),
    recorded: Sequence[Interval] = EVER,
    windows: int = WINDOWS,
) -> list[Interval]:
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
    return _ranges(chosen) if len(chosen) * SLICE_S >= MIN_S else []


def is_part(window: Interval, units: Units) -> bool:
    """Whether a window is so short that it holds some parts of a unit more often than others."""
    return window[1] - window[0] < FEW_UNITS * units.usual_s() < np.inf


def _whole_units(
    window: Interval, units: Units, left_out: Sequence[Interval], recorded: Sequence[Interval], windows: int = WINDOWS
) -> list[Interval]:
    """The nearest steady units, each from end to end: those before the window, and those after it where there are few."""
    starts, ends = units.start_s, units.end_s
    good = (
        (units.seconds <= SLOWEST * units.usual_s())
        & _held(starts, ends, recorded)
        & ~_touching(starts, ends, left_out)
    )
    before, after = np.flatnonzero(good & (ends <= window[0]))[::-1], np.flatnonzero(good & (starts >= window[1]))
    enough_s = max(ENOUGH_S, windows * (window[1] - window[0]) / FEW_UNITS, MIN_UNITS * units.usual_s())
    chosen = _nearest(before, ends - starts, enough_s)
    if not len(chosen) or (ends - starts)[chosen].sum() < max(AFTER_BELOW_S, (MIN_UNITS - 1) * units.usual_s()):
        chosen = np.r_[chosen, _nearest(after, ends - starts, enough_s - float((ends - starts)[chosen].sum()))]
    found = union(list(zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True)), touching_s=1e-3)
    return found if sum(hi - lo for lo, hi in found) >= MIN_S else []


def _nearest(places: Ints, seconds: Floats, enough_s: float) -> Ints:
    """So many from the first on that they add up to enough."""
    return places[: int(np.searchsorted(np.cumsum(seconds[places]), enough_s)) + 1] if enough_s > 0 else places[:0]


def unsteady_by_nature(
    units: Units | None,
    first: bool,
    events: Sequence[Interval],
    window: Interval,
    compilations: Sequence[Interval] = (),
) -> list[Interval]:
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


def _steady(starts: Floats, units: Units | None, activity: RawPoints | None, mains: TrustedSpans | None) -> Bools:
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


def _held(starts: Floats, ends: Floats, ranges: Sequence[Interval]) -> Bools:
    """Which stretches lie in one of the ranges from end to end."""
    held = np.zeros(len(starts), bool)
    for lo, hi in ranges:
        held |= (starts >= lo) & (ends <= hi)
    return held


def _touching(starts: Floats, ends: Floats, ranges: Sequence[Interval]) -> Bools:
    touching = np.zeros(len(starts), bool)
    for lo, hi in ranges:
        touching |= (ends > lo) & (starts < hi)
    return touching


def _ranges(starts: Floats) -> list[Interval]:
    return union([(float(start), float(start) + SLICE_S) for start in starts], touching_s=1e-3)


# The stretch of a run in which its steps lost the most time, for a look at a run of which no window was chosen.

MIN_LOST_S = 0.5  # less is no stretch that a report is about
MIN_LOST = 0.005  # of all steps' time


def slowest_stretch(units: Units, left_out: Sequence[Interval] = ()) -> Interval | None:
    """The units in a row whose seconds beyond 1.5 times the usual add up to most; None where steps are steady.

    `left_out` is what is slow by its nature: the first steps, checkpoints, validations. A stretch does not reach over it.
    """
    if not len(units.end_s):
        return None
    seconds = units.end_s - units.start_s
    lost_s = seconds - SLOWEST * units.usual_s() * units.units
    never = 1.0 + float(np.clip(lost_s, 0, None).sum())
    for lo, hi in left_out:
        lost_s[(units.end_s > lo) & (units.start_s < hi)] = -never
    gap_s = np.r_[0.0, units.start_s[1:] - units.end_s[:-1]]
    ends = np.cumsum(lost_s) - np.cumsum(np.where(gap_s > 0, never, 0.0))  # it does not reach over a restart either
    starts = np.r_[0.0, np.cumsum(lost_s)[:-1]] - np.cumsum(np.where(gap_s > 0, never, 0.0))
    least = np.minimum.accumulate(starts)
    last = int(np.argmax(ends - least))
    if float(ends[last] - least[last]) < max(MIN_LOST_S, MIN_LOST * float(seconds.sum())):
        return None
    first = int(np.flatnonzero(starts[: last + 1] == least[last])[-1])
    return float(units.start_s[first]), float(units.end_s[last])
