"""What a run without steps usually does: the seconds in which its main threads spend their time alike, and most often so.

If most of that work is done faster in other stretches, those are the usual ones: a slow part leaves less of each second for all others.
"""

from __future__ import annotations

import numpy as np

from ..stacks.parts import always_there, common_ratio, parts_of
from ..stacks.traces import Bools, Floats, Ints, Traces, overlaps

SLICE_S = 1.0
ALIKE = 0.15  # of the time may be spent otherwise
SETTLED = 0.07  # so little differs between one stretch and the next, in the median, beside what chance makes
LENGTHS = (1, 2, 4, 8, 16)  # slices that are looked at together
PARTS = 16  # those with most time; all others count as one
CENTRES = 100
WHOLE = 0.5  # of a slice, recorded
SAMPLES = 100.0  # of a slice
LEAST_SLICES = 8  # of stretches that are alike, to be compared with the largest such set
SETS = 6
FASTER = 1.15  # times as much of the work in a second


def period_s(mains: Traces) -> float:
    """How long what main threads repeat takes; 0 for under a second."""
    if not len(mains.start_s):
        return 0.0
    length = _length(_shares(mains, np.arange(mains.start_s.min(), mains.end_s.max(), SLICE_S)))
    return 0.0 if length == 1 else length * SLICE_S


def usual(mains: Traces, starts: Floats) -> Bools:
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
        if found and largest.sum() < LEAST_SLICES:
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


def _shares(mains: Traces, starts: Floats) -> Floats:
    """`[slice, part]`: shares of what was recorded; NaN where little was."""
    part = _parts(mains)
    span, place = overlaps(mains.start_s, mains.end_s, starts, starts + SLICE_S)
    inside_s = np.minimum(mains.end_s[span], starts[place] + SLICE_S) - np.maximum(mains.start_s[span], starts[place])
    sums = np.bincount(place * PARTS + part[span], inside_s * mains.weight[span], len(starts) * PARTS)
    seconds = sums.astype(np.float64).reshape(len(starts), PARTS)
    total_s = seconds.sum(axis=1, keepdims=True)
    share: Floats = np.where(total_s >= WHOLE * SLICE_S, seconds / np.maximum(total_s, 1e-9), np.nan)
    return share


def _parts(traces: Traces) -> Ints:
    """The part of the program that each span is in: from 1 on for those with most time, 0 for all others."""
    (of_stack,) = parts_of([traces], "", always_there(traces))
    part = of_stack[traces.stack] if len(of_stack) else np.zeros(0, np.int64)
    seconds = np.bincount(part, traces.seconds)
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
