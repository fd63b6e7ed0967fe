"""What a report says: answers of the store and of the analysis, as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from collectors.analysis.blame.verdict import Verdict
from collectors.analysis.ledger.contrast import LedgerContrast
from collectors.analysis.ledger.shares import Ledger
from collectors.analysis.logs.crash import Crash
from collectors.analysis.logs.difference import LogDifference
from collectors.analysis.stacks.folding import FlameTree
from collectors.analysis.stacks.traces import Range
from collectors.store.protocol import Buckets

from ..comparing.differences import Difference
from ..runs import RunView
from .asked import ReportQuery
from .part_times import ReportPart


class SlowStretch(NamedTuple):
    """The stretch that lost the most time, and to which line."""

    window: Range
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

    window: Range
    tree: FlameTree


@dataclass(frozen=True)
class Findings:
    query: ReportQuery
    run: RunView
    made_s: float
    time_zone: str  # IANA name; "" for that of this host
    window: Range | None  # None for a run without times
    verdict: ReportPart[Verdict]  # of a window that was asked for
    slowest: ReportPart[SlowStretch]
    ledger: ReportPart[Ledger]
    contrast: ReportPart[LedgerContrast]
    differs: list[Difference]  # values of the run, and of the other one
    flame: ReportPart[ReportFlame]
    curves: ReportPart[ReportCurves]
    log: ReportPart[LogDifference]
    crash: ReportPart[Crash]
