"""What a report is asked for."""

from __future__ import annotations

from typing import NamedTuple

from collectors.analysis.stacks.traces import Range


class ReportQuery(NamedTuple):
    """`window` is None for the whole run; `against` names another run. `patience`: how many times the usual time its parts may take."""

    run: str
    window: Range | None = None
    rank: int | None = None
    against: str | None = None
    patience: float = 1.0
