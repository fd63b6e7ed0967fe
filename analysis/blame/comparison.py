"""A window beside its baseline: stacks, host, GPUs and neighbours of both, and the evidence they give."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from collectors import catalog
from collectors.catalog import HOST
from collectors.message import Message, phrase
from collectors.queue_events import CANCELLED, REQUEUED, SHARED, SHARES
from collectors.store.store import MAX_SPANS, RawPoints, Series, StackColumns, TooMuch

from .. import baseline as mix
from ..baseline import BEFORE_S, WINDOWS, baseline_of, is_part
from ..history import History
from ..stacks.spans import Interval, TrustedSpans
from ..stacks.threads import served
from ..stacks.trust import LineOf, no_source, trusted_spans
from ..stacks.wait_joins import at_work, is_waiting
from ..step_log import GPU_PHASE, StepLog
from .verdict import Case, ComparedNumber, GpuComparison, HostComparison, Side

# What the GPUs did in a window and in its baseline: were they idle, or slow? And when they were as busy as usual.

GPU_BUSY = "gpu/utilization_pct"
SIGNALS = {"gpu/sm_active_pct": "SM active", "gpu/power_w": "power", GPU_BUSY: "busy"}  # the first that is there
MIN_BUSY_PCT = 20.0  # GPUs that are less busy than this are not what a run is about
AT_WORK = 0.5  # of what the busiest one shows, on the average over the baseline
CLOCK, REASONS = "gpu/sm_clock_mhz", "gpu/clock_event_reasons"


def look_at_gpus(
    history: History, window: Interval, baseline: Sequence[Interval], log: StepLog
) -> GpuComparison | None:
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
    return GpuComparison(
        signal=SIGNALS[signal],
        busy_pct=(here, there) if signal != "gpu/power_w" else (100 * here / max(there, 1.0), 100.0),
        clock_mhz=(clock[0], clock[1]) if len(clock) == 2 else None,
        reasons=catalog.reasons_of(int(reasons)),
        kernels_s=_kernels(history, window, baseline, log),
    )


def gpu_activity(history: History, around: Interval) -> RawPoints | None:
    """How busy the GPUs at work are, 1 for 100%; None where they idle, or there is none."""
    machine = history.machine_series()
    cards = _at_work(history, machine, GPU_BUSY, [around])
    points = [
        *history.points(
            [series for series in machine if series.name == GPU_BUSY and _card(series) in cards], around
        ).values()
    ]
    if not points:
        return None
    busy_pct = RawPoints._make(np.concatenate(columns) for columns in zip(*points, strict=True))
    if not np.isfinite(busy_pct.value).any() or np.nanmean(busy_pct.value) < MIN_BUSY_PCT:
        return None
    return busy_pct._replace(value=busy_pct.value / 100)


def _at_work(history: History, machine: Sequence[Series], signal: str, baseline: Sequence[Interval]) -> set[str]:
    """The GPUs that the signal shows at work in the baseline; all of them where it shows none. Idle is far below the busiest one."""
    cards = {_card(series) or "": series for series in machine if series.name == signal}
    values = {card: history.values([series], baseline)[signal][0] for card, series in cards.items()} if baseline else {}
    means = {card: float(np.mean(part)) for card, part in values.items() if len(part)}
    return {card for card, mean in means.items() if mean >= AT_WORK * max(means.values())}


def _card(series: Series) -> str | None:
    return dict(series.labels).get("uuid")


def _kernels(
    history: History, window: Interval, baseline: Sequence[Interval], log: StepLog
) -> tuple[float, float] | None:
    """Seconds of GPU work a unit, as the run logs it: all its GPU phases together."""
    if log.units is None:
        return None
    found = history.values(
        [series for series in history.series() if series.name.startswith(GPU_PHASE)], [window], baseline
    )
    sums = [[float(np.mean(values)) for values in sides if len(values)] for sides in found.values()]
    both = [means for means in sums if len(means) == 2]
    return (sum(means[0] for means in both), sum(means[1] for means in both)) if both else None


WHOLE = 0.9  # of the wanted baseline: more need not be looked for
WITHOUT_UNITS_S = 600.0  # how far the baseline may lie where all stacks must be read to find it

AFFORDABLE = MAX_SPANS // 2


class WindowComparison(NamedTuple):
    columns: StackColumns  # of all processes, from the first of the ranges to the last
    asked: Interval
    window: Interval  # the same, or the whole units that a short one lies in
    baseline: list[Interval]  # [] where there is nothing to compare with
    log: StepLog
    period_s: float = 0.0  # without units: how long takes what repeats itself; 0 for under a second


def read(
    history: History, window: Interval, log: StepLog, baseline: Interval | None = None, windows: int = WINDOWS
) -> WindowComparison:
    """The window beside its run's baseline, or beside `baseline` where that is given.

    Reads first what would be enough if all of it was recorded. Where that is more than may be read at once, as with a hundred
    processes, the nearest of it is enough. Raises TooMuch where the window alone is more than that.
    """
    asked = window
    if baseline is not None:
        return WindowComparison(history.stacks(_hull([window, baseline])), asked, window, [baseline], log)
    paces = log.paces
    if paces is not None and is_part(window, paces):
        window = paces.whole(window)
    left_out = log.left_out(window)
    try:
        if paces is not None:
            wanted = baseline_of(asked, paces, left_out=left_out, windows=windows)
            columns = history.stacks(_hull([window, *wanted]))
            found = baseline_of(asked, paces, left_out=left_out, recorded=columns.covered, windows=windows)
            if _length(found) >= WHOLE * _length(wanted):
                return WindowComparison(columns, asked, window, found, log)
        around_s = BEFORE_S if paces is not None else WITHOUT_UNITS_S
        columns = history.stacks((window[0] - around_s, window[1] + around_s))
    except TooMuch:
        around_s = _affordable_s(history, window)
        columns = history.stacks((window[0] - around_s, window[1] + around_s))
    around = (window[0] - around_s, window[1] + around_s)
    activity = None if paces is not None else gpu_activity(history, around)
    mains = _mains(columns) if paces is None and activity is None else None
    found = baseline_of(
        asked, paces, activity=activity, mains=mains, left_out=left_out, recorded=columns.covered, windows=windows
    )
    return WindowComparison(columns, asked, window, found, log, mix.period_s(mains) if mains is not None else 0.0)


def _affordable_s(history: History, window: Interval) -> float:
    """How far around the window what was recorded is little enough to be read at once."""
    counts = history.stack_counts((window[0] - BEFORE_S, window[1] + BEFORE_S))
    away = sorted((max(window[0] - start_s, end_s - window[1], 0.0), count) for start_s, end_s, count in counts)
    affordable_s, spans = 0.0, 0
    for far_s, count in away:
        spans += count
        if spans > AFFORDABLE:
            break
        affordable_s = far_s
    return affordable_s


def other_threads(spans: TrustedSpans, rank: int, line_of: LineOf = no_source) -> TrustedSpans:
    """What the other threads of a rank's own process did, without their waits and their sleep."""
    mine = spans.take(~spans.main & spans.of([role == "main" and its == rank for _, its, _, role in spans.processes]))
    return at_work(mine, line_of)


