"""What a report contains: findings, curves, flame graph, ledger and log of a window."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from analysis.baseline import slowest_stretch
from analysis.blame.verdict import Verdict
from analysis.ledger.contrast import LedgerContrast
from analysis.ledger.shares import Ledger
from analysis.logs.crash import Crash
from analysis.logs.difference import LogDifference
from analysis.stacks.fold import FlameTree, FoldOptions
from analysis.stacks.spans import Interval
from analysis.stacks.threads import ThreadSelection
from analysis.step_log import StepLog
from analysis.units import Units
from collectors import catalog
from collectors.store.store import Buckets, QueryAborted, QueryDeadline, Series, StoreError, TooMuch, asked

from ..queries import BadRequest, NotFound, Queries
from ..runs.columns import roles_of
from ..runs.comparison import Difference, differences
from ..runs.runs import RunView
from ..series.axis import STEP, TIME, NoPlace
from ..series.curves import Curve, CurveQuery
from ..stacks.stacks import compare_windows


class ReportQuery(NamedTuple):
    """`window` is None for the whole run; `against` names another run. `patience`: how many times the usual time its parts may take."""

    run: str
    window: Interval | None = None
    rank: int | None = None
    against: str | None = None
    patience: float = 1.0


# The time of a report is divided among its parts: one that takes too long, or cannot be read, costs only itself.

T = TypeVar("T")
LATE = "It is not in this report, whose time was over; ask for a shorter window."


class PartUnavailable(Exception):
    """A part is not there; the text is one sentence that says why."""


@dataclass(frozen=True)
class ReportPart(Generic[T]):
    """`value` is None where there is none, and `note` says why in one sentence."""

    value: T | None = None
    note: str = ""


class PartDeadline(QueryDeadline):
    """Ends with the question that it is a part of, too."""

    def __init__(self, most_s: float, whole: QueryDeadline | None) -> None:
        super().__init__(most_s)
        self._whole = whole

    @property
    def over(self) -> bool:
        return super().over or (self._whole is not None and self._whole.over)


class PartBudget:
    """Runs from its making."""

    def __init__(self, most_s: float, patience: float = 1.0) -> None:
        self._until_s = time.monotonic() + patience * most_s
        self._patience = patience

    def part(self, most_s: float, ask: Callable[[], T | None]) -> ReportPart[T]:
        """The answer, or why there is none. Raises QueryAborted where the whole question is over."""
        left_s = min(self._patience * most_s, self._until_s - time.monotonic())
        if left_s <= 0:
            return ReportPart(note=LATE)
        whole = asked.get()
        before = asked.set(PartDeadline(left_s, whole))
        try:
            return ReportPart(ask())
        except (BadRequest, NoPlace, NotFound, PartUnavailable, StoreError, TooMuch) as error:
            return ReportPart(note=sentence_of(str(error)))
        except QueryAborted:
            if whole is not None:
                whole.check()
            return ReportPart(note=LATE)
        finally:
            asked.reset(before)


def sentence_of(text: str) -> str:
    """`too many points; choose a shorter one -> Too many points; choose a shorter one.`"""
    if not text:
        return ""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


# What a report says: answers of the store and of the analysis, as they are.


class SlowStretch(NamedTuple):
    """The stretch that lost the most time, and to which line."""

    window: Interval
    verdict: Verdict


class ReportLine(NamedTuple):
    label: str
    buckets: Buckets


class ReportPlot(NamedTuple):
    """Some series that share their unit. `more` lines are not among them."""

    title: str
    unit: str
    lines: list[ReportLine]
    more: int = 0


class ReportCurves(NamedTuple):
    plots: list[ReportPlot]
    axis: str  # "time" or "step"
    others: int  # series of the run that are not drawn


class ReportFlame(NamedTuple):
    """`window` is what was folded: of a long one, a part."""

    window: Interval
    tree: FlameTree


@dataclass(frozen=True)
class ReportContents:
    query: ReportQuery
    run: RunView
    made_s: float
    time_zone: str  # IANA name; "" for that of this host
    window: Interval | None  # None for a run without times
    verdict: ReportPart[Verdict]  # of a window that was asked for
    slowest: ReportPart[SlowStretch]
    ledger: ReportPart[Ledger]
    contrast: ReportPart[LedgerContrast]
    differs: list[Difference]  # values of the run, and of the other one
    flame: ReportPart[ReportFlame]
    curves: ReportPart[ReportCurves]
    log: ReportPart[LogDifference]
    crash: ReportPart[Crash]


# The curves of a report: loss, steps per second, and what the GPUs did, else the machine's cores.

BUCKETS = 200  # of a line
MAX_LINES = 8  # of a plot
OF_GPUS = ("gpu/utilization_pct", "gpu/memory_used_bytes", "gpu/power_w")
OF_HOST = ("host/cpu_pct", "host/memory_used_bytes")


def curves_of(queries: Queries, run: RunView, window: Interval | None, log: StepLog | None) -> ReportCurves:
    """Those that there are. Series of the machine come with a window only; `log` is None where nothing is known of steps."""
    series = queries.series(run.stored.name)
    plots = [*_of_run(queries, run, series, window)]
    if window is not None:
        plots += [*_pace(log, window, run.stored.last_time_s), *_of_machine(queries, window)]
    drawn = sum(len(plot.lines) for plot in plots)
    return ReportCurves(plots, TIME if window else STEP, max(0, len(series) - drawn))


def _of_run(queries: Queries, run: RunView, series: Sequence[Series], window: Interval | None) -> Iterator[ReportPlot]:
    roles = roles_of(Counter(found.name for found in series))
    loss, judged, tokens = roles.loss[:1], roles.judged[:1], roles.tokens[:1]
    names = list(dict.fromkeys((*loss, *judged, *tokens)))
    lo, hi = window or (None, None)
    query = CurveQuery(names, [run.stored.name], TIME if window else STEP, lo, hi, BUCKETS, ranks="mean")
    found = queries.curves.answer(query).curves if names else []
    for name in names:
        curves = [curve for curve in found if curve.name == name and len(curve.buckets.t)]
        lines = [ReportLine(_labelled(curve.labels, curves), curve.buckets) for curve in curves]
        if lines:
            yield ReportPlot(name, catalog.unit_of(name), lines[:MAX_LINES], len(lines) - len(lines[:MAX_LINES]))


def _labelled(labels: Sequence[tuple[str, str]], curves: Sequence[object]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels if name != "host") if len(curves) > 1 else ""


def _pace(log: StepLog | None, window: Interval, logged_s: float | None) -> Iterator[ReportPlot]:
    """Up to the last line: what goes on since may be steps that are not written yet."""
    until_s = min(window[1], logged_s) if logged_s is not None else window[1]
    buckets = pace_buckets(log.steps, (window[0], until_s)) if log and log.steps and until_s > window[0] else None
    if log and buckets:
        yield ReportPlot(f"{log.unit_name}s per second", "", [ReportLine("", buckets)])


def pace_buckets(units: Units, window: Interval, most: int = BUCKETS) -> Buckets | None:
    """Units per second in equally wide parts of the window, with the slowest and the fastest unit that ends in each; None without any."""
    inside = (units.end_s > window[0]) & (units.end_s <= window[1]) & (units.end_s > units.start_s)
    if not inside.any():
        return None
    end_s, rate = units.end_s[inside], 1 / units.seconds[inside]
    width_s = (window[1] - window[0]) / most
    part = np.minimum((end_s - window[0]) / width_s, most - 1).astype(np.int64)
    parts, where = np.unique(part, return_inverse=True)
    count, seconds = (
        np.bincount(where, units.units[inside]),
        np.bincount(where, units.end_s[inside] - units.start_s[inside]),
    )
    least, most_rate = np.full(len(parts), np.inf), np.full(len(parts), -np.inf)
    np.minimum.at(least, where, rate)
    np.maximum.at(most_rate, where, rate)
    mean = count / seconds
    first_s, last_s = np.full(len(parts), np.inf), np.full(len(parts), -np.inf)
    np.minimum.at(first_s, where, end_s)
    np.maximum.at(last_s, where, end_s)
    nothing = np.full(len(parts), np.nan)
    whole = np.bincount(where)
    zeros = np.zeros(len(parts), np.int64)
    return Buckets(first_s, last_s, nothing, zeros, least, most_rate, mean, mean, whole, zeros, int(inside.sum()))


def _of_machine(queries: Queries, window: Interval) -> Iterator[ReportPlot]:
    names = {found.name for found in queries.series(None)}
    for name in OF_GPUS if OF_GPUS[0] in names or OF_GPUS[1] in names else OF_HOST:
        if name not in names:
            continue
        found = queries.curves.answer(CurveQuery([name], lo=window[0], hi=window[1], buckets=BUCKETS)).curves
        there = sorted((curve for curve in found if len(curve.buckets.t)), key=_card)
        lines = [ReportLine(_card_name(curve), curve.buckets) for curve in there[:MAX_LINES]]
        if lines:
            yield ReportPlot(catalog.label_of(name), catalog.unit_of(name), lines, len(there) - len(lines))


def _card(curve: Curve) -> tuple[int, str]:
    index = dict(curve.labels).get("gpu", "")
    return int(index) if index.isdecimal() else 0, str(curve.labels)


def _card_name(curve: Curve) -> str:
    labels = dict(curve.labels)
    return f"GPU {labels['gpu']}" if "gpu" in labels else ""


# Ask for all that a report says, each part within its own time.

MAX_S = 25.0  # of all parts: a question has 30 s
READING_S = 1.5  # on minutes of a ledger that nothing has added up yet
LONG_S = 2 * 3600.0  # of a longer window the flame graph shows the last hour
LAST_S = 3600.0
PRUNE = 0.0015  # a function below this share is narrower than two pixels
SHAPE = FoldOptions(hide="<frozen importlib")  # five frames for each import in an import
PART = 0.6  # of the window: a stretch that is longer is the window itself
JUDGED = (
    "line",
    "gpu_slower",
    "cpu_taken",
    "neighbour",
    "collective_wait",
    "unknown",
)  # verdicts that say where time was lost
NO_STEPS = "The run logs no steps, which would show its slowest stretch: ask for the report of a window to read what that was lost to."
STEADY = "No stretch of it lost time beyond what its steps usually take."
UNSAID = "Its slowest stretch has too little beside it, or too few stacks, to say what it was lost to."


def gather(queries: Queries, query: ReportQuery) -> ReportContents:
    """The dearest parts come last. Raises NotFound for an unknown run, and QueryAborted where the question is over."""
    times = PartBudget(MAX_S, query.patience)
    run = queries.run(query.run).run
    differs = _differs(queries, run, query.against)
    window = window_of(queries, run, query.window)
    ledger = times.part(4.0, lambda: queries.stacks.ledger(query.run, window, query.rank, READING_S))
    steps = times.part(4.0, lambda: _steps(queries, query, window))
    stretch = times.part(3.0, lambda: _stretch(steps, window))
    curves = times.part(4.0, lambda: curves_of(queries, run, window, steps.value))
    crash = times.part(3.0, lambda: queries.log_changes.crash(query.run))
    log_window = query.window or stretch.value
    log = times.part(4.0, lambda: queries.log_changes.difference(query.run, log_window) if log_window else None)
    flame = times.part(8.0, lambda: _flame(queries, query, window))
    verdict = times.part(
        5.0, lambda: queries.stacks.blame(query.run, query.window, query.rank) if query.window else None
    )
    contrast = times.part(6.0, lambda: _contrast(queries, query, window))
    slowest = times.part(5.0, lambda: _judged(queries, query, stretch))
    return ReportContents(
        query=query,
        run=run,
        made_s=time.time(),
        time_zone=str(queries.settings().values.get("time_zone") or ""),
        window=window,
        verdict=verdict,
        slowest=slowest,
        ledger=ledger,
        contrast=contrast,
        differs=differs,
        flame=flame,
        curves=curves,
        log=log,
        crash=crash,
    )


def window_of(queries: Queries, run: RunView, asked: Interval | None) -> Interval | None:
    """What of the asked range is known of the run, or all that is; None for a run without times."""
    profiled = queries.stacks.ledgers.profiled(run.stored.name) or ()
    known = [run.stored.first_time_s, run.stored.last_time_s, *profiled]
    ends = [end for end in known if end is not None and math.isfinite(end)]
    whole = (min(ends), max(ends)) if ends and min(ends) < max(ends) else None
    if asked is None or whole is None:
        return asked or whole
    lo, hi = max(asked[0], whole[0]), min(asked[1], whole[1])
    return (lo, hi) if lo < hi else asked


def _steps(queries: Queries, query: ReportQuery, window: Interval | None) -> StepLog | None:
    """Of millions of steps those of the last two hours."""
    if window is None:
        return None
    try:
        return queries.stacks.step_log(query.run, window, query.rank)
    except TooMuch:
        return queries.stacks.step_log(query.run, (max(window[0], window[1] - LONG_S), window[1]), query.rank)


def _stretch(read: ReportPart[StepLog], window: Interval | None) -> Interval | None:
    """In which the most time was lost; None in a window that is hardly longer."""
    log = read.value
    if log is None or window is None:
        raise PartUnavailable(read.note)
    if log.steps is None:
        raise PartUnavailable(NO_STEPS)
    stretch = slowest_stretch(log.answers or log.steps, log.left_out(window))
    if stretch is None:
        raise PartUnavailable(STEADY)
    return stretch if stretch[1] - stretch[0] <= PART * (window[1] - window[0]) else None


def _judged(queries: Queries, query: ReportQuery, stretch: ReportPart[Interval]) -> SlowStretch | None:
    if stretch.value is None:
        if stretch.note:
            raise PartUnavailable(stretch.note)
        return None
    verdict = queries.stacks.blame(query.run, stretch.value, query.rank)
    if verdict.verdict not in JUDGED or not verdict.baseline:
        raise PartUnavailable(UNSAID)
    return SlowStretch(stretch.value, verdict)


def _contrast(queries: Queries, query: ReportQuery, window: Interval | None) -> LedgerContrast | None:
    if query.against is None:
        return None
    return compare_windows(queries.stacks, query.run, window, query.rank, query.against, READING_S)


def _flame(queries: Queries, query: ReportQuery, window: Interval | None) -> ReportFlame | None:
    if window is None:
        return None
    if window[1] - window[0] > LONG_S:
        until_s = min(window[1], (queries.stacks.ledgers.profiled(query.run) or window)[1])
        window = max(window[0], until_s - LAST_S), until_s
    folded = queries.stacks.fold(
        query.run, window, ThreadSelection("joined", rank=query.rank), shape=SHAPE, prune=PRUNE
    )
    return ReportFlame(window, folded.tree) if folded.tree.seconds > 0 else None


def _differs(queries: Queries, run: RunView, against: str | None) -> list[Difference]:
    return differences([run.stored.info, queries.stored_run(against).info]) if against is not None else []
