"""When a card counts as busy and only waits: a collective's kernel polls until every rank has come.

NVML reports such a card as 100% busy. It draws little more than at rest, few of its multiprocessors work, and no step ends meanwhile; all
of that together is what is called spinning here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from collectors.arrays import Bools, Floats
from collectors.store.store import RawPoints, Series

from .history import History
from .stacks.spans import Interval

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
    if len(card.time_s) < 2 or len(step_ends_s) < 3:
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


def signals_of(history: History, busy: Series, window: Interval, rest_w: float = np.nan) -> CardSignals:
    """What the store has of the card whose utilization `busy` is."""
    mine = {row.name: row for row in history.machine_series() if _card(row) == _card(busy)}
    asked = [mine[name] for name in (POWER, LIMIT, FILLED, TENSOR) if name in mine]
    found = history.points([busy, *asked], window)
    time_s, share = found[busy.id].place, found[busy.id].value / 100

    def held(name: str, factor: float = 1.0, lasts_s: float = 2.0) -> Floats:
        return _held(found[mine[name].id], time_s, lasts_s) * factor if name in mine else np.full(len(time_s), np.nan)

    limits = found[mine[LIMIT].id].value if LIMIT in mine else np.zeros(0)
    limits = limits[np.isfinite(limits)]
    limit_w = float(limits[-1]) if len(limits) else np.nan
    return CardSignals(time_s, share, held(POWER), held(FILLED, 0.01), held(TENSOR, 0.01), limit_w, rest_w)


def rest_before(history: History, busy: Series, begun_s: float) -> float:
    """What the card drew at rest around the beginning of a run: before its first step a card has little to do. NaN where it was never idle."""
    card = signals_of(history, busy, (begun_s - REST_S, begun_s + REST_S))
    return rest_of(card.time_s, card.busy, card.power_w) if len(card.time_s) else np.nan


def spinning_of(history: History, busy: Series, window: Interval, rank: int = 0) -> list[SpinningStretch]:
    """Of the card of a rank, within a window."""
    ends_s, until_s = step_ends(history, window, rank)
    if len(ends_s) < 3 or not _without_steps(np.linspace(*window, 1000), ends_s, until_s).any():
        return []
    before = float(ends_s[0])
    card = signals_of(history, busy, (min(window[0], before), window[1]), rest_before(history, busy, before))
    found = spinning(card, ends_s, until_s)
    return [
        stretch._replace(start_s=max(stretch.start_s, window[0]), end_s=min(stretch.end_s, window[1]))
        for stretch in found
        if stretch.end_s > window[0] and stretch.start_s < window[1]
    ]


AROUND_S = 120.0
MOST_ENDS = 4  # series, by which steps are counted


def step_ends(history: History, window: Interval, rank: int) -> tuple[Floats, float]:
    """When steps of this rank were logged, of the lowest one that logs any where it does not; and up to when they would be known."""
    around = window[0] - AROUND_S, window[1] + AROUND_S
    stepped = [row for row in history.series() if row.last_step is not None and row.first_step != row.last_step]
    ranks = {int(dict(row.labels).get("rank", "0")) for row in stepped}
    chosen = rank if rank in ranks else min(ranks, default=0)
    mine = [row for row in stepped if int(dict(row.labels).get("rank", "0")) == chosen]
    longest = sorted(mine, key=lambda row: row.points)[-MOST_ENDS:]
    first_s: dict[float, float] = {}
    for points in history.points(longest, around).values():
        for step, time_s in zip(points.step.tolist(), points.place.tolist(), strict=True):
            if math.isfinite(step) and math.isfinite(time_s):
                first_s[step] = min(time_s, first_s.get(step, time_s))
    ends_s = np.sort(np.array([*first_s.values()], np.float64))
    return ends_s, max([window[1], *ends_s[-1:].tolist()])


def _card(row: Series) -> tuple[str | None, str | None]:
    labels = dict(row.labels)
    return labels.get("uuid"), labels.get("mig")


def _held(points: RawPoints, moments: Floats, lasts_s: float) -> Floats:
    """The newest value at each moment; NaN where it is older than usual."""
    known = np.isfinite(points.value)
    place, value = points.place[known], points.value[known]
    if not len(place):
        return np.full(len(moments), np.nan)
    at = np.clip(np.searchsorted(place, moments, "right") - 1, 0, len(place) - 1)
    found: Floats = np.where(np.abs(moments - place[at]) <= lasts_s, value[at], np.nan)
    return found