def _mains(columns: StackColumns) -> TrustedSpans:
    """A run's main threads, as they stand: what they wait for is theirs. Of a service all of its work."""
    spans = trusted_spans(columns)
    spans = served(spans) if spans.serves else spans
    return spans.take(spans.main & spans.of([role == "main" for *_, role in spans.processes]))


def _hull(ranges: Sequence[Interval]) -> Interval:
    return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)


def _length(ranges: Sequence[Interval]) -> float:
    return sum(hi - lo for lo, hi in ranges)


# Whether other programs kept the machine's cores busy in a window, more than in its baseline.

HOST_BUSY, OF_RUN, OF_CORE = "host/cpu_pct", "host/run_cpu_pct", "host/cpu_core_pct"
PERIOD_S = {metric.name: source.period_s for source in HOST for metric in source.metrics}


def look_at_host(history: History, window: Interval, baseline: Sequence[Interval]) -> HostComparison | None:
    """None where one of the two lacks what the machine or what the run itself used."""
    known = history.machine_series()
    cores = len({dict(series.labels).get("core") for series in known if series.name == OF_CORE})
    ranks = [series for series in known if series.name == OF_RUN and dict(series.labels).get("run") == history.run]
    of_all = [series for series in known if series.name == HOST_BUSY]
    busy_pct, of_rank_pct = _means(history, of_all, window, baseline), _means(history, ranks, window, baseline)
    if not cores or busy_pct is None or of_rank_pct is None:
        return None
    own = (len(ranks) * of_rank_pct[0] / 100, len(ranks) * of_rank_pct[1] / 100)
    others = (max(0.0, cores * busy_pct[0] / 100 - own[0]), max(0.0, cores * busy_pct[1] / 100 - own[1]))
    return HostComparison(cores, busy_pct, own, others)


