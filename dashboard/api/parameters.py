"""What routes may be asked with: each parameter with its bounds, and the checks of two together."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from collectors.analysis.stacks.traces import Range

from ..queries import BadRequest

MAX_BUCKETS = 20_000
MAX_LINES = 5_000
MAX_WIDTH = 4000
MAX_CONTEXT = 200  # lines of source on each side

MOST_CHARACTERS = 4096  # of a parameter
MOST_NAMES = 400  # parameters `series` of a request
MOST_ID = 2**31 - 1  # a rank, a pid
MOST_CURSOR = 2**62

_STEP = "inclusive: Unix seconds, or a step where axis=step"
RunParameter = Annotated[str, Query(max_length=MOST_CHARACTERS, description="a run's name; GET /runs lists them")]
RunInPath = Annotated[str, Path(max_length=MOST_CHARACTERS, description="a run's name, percent-encoded")]
OptionalRun = Annotated[
    str | None, Query(max_length=MOST_CHARACTERS, description="a run's name; without it, the machine's own series")
]
From = Annotated[float | None, Query(alias="from", allow_inf_nan=False, description=_STEP)]
To = Annotated[float | None, Query(alias="to", allow_inf_nan=False, description=_STEP)]
Since = Annotated[float, Query(alias="from", allow_inf_nan=False, description="Unix seconds")]
Until = Annotated[float, Query(alias="to", allow_inf_nan=False, description="Unix seconds")]
Instant = Annotated[float | None, Query(allow_inf_nan=False, description="Unix seconds")]
Rank = Annotated[int | None, Query(ge=0, le=MOST_ID)]
Pid = Annotated[int | None, Query(ge=0, le=MOST_ID)]
Thread = Annotated[str | None, Query(max_length=MOST_CHARACTERS, description="a name or an id")]
Text = Annotated[str, Query(max_length=MOST_CHARACTERS)]


def window_of(lo: float, hi: float) -> Range:
    """Raises BadRequest."""
    if not lo < hi:
        raise BadRequest("to must be later than from; both are Unix seconds")
    return lo, hi


def check_order(lo: float | None, hi: float | None) -> None:
    """Raises BadRequest."""
    if lo is not None and hi is not None and lo > hi:
        raise BadRequest("to must not be before from")


def optional_window(lo: float | None, hi: float | None) -> Range | None:
    return None if lo is None or hi is None else window_of(lo, hi)
