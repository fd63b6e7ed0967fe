"""What the GPUs did in a window and in its normal: were they idle, or slow? And when they were as busy as usual."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ... import catalog
from ...store.protocol import Series, Store
from ..baseline.normal import Activity
from ..baseline.steplog import EACH_POINT, GPU_PHASE, StepLog, values_of
from ..stacks.traces import Range
from .verdict import GpuLook

BUSY = "gpu/utilization_pct"
SIGNALS = {"gpu/sm_active_pct": "SM active", "gpu/power_w": "power", BUSY: "busy"}  # the first that is there
LEAST_BUSY_PCT = 20.0  # GPUs that are less busy than this are not what a run is about
AT_WORK = 0.5  # of what the busiest one shows, on the average over normal
CLOCK, REASONS = "gpu/sm_clock_mhz", "gpu/clock_event_reasons"


def look(store: Store, run: str, window: Range, normal: Sequence[Range], log: StepLog) -> GpuLook | None:
    """None where there is no GPU, or nothing was read of it in one of the two. A GPU that idles in normal says nothing while others do not."""
    known = values_of(store, None, [*SIGNALS], [window], normal)
    signal = next((name for name in SIGNALS if name in known and len(known[name][0]) and len(known[name][1])), None)
    if signal is None:
        return None
    found = values_of(
        store, None, [signal, CLOCK, REASONS], [window], normal, only=_of_cards(store, _at_work(store, signal, normal))
    )
    here, there = (float(np.mean(values)) for values in found[signal])
    clock = tuple(float(np.mean(values)) for values in found.get(CLOCK, ()) if len(values))
    told = np.bitwise_or.reduce(found[REASONS][0].astype(np.int64)) if REASONS in found and len(found[REASONS][0]) else 0
    return GpuLook(
        signal=SIGNALS[signal],
        busy_pct=(here, there) if signal != "gpu/power_w" else (100 * here / max(there, 1.0), 100.0),
        clock_mhz=(clock[0], clock[1]) if len(clock) == 2 else None,
        reasons=catalog.reasons_of(int(told)),
        kernels_s=_kernels(store, run, window, normal, log),
    )


def activity(store: Store, around: Range) -> Activity | None:
    """How busy the GPUs at work are, 1 for 100 %; None where they idle, or there is none."""
    cards = _at_work(store, BUSY, [around])
    series = [one.id for one in store.series(None) if one.name == BUSY and dict(one.labels).get("uuid") in cards]
    points = [*store.range(series, *around, buckets=EACH_POINT).values()] if series else []
    time_s, busy_pct = (np.concatenate([getattr(one, name) for one in points] or [np.zeros(0)]) for name in ("t", "last"))
    if not np.isfinite(busy_pct).any() or np.nanmean(busy_pct) < LEAST_BUSY_PCT:
        return None
    return Activity(time_s, busy_pct / 100, np.ones(len(time_s)))


def _at_work(store: Store, signal: str, normal: Sequence[Range]) -> set[str]:
    """The GPUs that the signal shows at work in normal; all of them where it shows none. Idle is far below the busiest one."""
    cards = {dict(one.labels).get("uuid", ""): one for one in store.series(None) if one.name == signal}
    values = {
        card: values_of(store, None, [signal], normal, only=[one]).get(signal, [np.zeros(0)])[0] for card, one in cards.items()
    }
    means = {card: float(np.mean(one)) for card, one in values.items() if len(one)}
    return {card for card, mean in means.items() if mean >= AT_WORK * max(means.values())}


def _of_cards(store: Store, cards: Collection[str]) -> list[Series]:
    return [one for one in store.series(None) if dict(one.labels).get("uuid") in cards]


def _kernels(store: Store, run: str, window: Range, normal: Sequence[Range], log: StepLog) -> tuple[float, float] | None:
    """Seconds of GPU work a unit, as the run logs it: all its GPU phases together."""
    if log.units is None:
        return None
    found = values_of(store, run, [f"{GPU_PHASE}*"], [window], normal)
    sums = [[float(np.mean(values)) for values in one if len(values)] for one in found.values()]
    both = [one for one in sums if len(one) == 2]
    return (sum(one[0] for one in both), sum(one[1] for one in both)) if both else None