def _means(
    history: History, series: Sequence[Series], window: Interval, baseline: Sequence[Interval]
) -> tuple[float, float] | None:
    """Over window and baseline, of series of one name. A value stands for the period before it."""
    if not series:
        return None
    name = series[0].name
    sides = [[(lo, hi + PERIOD_S[name]) for lo, hi in side] for side in ([window], baseline)]
    here, there = history.values(series, *sides)[name]
    return (float(here.mean()), float(there.mean())) if len(here) and len(there) else None


# The numbers beside a verdict: each of the window, and of its baseline.

WAITS = "Main thread waits"
NEXT_TO_NOTHING = 0.1  # of all cores


def rows(case: Case, log: StepLog) -> list[ComparedNumber]:
    """Steps a second, phases, how busy the GPUs are and other programs keep the cores."""
    phases = _phases(log, case.window.ranges, case.baseline.ranges if case.baseline else [])
    return [*_rates(case, log), *phases, *_gpus(case.gpu), *_others(case.host)]


def _rates(case: Case, log: StepLog) -> list[ComparedNumber]:
    """Steps a second; where steps are of different sizes, those, too, and how long a token takes."""
    if case.window.units is None or log.steps is None:
        return []
    sides = [_Rate.of(side, log) for side in (case.window, case.baseline)]
    rows = [
        ComparedNumber(f"{case.unit_name.capitalize()}s/s", f"{case.unit_name}s/s", *(side.steps for side in sides))
    ]
    if log.sized is None:
        return rows
    what = log.sized.name
    return [
        *rows,
        ComparedNumber(f"{what.capitalize()} per {case.unit_name}", what, *(side.size for side in sides)),
        ComparedNumber(f"Time per {what.removesuffix('s')}", "us", *(side.amount_us for side in sides)),
    ]


class _Rate(NamedTuple):
    steps: float | None  # a second
    size: float | None = None  # of a step
    amount_us: float | None = None  # how long a token takes

    @classmethod
    def of(cls, side: Side | None, log: StepLog) -> _Rate:
        seconds = sum(hi - lo for lo, hi in side.ranges) if side else 0.0
        steps = log.steps.within(side.ranges) if side and log.steps else 0.0
        if not steps or not side or not seconds:
            return cls(None)
        amount = log.sized.amount.within(side.ranges) if log.sized else 0.0
        return cls(steps / seconds, amount / steps, 1e6 * seconds / amount if amount else None)


def _phases(log: StepLog, window: list[Interval], baseline: list[Interval]) -> list[ComparedNumber]:
    phases = log.phases
    steps, base = phases.steps_within(window), phases.steps_within(baseline)
    if not steps:
        return []
    here = (phases.seconds_within(window) / steps).tolist()
    there = (phases.seconds_within(baseline) / base).tolist() if base else [None] * len(here)
    return [
        ComparedNumber(f"{name.capitalize()}", f"s/{log.unit_name}", *pair)
        for name, *pair in zip(phases.names, here, there, strict=True)
    ]


