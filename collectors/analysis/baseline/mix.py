"""What a run without steps usually does: the seconds in which its main threads spend their time alike, and most often so."""

from __future__ import annotations

import numpy as np

from ..stacks.traces import Bools, Floats, Ints, Traces, overlaps

SLICE_S = 1.0
ALIKE = 0.15  # of the time may be spent otherwise
SETTLED = 0.1  # so little differs between one stretch and the next, in the median
LENGTHS = (1, 2, 4, 8, 16)  # slices that are looked at together
FUNCTIONS = 40  # those with most time; all others count as one
CENTRES = 100
WHOLE = 0.5  # of a slice, recorded


def period_s(mains: Traces) -> float:
    """How long what main threads repeat takes; 0 for under a second."""
    if not len(mains.start_s):
        return 0.0
    length = _length(_shares(mains, np.arange(mains.start_s.min(), mains.end_s.max(), SLICE_S)))
    return 0.0 if length == 1 else length * SLICE_S


def usual(mains: Traces, starts: Floats) -> Bools:
    """In which slices, 1 s from each of `starts`, main threads do what they do in most others.

    A program that alternates between two parts is looked at in stretches long enough to hold both.
    """
    order = np.argsort(starts)
    share = _shares(mains, starts[order])
    known = np.isfinite(share[:, 0])
    smooth = _rolling(share, _length(share))
    centres = np.flatnonzero(known)[:: max(1, int(known.sum()) // CENTRES)]
    usual = np.zeros(len(starts), bool)
    if len(centres):
        away = np.array([_apart(smooth, smooth[centre]) for centre in centres])
        usual[order] = known & (away[int((away[:, known] <= ALIKE).sum(axis=1).argmax())] <= ALIKE)
    return usual


def _shares(mains: Traces, starts: Floats) -> Floats:
    """`[slice, function]`: shares of what was recorded; NaN where little was."""
    function = _functions(mains)
    span, place = overlaps(mains.start_s, mains.end_s, starts, starts + SLICE_S)
    inside_s = np.minimum(mains.end_s[span], starts[place] + SLICE_S) - np.maximum(mains.start_s[span], starts[place])
    sums = np.bincount(place * FUNCTIONS + function[span], inside_s * mains.weight[span], len(starts) * FUNCTIONS)
    seconds = sums.astype(np.float64).reshape(len(starts), FUNCTIONS)
    total_s = seconds.sum(axis=1, keepdims=True)
    share: Floats = np.where(total_s >= WHOLE * SLICE_S, seconds / np.maximum(total_s, 1e-9), np.nan)
    return share


def _functions(traces: Traces) -> Ints:
    """The function of each span, its stack's last frame's: from 1 on for those with most time, 0 for all others."""
    numbers: dict[tuple[str, str], int] = {}
    leaf = [numbers.setdefault(traces.frames[stack[-1]][:2] if stack else ("", ""), len(numbers)) for stack in traces.stacks]
    function = np.array(leaf, np.int64)[traces.stack] if leaf else np.zeros(0, np.int64)
    seconds = np.bincount(function, traces.seconds, len(numbers))
    rank = np.zeros(len(numbers), np.int64)
    largest = np.argsort(-seconds)[: FUNCTIONS - 1]
    rank[largest] = np.arange(1, len(largest) + 1)
    return rank[function]


def _apart(share: Floats, other: Floats) -> Floats:
    """How much of the time is spent otherwise, 0 to 1."""
    apart: Floats = 0.5 * np.abs(share - other).sum(axis=-1)
    return apart


def _length(share: Floats) -> int:
    """The shortest stretch that is much like the next one."""
    return next((some for some in LENGTHS if _unrest(share, some) <= SETTLED), LENGTHS[-1])


def _unrest(share: Floats, length: int) -> float:
    """How much a stretch of so many slices differs from the next one, in the median."""
    count = len(share) // length
    blocks = share[: count * length].reshape(count, length, -1).mean(axis=1)
    differences = _apart(blocks[1:], blocks[:-1])
    differences = differences[np.isfinite(differences)]
    return float(np.median(differences)) if len(differences) else np.inf


def _rolling(share: Floats, length: int) -> Floats:
    """Means over so many slices around each, as far as they are known."""
    if length == 1:
        return share
    known = np.isfinite(share)
    window = np.ones(length)
    sums = np.apply_along_axis(np.convolve, 0, np.where(known, share, 0.0), window, "same")[: len(share)]
    counts = np.apply_along_axis(np.convolve, 0, known.astype(float), window, "same")[: len(share)]
    return np.where(counts > 0, sums / np.maximum(counts, 1e-9), np.nan)
