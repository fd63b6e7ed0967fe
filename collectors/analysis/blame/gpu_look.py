"""What the GPUs did in a window and in its baseline: were they idle, or slow? And when they were as busy as usual."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import catalog
from ...store.protocol import RawPoints, Series
from ..baseline.steplog import GPU_PHASE, StepLog
from ..history import History
from ..stacks.traces import Range
from .verdict import GpuLook

BUSY = "gpu/utilization_pct"
SIGNALS = {"gpu/sm_active_pct": "SM active", "gpu/power_w": "power", BUSY: "busy"}  # the first that is there
LEAST_BUSY_PCT = 20.0  # GPUs that are less busy than this are not what a run is about
AT_WORK = 0.5  # of what the busiest one shows, on the average over the baseline
CLOCK, REASONS = "gpu/sm_clock_mhz", "gpu/clock_event_reasons"


def look(history: History, window: Range, baseline: Sequence[Range], log: StepLog) -> GpuLook | None:
    """None where there is no GPU, or nothing was read of it in one of the two. A GPU that idles in the baseline says nothing while others do not."""
    machine = history.machine_series()
    known = history.values([series for series in machine if series.name in SIGNALS], [window], baseline)
    signal = next((name for name in SIGNALS if name in known and len(known[name][0]) and len(known[name][1])), None)
    if signal is None:
        return None
    cards = _at_work(history, machine, signal, baseline)
    chosen = [series for series in machine if series.name in (signal, CLOCK, REASONS) and _card(series) in cards]
    found = history.values(chosen, [window], baseline)
    here, there = (float(np.mean(values)) for values in found[signal])
    clock = tuple(float(np.mean(values)) for values in found.get(CLOCK, ()) if len(values))
    reasons = (
        np.bitwise_or.reduce(found[REASONS][0].astype(np.int64)) if REASONS in found and len(found[REASONS][0]) else 0
    )
    return GpuLook(
        signal=SIGNALS[signal],
        busy_pct=(here, there) if signal != "gpu/power_w" else (100 * here / max(there, 1.0), 100.0),
        clock_mhz=(clock[0], clock[1]) if len(clock) == 2 else None,
        reasons=catalog.reasons_of(int(reasons)),
        kernels_s=_kernels(history, window, baseline, log),
    )


def activity(history: History, around: Range) -> RawPoints | None:
    """How busy the GPUs at work are, 1 for 100 %; None where they idle, or there is none."""
    machine = history.machine_series()
    cards = _at_work(history, machine, BUSY, [around])
    points = [
        *history.points(
            [series for series in machine if series.name == BUSY and _card(series) in cards], around
        ).values()
    ]
    if not points:
        return None
    busy_pct = RawPoints._make(np.concatenate(columns) for columns in zip(*points, strict=True))
    if not np.isfinite(busy_pct.value).any() or np.nanmean(busy_pct.value) < LEAST_BUSY_PCT:
        return None
    return busy_pct._replace(value=busy_pct.value / 100)


def _at_work(history: History, machine: Sequence[Series], signal: str, baseline: Sequence[Range]) -> set[str]:
    """The GPUs that the signal shows at work in the baseline; all of them where it shows none. Idle is far below the busiest one."""
    cards = {_card(series) or "": series for series in machine if series.name == signal}
    values = {card: history.values([series], baseline)[signal][0] for card, series in cards.items()} if baseline else {}
    means = {card: float(np.mean(part)) for card, part in values.items() if len(part)}
    return {card for card, mean in means.items() if mean >= AT_WORK * max(means.values())}


def _card(series: Series) -> str | None:
    return dict(series.labels).get("uuid")


def _kernels(history: History, window: Range, baseline: Sequence[Range], log: StepLog) -> tuple[float, float] | None:
    """Seconds of GPU work a unit, as the run logs it: all its GPU phases together."""
    if log.units is None:
        return None
    found = history.values(
        [series for series in history.series() if series.name.startswith(GPU_PHASE)], [window], baseline
    )
    sums = [[float(np.mean(values)) for values in sides if len(values)] for sides in found.values()]
    both = [means for means in sums if len(means) == 2]
    return (sum(means[0] for means in both), sum(means[1] for means in both)) if both else None