def _gpus(gpu: GpuComparison | None) -> list[ComparedNumber]:
    if gpu is None:
        return []
    unit = "% of normal" if gpu.signal == "power" else "%"
    clock = [ComparedNumber("SM clock", "MHz", *gpu.clock_mhz)] if gpu.clock_mhz else []
    return [ComparedNumber(f"GPU {gpu.signal}", unit, *gpu.busy_pct), *clock]


def _others(host: HostComparison | None) -> list[ComparedNumber]:
    """Where they matter: most of the time the machine's other programs do next to nothing."""
    if host is None or max(host.others) < NEXT_TO_NOTHING * host.cores:
        return []
    return [ComparedNumber("CPU of others", "cores", *host.others)]


def waits_of(main: tuple[TrustedSpans, TrustedSpans | None], case: Case, line_of: LineOf) -> ComparedNumber:
    """How long the main thread waits, by its own stacks before they are joined with its workers'."""
    sides = case.window, case.baseline
    divisors = [(side.seconds if side.units is None else side.divisor) if side else None for side in sides]
    unit = "share" if case.window.units is None else f"s/{case.unit_name}"
    here, there = (
        _waited_s(side, line_of) / by if side is not None and by else None
        for side, by in zip(main, divisors, strict=True)
    )
    return ComparedNumber(WAITS, unit, here, there)


def _waited_s(main: TrustedSpans, line_of: LineOf) -> float:
    return float(main.seconds[is_waiting(main, line_of)].sum())


# Jobs beside a run on its slot: the queue's events say when there was one (docs/log-format.md).

ENDS = (SHARED, REQUEUED, CANCELLED, "end")  # of what began with SHARES
MAX_EVENTS = 10_000  # events
JOBS = re.compile(r"job \d+(?: and \d+)*")  # in their text


def neighbour_in(
    history: History, window: Interval, baseline: Sequence[Interval]
) -> tuple[Message | None, tuple[float, float]]:
    """`("GPU shared with job 7 since 14:02", (1.0, 0.0))`: who was longest beside the run in the window, in local time, and for which share of
    the window and of its baseline the run had a neighbour. `(None, (0, 0))` without one."""
    stretches = shared_stretches(history.noted(MAX_EVENTS, (SHARES, *ENDS)))
    here = [(from_s, to_s, text) for from_s, to_s, text in stretches if from_s < window[1] and to_s > window[0]]
    if not here:
        return None, (0.0, 0.0)
    from_s, _, text = max(here, key=lambda each: min(each[1], window[1]) - max(each[0], window[0]))
    job = found[0] if (found := JOBS.search(text)) else "another job"
    ranges = [(lo, hi) for lo, hi, _ in stretches]
    since = time.strftime("%H:%M", time.localtime(from_s))
    shared = phrase("GPU shared with {job} since {since}", job=job, since=since)
    return shared, (_share(ranges, [window]), _share(ranges, baseline))


def shared_stretches(noted: Iterable[tuple[str, float, float, str]]) -> list[tuple[float, float, str]]:
    """From when to when, with what the event said, of events as `History.noted` gives them; the last may go on: it ends at infinity."""
    rows = sorted(noted, key=lambda row: row[1])
    over = [(time_s - seconds, time_s, text) for kind, time_s, seconds, text in rows if kind == SHARED and seconds > 0]
    begun: tuple[float, str] | None = None
    for kind, time_s, _, text in rows:
        if kind == SHARES:
            begun = time_s, text
        elif begun and time_s > begun[0]:
            begun = None
    return [*over, (begun[0], math.inf, begun[1])] if begun else over


def _share(ranges: Sequence[Interval], sides: Sequence[Interval]) -> float:
    """Of the sides, how much lies in the ranges, 0 to 1."""
    whole_s = sum(hi - lo for lo, hi in sides)
    inside_s = sum(max(0.0, min(hi, to_s) - max(lo, from_s)) for lo, hi in sides for from_s, to_s in ranges)
    return min(1.0, inside_s / whole_s) if whole_s > 0 else 0.0
