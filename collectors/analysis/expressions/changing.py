"""Functions of neighbouring points and of places: differences, rates, moves along the axis, exponential averages (pure)."""

from __future__ import annotations

import numpy as np

from ...store.question import check
from ..stacks.traces import Floats
from .functions import RISE
from .tracks import Track, single

BETWEEN = "differences are taken between the ends of buckets: a shorter change shows as its mean"
SMOOTHED = "the average is taken over the means of buckets, at their ends"
REACH = 64.0  # half-lives: older points weigh less than a bit of a float64


def change(track: Track, function: str) -> Track:
    """`delta`, `slope`, `increase` and `rate`: from the point before, of the last value of each place; NaN at the first.

    A counter that falls was reset: its increase is the new value, and in a bucket also what it rose before.
    """
    last, high = track.value.last, track.value.high
    found = np.full(len(last), np.nan)
    with np.errstate(all="ignore"):
        found[1:] = last[1:] - last[:-1]
        if function in ("increase", "rate"):
            before = (
                0.0 if track.value.single else np.where(high[1:] > last[1:], np.fmax(high[1:] - last[:-1], 0.0), 0.0)
            )
            reset = (last[1:] < last[:-1]) if track.value.single else (track.value.low[1:] < last[:-1])
            found[1:] = np.where(reset, last[1:] + before, found[1:])
        if function in ("slope", "rate", RISE):
            found[1:] /= track.end[1:] - track.end[:-1]
        if function == RISE:
            found[found < 0] = np.nan
    ended = _ended(track, found, BETWEEN)
    return ended._replace(
        count=np.minimum(ended.count, 1)
    )  # of a bucket it is one difference, however many points it has


def shift(track: Track, width: float) -> Track:
    """Each value stands that much later."""
    start = track.start + width
    return track._replace(start=start, end=start if track.instants else track.end + width)


def ema(track: Track, half_life: float) -> Track:
    """The weighted mean of all values so far, with weights `0.5 ** (age / half_life)`: debiased, as pandas' `ewm(halflife=, times=)`."""
    value = track.value.last if track.instants else track.value.mean
    finite = np.isfinite(value)
    if not finite.any():
        return _ended(track, np.full(len(value), np.nan), SMOOTHED)
    base = value[np.argmax(finite)]  # a constant stays exactly that constant
    count = np.ones(len(value), np.int64) if track.instants else track.count
    weight = np.where(finite, count, 0).astype(np.float64)
    with np.errstate(all="ignore"):
        decay = np.append(0.0, 0.5 ** (np.diff(track.end) / half_life))
        sums = _decayed(decay, np.where(finite, (value - base) * weight, 0.0))
        found = base + sums / _decayed(decay, weight)
    return _ended(track, found, SMOOTHED)


def _ended(track: Track, value: Floats, reason: str) -> Track:
    """Values that stand at the end of each bucket."""
    return track._replace(value=single(value), reason=track.reason or ("" if track.points else reason))


def _decayed(decay: Floats, added: Floats) -> Floats:
    """`y[i] = decay[i] * y[i - 1] + added[i]`, in log(n) passes over the columns."""
    decay, found, size = decay.copy(), added.copy(), 1
    while size < len(found):
        check()
        found[size:] += decay[size:] * found[:-size]
        decay[size:] = decay[size:] * decay[:-size]
        size *= 2
    return found
