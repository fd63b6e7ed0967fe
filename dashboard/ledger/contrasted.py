"""Ask for the ledgers of two runs and for what they spend their time on otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collectors.analysis.baseline.units import Units
from collectors.analysis.ledger.contrast import LedgerContrast, LedgerSide, contrast
from collectors.analysis.stacks.traces import Range
from collectors.store.question import TooMuch

from .kept import READING_S

if TYPE_CHECKING:
    from ..stacks import Stacks


def contrasted(
    stacks: Stacks, run: str, window: Range | None, rank: int | None, against: str, reading_s: float = READING_S
) -> LedgerContrast:
    """A window of one run, or all that was profiled of it, beside all that was profiled of another. Minutes that are not known are
    read for `reading_s` of each."""
    return contrast(
        ledger_side(stacks, run, window, rank, reading_s),
        ledger_side(stacks, against, None, None, reading_s),
    )


def ledger_side(stacks: Stacks, run: str, window: Range | None, rank: int | None, reading_s: float) -> LedgerSide:
    found = stacks.ledger(run, window, rank, reading_s)
    if not found.rows:
        return LedgerSide(run, found)
    try:
        log = stacks.step_log(run, found.window, found.rank)
    except TooMuch:  # millions of steps: their ledger is compared all the same
        return LedgerSide(run, found)
    return LedgerSide(run, found, mean_unit_s(log.steps, found.window) if log.steps else None, log.unit_name)


def mean_unit_s(units: Units, window: Range) -> float | None:
    """Seconds of a unit of the window, without the time in which the run was down; None where none lies in it."""
    inside_s = np.minimum(units.end_s, window[1]) - np.maximum(units.start_s, window[0])
    count = units.within([window])
    return float(np.clip(inside_s, 0, None).sum()) / count if count > 0 else None
