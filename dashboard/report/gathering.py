"""Ask for all that a report says, each part within its own time."""

from __future__ import annotations

import math
import time

from collectors.analysis.baseline.slowest import slowest_stretch
from collectors.analysis.baseline.steplog import StepLog
from collectors.analysis.ledger.contrast import LedgerContrast
from collectors.analysis.stacks.lanes import Lanes
from collectors.analysis.stacks.reshaping import Reshaping
from collectors.analysis.stacks.traces import Range
from collectors.store.question import TooMuch

from ..comparing.differences import Difference, differences
from ..ledger.contrasted import contrasted
from ..queries import Queries
from ..runs import RunView
from .asked import ReportQuery
from .findings import Findings, ReportFlame, SlowStretch
from .part_times import NothingToSay, PartTimes, ReportPart
from .plots import curves_of

MOST_S = 25.0  # of all parts: a question has 30 s
READING_S = 1.5  # on minutes of a ledger that nothing has added up yet
LONG_S = 2 * 3600.0  # of a longer window the flame graph shows the last hour
LAST_S = 3600.0
PRUNE = 0.0015  # a function below this share is narrower than two pixels
SHAPE = Reshaping(hide="<frozen importlib")  # five frames for each import in an import
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


def gather(queries: Queries, query: ReportQuery) -> Findings:
    """The dearest parts come last. Raises NotFound for an unknown run, and Ended where the question is over."""
    times = PartTimes(MOST_S, query.patience)
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
    return Findings(
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


def window_of(queries: Queries, run: RunView, asked: Range | None) -> Range | None:
    """What of the asked range is known of the run, or all that is; None for a run without times."""
    profiled = queries.stacks.ledgers.profiled(run.stored.name) or ()
    known = [run.stored.first_time_s, run.stored.last_time_s, *profiled]
    ends = [end for end in known if end is not None and math.isfinite(end)]
    whole = (min(ends), max(ends)) if ends and min(ends) < max(ends) else None
    if asked is None or whole is None:
        return asked or whole
    lo, hi = max(asked[0], whole[0]), min(asked[1], whole[1])
    return (lo, hi) if lo < hi else asked


def _steps(queries: Queries, query: ReportQuery, window: Range | None) -> StepLog | None:
    """Of millions of steps those of the last two hours."""
    if window is None:
        return None
    try:
        return queries.stacks.step_log(query.run, window, query.rank)
    except TooMuch:
        return queries.stacks.step_log(query.run, (max(window[0], window[1] - LONG_S), window[1]), query.rank)


def _stretch(read: ReportPart[StepLog], window: Range | None) -> Range | None:
    """In which the most time was lost; None in a window that is hardly longer."""
    log = read.value
    if log is None or window is None:
        raise NothingToSay(read.note)
    if log.steps is None:
        raise NothingToSay(NO_STEPS)
    stretch = slowest_stretch(log.answers or log.steps, log.left_out(window))
    if stretch is None:
        raise NothingToSay(STEADY)
    return stretch if stretch[1] - stretch[0] <= PART * (window[1] - window[0]) else None


def _judged(queries: Queries, query: ReportQuery, stretch: ReportPart[Range]) -> SlowStretch | None:
    if stretch.value is None:
        if stretch.note:
            raise NothingToSay(stretch.note)
        return None
    verdict = queries.stacks.blame(query.run, stretch.value, query.rank)
    if verdict.verdict not in JUDGED or not verdict.baseline:
        raise NothingToSay(UNSAID)
    return SlowStretch(stretch.value, verdict)


def _contrast(queries: Queries, query: ReportQuery, window: Range | None) -> LedgerContrast | None:
    if query.against is None:
        return None
    return contrasted(queries.stacks, query.run, window, query.rank, query.against, READING_S)


def _flame(queries: Queries, query: ReportQuery, window: Range | None) -> ReportFlame | None:
    if window is None:
        return None
    if window[1] - window[0] > LONG_S:
        until_s = min(window[1], (queries.stacks.ledgers.profiled(query.run) or window)[1])
        window = max(window[0], until_s - LAST_S), until_s
    folded = queries.stacks.fold(query.run, window, Lanes("joined", rank=query.rank), shape=SHAPE, prune=PRUNE)
    return ReportFlame(window, folded.tree) if folded.tree.seconds > 0 else None


def _differs(queries: Queries, run: RunView, against: str | None) -> list[Difference]:
    return differences([run.stored.info, queries.stored_run(against).info]) if against is not None else []
