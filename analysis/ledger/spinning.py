"""When a card counts as busy and only waits: a collective's kernel polls until every rank has come.

NVML reports such a card as 100% busy. It draws little more than at rest, few of its multiprocessors work, and no step ends meanwhile; all
of that together is what is called spinning here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats
from collectors.store.store import RawPoints, Series

from ..history import History
from ..stacks.spans import Interval
from .device import card_of

FULL = 0.9  # busy
OF_LIMIT = 0.25  # of the way from rest to the power limit: a waiting collective takes about a tenth (assumed; no card was measured)
OF_WORK = 0.6  # of the way from rest to what the card draws while steps end
AT_REST = 0.4  # of the limit: a card that draws more has never been seen at rest
USUAL_REST = 0.15  # of the limit, where it was not
FEW, NO_TENSOR = 0.4, 0.05  # multiprocessors and tensor cores at work
LATE, LATE_S = 2.0, 5.0  # times the usual step, and seconds, without the end of one
HOLE_S, MIN_S = 1.5, 5.0
SETTLED_S = 2.0  # power is a mean over the last second on newer cards
REST_S, REST_LOOKS = 600.0, 5  # how long before and after a run's beginning a card at rest is looked for
WORKS_S, AFTER_S = (
    120.0,
    60.0,
)  # before the last step what it draws at work is read; a next step after the window is looked for
STEPS_BEFORE = 3  # whose distance is the usual one
MOMENTS = 1000  # of a window, at which a pause is looked for before anything of the card is read
HELD_S = 2.0  # a value that is older says nothing

POWER, LIMIT, FILLED, TENSOR = "gpu/power_w", "gpu/power_limit_w", "gpu/sm_active_pct", "gpu/tensor_active_pct"


class CardSignals(NamedTuple):
    """Of one card, all at the moments `time_s`, in order; NaN where something is not known. Shares are of 1."""

    time_s: Floats
    busy: Floats
    power_w: Floats
    filled: Floats  # multiprocessors at work
    tensor: Floats
    limit_w: float = np.nan
    rest_w: float = np.nan  # what it draws at rest, where that is known from elsewhere


class SpinningStretch(NamedTuple):
    start_s: float
    end_s: float
    busy: float  # share of 1
    power_w: float  # NaN where the card does not say, as for its limit
    limit_w: float


def spinning(card: CardSignals, step_ends_s: Floats, until_s: float) -> list[SpinningStretch]:
    """`step_ends_s`: when steps ended, in order, from some steps before the first moment on; `until_s`: up to when they are known."""
    if len(card.time_s) < 2 or len(step_ends_s) < STEPS_BEFORE:
        return []
    late = _without_steps(card.time_s, step_ends_s, until_s)
    if not late.any():
        return []
    low = late & (card.busy >= FULL) & _draws_little(card, late) & _few_work(card)
    return [_stretch(card, lo, hi) for lo, hi in _runs(card.time_s, low)]


def _without_steps(time_s: Floats, ends_s: Floats, until_s: float) -> Bools:
    """Moments of a pause between two steps, or since the last, that is far longer than usual: behind its first usual step."""
    usual_s = float(np.median(np.diff(ends_s)))
    bounds = np.r_[ends_s, max(until_s, ends_s[-1])]
    at = np.searchsorted(ends_s, time_s, "right")
    known = at > 0
    before, after = ends_s[np.maximum(at - 1, 0)], bounds[np.minimum(at, len(bounds) - 1)]
    is_late: Bools = known & (after - before > max(LATE * usual_s, usual_s + LATE_S)) & (time_s <= until_s)
    return is_late


def _draws_little(card: CardSignals, late: Bools) -> Bools:
    """True as well where the card does not tell its power, but what of it is at work."""
    known = np.isfinite(card.power_w)
    if not known.any():
        return np.isfinite(card.filled)
    rest_w = _rest_w(card)
    at_work = known & ~late & (card.busy >= FULL / 2)
    work_w = float(np.median(card.power_w[at_work])) if at_work.any() else np.nan
    most_w = np.nanmin([rest_w + OF_LIMIT * (card.limit_w - rest_w), rest_w + OF_WORK * (work_w - rest_w), np.inf])
    return known & (card.power_w <= most_w) if np.isfinite(most_w) else np.zeros(len(known), bool)


def _rest_w(card: CardSignals) -> float:
    """From moments that were idle for a while; the least that was seen where there are none."""
    if np.isfinite(card.rest_w):
        return card.rest_w
    found = rest_of(card.time_s, card.busy, card.power_w)
    if np.isfinite(found):
        return found
    least_w = float(np.nanmin(card.power_w))
    if np.isfinite(card.limit_w) and least_w > AT_REST * card.limit_w:
        return USUAL_REST * card.limit_w
    return least_w


def rest_of(time_s: Floats, busy: Floats, power_w: Floats) -> float:
    """Watts while nothing ran; NaN where that was never seen for long enough.

    The higher end of them: a card draws more at rest once a process holds a context, several times as much on some.
    """
    idle = (busy <= 0) & np.isfinite(power_w)
    last_busy_s = np.maximum.accumulate(np.where(busy > 0, time_s, -np.inf))
    settled = idle & (time_s - last_busy_s > SETTLED_S)
    return float(np.quantile(power_w[settled], 0.9)) if settled.sum() >= REST_LOOKS else np.nan


def _few_work(card: CardSignals) -> Bools:
    """True where the card does not say what of it is at work."""
    few: Bools = ~(card.filled >= FEW) & ~(card.tensor >= NO_TENSOR)
    return few


def _runs(time_s: Floats, low: Bools) -> list[tuple[int, int]]:
    """Places of the first and the last moment of each stretch; short holes do not end one."""
    at = np.flatnonzero(low)
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(time_s[at]) > HOLE_S)
    firsts, lasts = at[np.r_[0, breaks + 1]], at[np.r_[breaks, len(at) - 1]]
    return [
        (lo, hi) for lo, hi in zip(firsts.tolist(), lasts.tolist(), strict=True) if time_s[hi] - time_s[lo] >= MIN_S
    ]


def _stretch(card: CardSignals, lo: int, hi: int) -> SpinningStretch:
    inside = slice(lo, hi + 1)
    power_w = card.power_w[inside]
    known = np.isfinite(power_w)
    return SpinningStretch(
        float(card.time_s[lo]),
        float(card.time_s[hi]),
        float(card.busy[inside].mean()),
        float(np.median(power_w[known])) if known.any() else np.nan,
        card.limit_w,
    )


# The same, of a card of this machine.


def spinning_of(
    history: History, busy: Series, window: Interval, rank: int, rest_w: float | None = None
) -> list[SpinningStretch]:
    """Of the card of a rank, within a window; `busy` is its utilization. `rest_w` is what `rest_of_run` found, where it was read already."""
    ends_s = np.array(history.step_ends(rank, (window[0], window[1] + AFTER_S), STEPS_BEFORE))
    until_s = max([window[1], *ends_s[-1:].tolist()])
    if len(ends_s) < STEPS_BEFORE or not _without_steps(np.linspace(*window, MOMENTS), ends_s, until_s).any():
        return []
    last = int(np.searchsorted(ends_s, window[0])) - 1
    stepped_s = float(ends_s[max(last, 0)])  # the pause may have begun long before the window
    known_w = rest_of_run(history, busy) if rest_w is None else rest_w
    works = (stepped_s - WORKS_S, min(stepped_s, window[0]))
    parts = [works, window] if works[1] < window[0] else [(min(works[0], window[0]), window[1])]
    card = _joined([_signals(history, busy, part, known_w) for part in parts])
    clipped = [
        (max(each.start_s, window[0]), min(each.end_s, window[1]), each) for each in spinning(card, ends_s, until_s)
    ]
    return [each._replace(start_s=lo, end_s=hi) for lo, hi, each in clipped if lo < hi]


def rest_of_run(history: History, busy: Series) -> float:
    """Watts that the card drew at rest around the beginning of the run, before whose first step it has little to do; NaN where it was never idle."""
    begun_s = min((row.first_time_s for row in history.series() if row.first_time_s is not None), default=None)
    if begun_s is None:
        return np.nan
    card = _signals(history, busy, (begun_s - REST_S, begun_s + REST_S), np.nan)
    return rest_of(card.time_s, card.busy, card.power_w)


def _signals(history: History, busy: Series, window: Interval, rest_w: float) -> CardSignals:
    """What the store has of the card whose utilization `busy` is."""
    mine = {row.name: row for row in history.machine_series() if card_of(row) == card_of(busy)}
    asked = [mine[name] for name in (POWER, LIMIT, FILLED, TENSOR) if name in mine]
    found = history.points([busy, *asked], window)
    time_s: Floats = found[busy.id].place
    share: Floats = found[busy.id].value / 100

    def held(name: str, factor: float = 1.0) -> Floats:
        return _newest(found[mine[name].id], time_s) * factor if name in mine else np.full(len(time_s), np.nan)

    limits = found[mine[LIMIT].id].value if LIMIT in mine else np.zeros(0)
    limits = limits[np.isfinite(limits)]
    limit_w = float(limits[-1]) if len(limits) else np.nan
    return CardSignals(time_s, share, held(POWER), held(FILLED, 0.01), held(TENSOR, 0.01), limit_w, rest_w)


def _joined(parts: Sequence[CardSignals]) -> CardSignals:
    """Of stretches that follow each other."""
    limits = [part.limit_w for part in parts if np.isfinite(part.limit_w)]
    time_s, busy, power_w, filled, tensor = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("time_s", "busy", "power_w", "filled", "tensor")
    )
    return CardSignals(time_s, busy, power_w, filled, tensor, limits[-1] if limits else np.nan, parts[-1].rest_w)


def _newest(points: RawPoints, moments: Floats) -> Floats:
    """The newest value at each moment; NaN where it is old."""
    known = np.isfinite(points.value)
    place, value = points.place[known], points.value[known]
    if not len(place):
        return np.full(len(moments), np.nan)
    at = np.clip(np.searchsorted(place, moments, "right") - 1, 0, len(place) - 1)
    found: Floats = np.where(np.abs(moments - place[at]) <= HELD_S, value[at], np.nan)
    return found
